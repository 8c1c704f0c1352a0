package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

const (
	lanes       = 8  // rows of weights that integerRows multiplies together
	blockCodes  = 32 // columns of a block
	unsignedRow = 0  // packing: bytes below 128
)

// A plane is one bit plane of eight rows of packed codes.
type plane struct {
	bits, shift int
	low, high   GPVirtual // the current block in rows 0 and 4
}

// integerRows generates the product of eight rows of codes and one position of
// activations. Each row has an accumulator of eight partial sums. At the end of a
// segment, a tree adds these up, which leaves row i in lane i.
func integerRows(packing int) {
	name := fmt.Sprintf("integerRows%dAVX2", packing)
	TEXT(name, NOSPLIT, "func(dst *float32, codes *byte, stride, blocks int, a *int8, counts *int32, segments int, sums *int32, offset int32, scale, d, minScale, min *float32)")
	Pragma("noescape")
	stride, triple := Load(Param("stride"), GP64()).(GPVirtual), GP64()
	LEAQ(Mem{Base: stride, Index: stride, Scale: 2}, triple)
	planes := newPlanes(packing, stride)
	a, counts := Load(Param("a"), GP64()), Load(Param("counts"), GP64())
	k, left := GP64(), GP32()
	XORQ(k, k)
	y, one := avx2.zero(), YMM()
	VMOVDQU(constant("words1", 0x00010001), one)
	offset := YMM()
	VMOVD(Load(Param("offset"), GP32()), offset.AsX())
	VPBROADCASTD(offset.AsX(), offset)

	Label("segment")
	acc := make([]VecVirtual, lanes)
	for r := range acc {
		acc[r] = YMM()
		VPXOR(acc[r], acc[r], acc[r])
	}
	MOVL(Mem{Base: counts, Index: k, Scale: 4}, left)
	Label("block")
	x := YMM()
	VMOVDQU(Mem{Base: a}, x)
	for r := range acc {
		codes, t := YMM(), YMM()
		for i, p := range planes {
			p.load(codes, p.row(r, stride, triple), i > 0)
		}
		if packing == 8 { // code - 128, and its sign moved to the activations
			VPXOR(constant("bytes128", 0x80808080), codes, codes)
			VPSIGNB(codes, x, t)
			VPABSB(codes, codes)
			VPMADDUBSW(t, codes, t)
		} else {
			VPMADDUBSW(x, codes, t)
		}
		VPMADDWD(one, t, t)
		VPADDD(t, acc[r], acc[r])
	}
	for _, p := range planes {
		ADDQ(Imm(uint64(blockCodes*p.bits/8)), p.low)
		ADDQ(Imm(uint64(blockCodes*p.bits/8)), p.high)
	}
	ADDQ(Imm(blockCodes), a)
	DECL(left)
	JNZ(LabelRef("block"))

	p := addLanes(acc)
	at := GP64()
	element := func(name string, scale uint8) Mem {
		Load(Param(name), at)
		return Mem{Base: at, Index: k, Scale: scale}
	}
	factor, row := YMM(), GP64()
	VPBROADCASTD(element("sums", 4), factor)
	VPMULLD(factor, offset, factor)
	VPADDD(factor, p, p)
	VCVTDQ2PS(p, p)
	MOVQ(k, row)
	SHLQ(Imm(5), row)
	eight := func(name string) Mem {
		Load(Param(name), at)
		return Mem{Base: at, Index: row, Scale: 1}
	}
	VMULPS(eight("d"), p, p)
	VBROADCASTSS(element("scale", 4), factor)
	VFMADD231PS(p, factor, y)
	Load(Param("min"), at)
	TESTQ(at, at)
	JZ(LabelRef("next"))
	VBROADCASTSS(element("minScale", 4), factor)
	VFMADD231PS(eight("min"), factor, y)
	Label("next")
	INCQ(k)
	CMPQ(k, param("segments"))
	JLT(LabelRef("segment"))
	Load(Param("dst"), at)
	VMOVUPS(y, Mem{Base: at})
	end()
}

