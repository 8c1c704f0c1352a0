package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// An outerTile is a tile of outer: rows of a, and vectors of rows of b.
type outerTile struct {
	isa
	rows, vectors int
}

var (
	outerAVX2   = outerTile{avx2, 6, 2}
	outerAVX512 = outerTile{avx512, 8, 3}
)

// cols returns the rows of b.
func (o outerTile) cols() int { return o.lanes * o.vectors }

// outer generates the product of groups of packed rows of a with one group of packed
// rows of b: see packing in outer.go. It sums one stripe of all groups, then the next, so
// that a stripe of b stays in the first cache. Each group has a stack of the sums of
// stripes that wait for their partner in the tree.
func (o outerTile) outer() {
	const (
		depth  = 4 // tiles of a stack
		unroll = 4
	)
	rows, vectors, cols, size := o.rows, o.vectors, o.cols(), 4*o.lanes
	tile := 4 * rows * cols // bytes
	TEXT(fmt.Sprintf("outer%dx%d%s", rows, cols, o.suffix), NOSPLIT, "func(c *float32, ldc int, a, b *float32, groups, steps int, stack *float32)")
	Pragma("noescape")
	load := func(name string) GPVirtual { return Load(Param(name), GP64()).(GPVirtual) }
	c, ldc, a, b, steps := load("c"), load("ldc"), load("a"), load("b"), load("steps")
	SHLQ(Imm(2), ldc)
	acc := make([]VecVirtual, rows*vectors)
	for i := range acc {
		acc[i] = o.vector()
	}
	stripe := GP64()
	XORQ(stripe, stripe)

	Label("stripe")
	x, y, top, groups := GP64(), GP64(), GP64(), load("groups")
	MOVQ(a, x)
	POPCNTQ(stripe, top) // sums that wait
	IMUL3Q(U32(uint32(tile)), top, top)
	t := GP64()
	Load(Param("stack"), t)
	ADDQ(t, top)

	Label("group")
	for _, v := range acc {
		o.clear(v)
	}
	left := GP64()
	MOVQ(b, y)
	step := func(n int) { // of a stripe: n elements
		for k := range n {
			var v []VecVirtual
			for j := range vectors {
				v = append(v, o.load(Mem{Base: y, Disp: 4*k*cols + size*j}))
			}
			for i := range rows {
				u := o.splat(Mem{Base: x, Disp: 4 * (k*rows + i)})
				for j := range v {
					VFMADD231PS(v[j], u, acc[i*vectors+j])
				}
			}
		}
		ADDQ(U32(uint32(4*rows*n)), x)
		ADDQ(U32(uint32(4*cols*n)), y)
	}
	MOVQ(steps, left)
	SUBQ(Imm(unroll), left)
	JL(LabelRef("rest"))
	Label("steps")
	step(unroll)
	SUBQ(Imm(unroll), left)
	JGE(LabelRef("steps"))
	Label("rest")
	ADDQ(Imm(unroll), left)
	JZ(LabelRef("sum"))
	Label("step")
	step(1)
	DECQ(left)
	JNZ(LabelRef("step"))
	Label("sum")

	// As many sums wait for this one as stripe has trailing ones, as in a binary counter.
	ones, at := GP64(), GP64()
	MOVQ(stripe, ones)
	MOVQ(top, at)
	Label("add")
	TESTQ(U32(1), ones)
	JZ(LabelRef("keep"))
	SUBQ(U32(uint32(tile)), at)
	for i, s := range acc {
		VADDPS(Mem{Base: at, Disp: size * i}, s, s)
	}
	SHRQ(Imm(1), ones)
	JMP(LabelRef("add"))
	Label("keep")
	CMPQ(stripe, Imm(width-1))
	JEQ(LabelRef("store"))
	for i, s := range acc {
		VMOVUPS(s, Mem{Base: at, Disp: size * i})
	}
	JMP(LabelRef("next"))
	Label("store")
	for i := range rows {
		for j := range vectors {
			VMOVUPS(acc[i*vectors+j], Mem{Base: c, Disp: size * j})
		}
		ADDQ(ldc, c)
	}
	Label("next")
	ADDQ(U32(uint32(depth*tile)), top)
	DECQ(groups)
	JNZ(LabelRef("group"))

	MOVQ(x, a)
	MOVQ(y, b)
	INCQ(stripe)
	CMPQ(stripe, Imm(width))
	JNE(LabelRef("stripe"))
	end()
}

// treeOrder lists the stripes of half a block in the order in which outer sums them; the
// stripes of the other half come between them.
var treeOrder = [8]int{0, 4, 2, 6, 1, 5, 3, 7}

// pack generates the function that packs some rows of src for outer, steps blocks of each.
// Elements of a row are group elements apart in dst, and stripes stride elements.
func pack(rows, group int) {
	TEXT(fmt.Sprintf("pack%dof%dAVX2", rows, group), NOSPLIT, "func(dst *float32, stride, steps int, src *float32, ld int)")
	Pragma("noescape")
	load := func(name string) GPVirtual { return Load(Param(name), GP64()).(GPVirtual) }
	dst, stride, src, ld, halves := load("dst"), load("stride"), load("src"), load("ld"), GP64()
	SHLQ(Imm(2), ld)
	SHLQ(Imm(2), stride)
	MOVQ(U32(2), halves)

	Label("half")
	var p [3]GPVirtual // of stripes 0, 3 and 6 of treeOrder
	for i := range p {
		p[i] = GP64()
		if i == 0 {
			MOVQ(dst, p[0])
			continue
		}
		LEAQ(Mem{Base: p[i-1], Index: stride, Scale: 4}, p[i])
		LEAQ(Mem{Base: p[i], Index: stride, Scale: 2}, p[i])
	}
	at := func(stripe int) Mem { // of a stripe of half a block
		switch i := treeOrder[stripe]; i { // its place; reversing bits is its own inverse
		case 0, 3, 6:
			return Mem{Base: p[i/3]}
		case 5:
			return Mem{Base: p[1], Index: stride, Scale: 4}
		case 7:
			return Mem{Base: p[1], Index: stride, Scale: 8}
		default:
			return Mem{Base: p[0], Index: stride, Scale: uint8(2 * i)}
		}
	}
	x, left := newWalk(src, ld, rows), load("steps")
	Label("block")
	for quarter := range 2 {
		var in [4]VecVirtual // rows i and i+4
		for i := range in {
			in[i] = YMM()
			VMOVUPS(x.at(i, 16*quarter), in[i].AsX())
			if i+4 < rows {
				VINSERTF128(Imm(1), x.at(i+4, 16*quarter), in[i], in[i])
			}
		}
		for i, v := range transpose4(in) {
			store := at(4*quarter + i)
			if rows == 8 {
				VMOVUPS(v, store)
				continue
			}
			high := XMM()
			VMOVUPS(v.AsX(), store)
			VEXTRACTF128(Imm(1), v, high)
			store.Disp += 16
			VMOVLPS(high, store)
		}
	}
	x.advance(4 * width)
	for _, q := range p {
		ADDQ(Imm(uint64(4*group)), q)
	}
	DECQ(left)
	JNZ(LabelRef("block"))
	ADDQ(Imm(4*width/2), src)
	ADDQ(stride, dst)
	DECQ(halves)
	JNZ(LabelRef("half"))
	end()
}

// transpose4 transposes both halves of four registers as 4 by 4 matrices.
func transpose4(in [4]VecVirtual) (out [4]VecVirtual) {
	var t [4]VecVirtual
	for i := range t {
		t[i], out[i] = YMM(), YMM()
	}
	VUNPCKLPS(in[1], in[0], t[0])
	VUNPCKHPS(in[1], in[0], t[1])
	VUNPCKLPS(in[3], in[2], t[2])
	VUNPCKHPS(in[3], in[2], t[3])
	VUNPCKLPD(t[2], t[0], out[0])
	VUNPCKHPD(t[2], t[0], out[1])
	VUNPCKLPD(t[3], t[1], out[2])
	VUNPCKHPD(t[3], t[1], out[3])
	return out
}