// newPlanes returns the planes of packed codes at the start of a row.
func newPlanes(packing int, stride GPVirtual) []plane {
	widths := map[int][]int{unsignedRow: {8}, 2: {2}, 3: {2, 1}, 4: {4}, 5: {4, 1}, 6: {4, 2}, 7: {4, 2, 1}, 8: {8}}[packing]
	var planes []plane
	shift, bytes := 0, GP64() // bytes of all planes so far
	XORQ(bytes, bytes)
	for _, bits := range widths {
		p := plane{bits, shift, GP64(), GP64()}
		Load(Param("codes"), p.low)
		ADDQ(bytes, p.low)
		LEAQ(Mem{Base: p.low, Index: stride, Scale: 4}, p.high)
		planes = append(planes, p)
		shift += bits
		if len(widths) > 1 {
			n := GP64()
			Load(Param("blocks"), n)
			IMUL3Q(Imm(uint64(blockCodes*bits/8)), n, n)
			ADDQ(n, bytes)
		}
	}
	return planes
}

// row returns the operand of the current block in row r.
func (p plane) row(r int, stride, triple GPVirtual) Mem {
	m := Mem{Base: p.low}
	if r >= 4 {
		m.Base = p.high
	}
	switch r % 4 {
	case 1:
		m.Index, m.Scale = stride, 1
	case 2:
		m.Index, m.Scale = stride, 2
	case 3:
		m.Index, m.Scale = triple, 1
	}
	return m
}

// load sets codes to the 32 codes at m or, if or is true, ORs them in. Unless a
// code is a byte, the even columns end up in the low half of the register and the
// odd columns in the high half.
func (p plane) load(codes VecVirtual, m Mem, or bool) {
	v := codes
	if or {
		v = YMM()
	}
	switch p.bits {
	case 8:
		VMOVDQU(m, v)
	case 4:
		VBROADCASTI128(m, v)
		VPSRLVD(halves("shift4", 0, 4), v, v)
		VPAND(constant("low4", 0x0f0f0f0f), v, v)
	case 2: // byte j/2 goes to byte j, whose code starts at bit 4*(j%2), plus 2 in the high half
		t := YMM()
		VPBROADCASTQ(m, v)
		VPSHUFB(table("twice", func(j int) byte { return byte(j % 16 / 2) }), v, v)
		VPSRLVD(halves("shift2", 0, 2), v, v)
		VPSRLW(Imm(4), v, t)
		VPAND(constant("even2", 0x00030003), v, v)
		VPAND(constant("odd2", 0x03000300), t, t)
		VPOR(t, v, v)
		if p.shift > 0 {
			VPSLLW(Imm(uint64(p.shift)), v, v)
		}
	case 1: // byte j/4 goes to byte j, whose code is bit 2*(j%4), plus 1 in the high half
		bit := table("bits1", func(j int) byte { return 1 << (j%4*2 + j/16) })
		VPBROADCASTD(m, v)
		VPSHUFB(table("fourfold", func(j int) byte { return byte(j % 16 / 4) }), v, v)
		VPAND(bit, v, v)
		VPCMPEQB(bit, v, v)
		VPAND(constant(fmt.Sprint("bit", p.shift), 0x01010101<<p.shift), v, v)
	}
	if or {
		VPOR(v, codes, codes)
	}
}

// addLanes adds up the lanes of eight registers. The result has the sum of
// register i in lane i.
func addLanes(x []VecVirtual) VecVirtual {
	for len(x) > 2 {
		var sums []VecVirtual
		for i := 0; i < len(x); i += 2 {
			VPHADDD(x[i+1], x[i], x[i])
			sums = append(sums, x[i])
		}
		x = sums
	}
	low, high := YMM(), YMM() // the lower and upper halves of the sums
	VPERM2I128(Imm(0x20), x[1], x[0], low)
	VPERM2I128(Imm(0x31), x[1], x[0], high)
	VPADDD(high, low, low)
	return low
}

// halves returns a constant of eight 32-bit numbers: four times low, then four
// times high.
func halves(name string, low, high uint32) Mem {
	return table(name, func(i int) byte {
		if i%4 > 0 {
			return 0
		}
		if i < 16 {
			return byte(low)
		}
		return byte(high)
	})
}

// table returns the address of 32 bytes.
func table(name string, f func(i int) byte) Mem {
	m, ok := constants[name]
	if !ok {
		m = GLOBL(name, RODATA|NOPTR)
		for i := range 32 {
			DATA(i, U8(f(i)))
		}
		constants[name] = m
	}
	return m
}
