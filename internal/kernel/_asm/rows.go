package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/gotypes"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// function begins the function called name for this instruction set.
func (s isa) function(name, signature string) {
	TEXT(name+s.suffix, NOSPLIT, signature)
	Pragma("noescape")
}

// end ends a function that used vector registers.
func end() {
	VZEROUPPER()
	RET()
}

// A column addresses one register's worth of elements in a loop over blocks. The
// same column serves slices of different element sizes, which scale the index.
type column struct {
	index GPVirtual
	part  int
	lanes int
}

// of returns the operand in the slice at base, whose elements have size bytes.
func (c column) of(base Register, size int) Mem {
	return Mem{Base: base, Index: c.index, Scale: uint8(size), Disp: c.part * c.lanes * size}
}

// each emits a loop over the named slice, with body once for each register of a
// block.
func (s isa) each(slice string, body func(c column)) {
	s.blocks(slice, func(columns []column) {
		for _, c := range columns {
			body(c)
		}
	})
}

// blocks emits a loop over the blocks of the named slice, with body as its body.
func (s isa) blocks(slice string, body func(columns []column)) {
	n, i := Load(Param(slice).Len(), GP64()), GP64()
	XORQ(i, i)
	JMP(LabelRef("check"))
	Label("block")
	var columns []column
	for part := range s.parts() {
		columns = append(columns, column{i, part, s.lanes})
	}
	body(columns)
	ADDQ(Imm(width), i)
	Label("check")
	CMPQ(i, n)
	JLT(LabelRef("block"))
}

// base loads the address of the named slice's elements.
func base(name string) Register { return Load(Param(name).Base(), GP64()) }

// param returns the memory operand of a scalar argument.
func param(name string) Mem { return address(Param(name)) }

func address(c gotypes.Component) Mem {
	b, err := c.Resolve()
	if err != nil {
		panic(err)
	}
	return b.Addr
}

func (s isa) load(m Mem) VecVirtual {
	v := s.vector()
	VMOVUPS(m, v)
	return v
}

// sums returns zeroed registers for the stripes.
func (s isa) sums() []VecVirtual {
	var acc []VecVirtual
	for range s.parts() {
		acc = append(acc, s.zero())
	}
	return acc
}

// result stores the stripes as the function's result.
func (s isa) result(acc []VecVirtual) {
	for part, v := range acc {
		VMOVUPS(v, address(ReturnIndex(0).Index(part*s.lanes)))
	}
}

func (s isa) dot() {
	s.function("dot", "func(a, b []float32) [16]float32")
	a, b := base("a"), base("b")
	acc := s.sums()
	s.each("a", func(c column) {
		VFMADD231PS(c.of(b, 4), s.load(c.of(a, 4)), acc[c.part])
	})
	s.result(acc)
	end()
}

// dot64 is dot with half as many lanes per register.
func (s isa) dot64() {
	s.function("dot64", "func(a, b []float64) [16]float64")
	a, b := base("a"), base("b")
	lanes := s.lanes / 2
	var acc []VecVirtual
	for range width / lanes {
		acc = append(acc, s.zero())
	}
	s.blocks("a", func(columns []column) {
		for part, sum := range acc {
			c := column{columns[0].index, part, lanes}
			x := s.vector()
			VMOVUPD(c.of(a, 8), x)
			VFMADD231PD(c.of(b, 8), x, sum)
		}
	})
	for part, sum := range acc {
		VMOVUPD(sum, address(ReturnIndex(0).Index(part*lanes)))
	}
	end()
}

func (s isa) sum() {
	s.function("sum", "func(x []float32) [16]float32")
	x := base("x")
	acc := s.sums()
	s.each("x", func(c column) {
		VADDPS(c.of(x, 4), acc[c.part], acc[c.part])
	})
	s.result(acc)
	end()
}

func (s isa) max() {
	s.function("max", "func(x []float32) float32")
	x := base("x")
	low := s.splat(constant("minusInf", 0xff800000))
	acc := make([]VecVirtual, s.parts())
	for i := range acc {
		acc[i] = s.vector()
		VMOVAPS(low, acc[i])
	}
	s.each("x", func(c column) {
		VMAXPS(c.of(x, 4), acc[c.part], acc[c.part])
	})
	y, z := YMM(), XMM()
	if s.lanes == 16 {
		VEXTRACTF64X4(Imm(1), acc[0], y)
		VMAXPS(y, acc[0].AsY(), y)
	} else {
		VMAXPS(acc[1], acc[0], y)
	}
	VEXTRACTF128(Imm(1), y, z)
	VMAXPS(z, y.AsX(), z)
	VMOVHLPS(z, z, y.AsX())
	VMAXPS(z, y.AsX(), z)
	VMOVSHDUP(z, y.AsX())
	VMAXSS(z, y.AsX(), z)
	VMOVSS(z, address(ReturnIndex(0)))
	end()
}

func (s isa) expSum() {
	s.function("expSum", "func(x []float32, bias float32) [16]float32")
	x := base("x")
	bias := s.splat(param("bias"))
	e := s.newExp()
	acc := s.sums()
	s.blocks("x", func(columns []column) {
		var vs []VecVirtual
		for _, c := range columns {
			v := s.load(c.of(x, 4))
			VSUBPS(bias, v, v)
			vs = append(vs, v)
		}
		e.apply(vs)
		for i, c := range columns {
			VMOVUPS(vs[i], c.of(x, 4))
			VADDPS(vs[i], acc[i], acc[i])
		}
	})
	s.result(acc)
	end()
}

func (s isa) div() {
	s.function("div", "func(x []float32, d float32)")
	x := base("x")
	d := s.splat(param("d"))
	s.each("x", func(c column) {
		v := s.load(c.of(x, 4))
		VDIVPS(d, v, v)
		VMOVUPS(v, c.of(x, 4))
	})
	end()
}

func (s isa) add() {
	s.function("add", "func(dst, x []float32)")
	dst, x := base("dst"), base("x")
	s.each("x", func(c column) {
		v := s.load(c.of(dst, 4))
		VADDPS(c.of(x, 4), v, v)
		VMOVUPS(v, c.of(dst, 4))
	})
	end()
}

func (s isa) scaleMul() {
	s.function("scaleMul", "func(dst, x, weight []float32, r float32)")
	dst, x, weight := base("dst"), base("x"), base("weight")
	r := s.splat(param("r"))
	s.each("x", func(c column) {
		v := s.vector()
		VMULPS(c.of(x, 4), r, v)
		VMULPS(c.of(weight, 4), v, v)
		VMOVUPS(v, c.of(dst, 4))
	})
	end()
}

func (s isa) siluMul() {
	s.function("siluMul", "func(dst, gate, up []float32)")
	dst, gate, up := base("dst"), base("gate"), base("up")
	zero := s.zero()
	e := s.newExp()
	s.blocks("gate", func(columns []column) {
		var ds []VecVirtual
		for _, c := range columns {
			d := s.vector()
			VSUBPS(c.of(gate, 4), zero, d)
			ds = append(ds, d)
		}
		e.apply(ds)
		for i, c := range columns {
			g := s.load(c.of(gate, 4))
			VADDPS(e.one, ds[i], ds[i])
			VDIVPS(ds[i], g, g)
			VMULPS(c.of(up, 4), g, g)
			VMOVUPS(g, c.of(dst, 4))
		}
	})
	end()
}

func (s isa) rotate() {
	s.function("rotate", "func(x, y, cos, sin []float32)")
	x, y, cos, sin := base("x"), base("y"), base("cos"), base("sin")
	s.each("x", func(c column) {
		u, v, w, z := s.load(c.of(x, 4)), s.load(c.of(y, 4)), s.load(c.of(cos, 4)), s.load(c.of(sin, 4))
		uw, us := s.vector(), s.vector()
		VMULPS(w, u, uw)
		VMULPS(z, u, us)
		VMULPS(v, w, w)
		VMULPS(v, z, z)
		VSUBPS(z, uw, uw)
		VADDPS(us, w, w)
		VMOVUPS(uw, c.of(x, 4))
		VMOVUPS(w, c.of(y, 4))
	})
	end()
}

func (s isa) fromF16() {
	s.function("fromF16", "func(dst []float32, src []byte)")
	dst, src := base("dst"), base("src")
	s.each("dst", func(c column) {
		v := s.vector()
		VCVTPH2PS(c.of(src, 2), v)
		VMOVUPS(v, c.of(dst, 4))
	})
	end()
}

func (s isa) fromBF16() {
	s.function("fromBF16", "func(dst []float32, src []byte)")
	dst, src := base("dst"), base("src")
	s.each("dst", func(c column) {
		v := s.vector()
		VPMOVZXWD(c.of(src, 2), v)
		VPSLLD(Imm(16), v, v)
		VMOVUPS(v, c.of(dst, 4))
	})
	end()
}

// affine handles whole groups. Its inner loop counts down the blocks of a group
// while the pointers advance.
func (s isa) affine() {
	s.function("affine", "func(dst []float32, codes []uint8, scale, offset []float32, group int)")
	dst, codes, scale, offset := base("dst"), base("codes"), base("scale"), base("offset")
	groups, blocks, left := Load(Param("scale").Len(), GP64()), Load(Param("group"), GP64()), GP64()
	SHRQ(Imm(4), blocks)
	JMP(LabelRef("check"))
	Label("group")
	a, b := s.splat(Mem{Base: scale}), s.splat(Mem{Base: offset})
	MOVQ(blocks, left)
	Label("block")
	for part := range s.parts() {
		at := part * s.lanes
		v := s.vector()
		VPMOVZXBD(Mem{Base: codes, Disp: at}, v)
		VCVTDQ2PS(v, v)
		VMULPS(a, v, v)
		VADDPS(b, v, v)
		VMOVUPS(v, Mem{Base: dst, Disp: 4 * at})
	}
	ADDQ(Imm(width), codes)
	ADDQ(Imm(4*width), dst)
	DECQ(left)
	JNZ(LabelRef("block"))
	ADDQ(Imm(4), scale)
	ADDQ(Imm(4), offset)
	DECQ(groups)
	Label("check")
	TESTQ(groups, groups)
	JNZ(LabelRef("group"))
	end()
}

// mix computes the sums of cols columns of v, weighted by p.
func (s isa) mix(cols int) {
	s.function(fmt.Sprint("mix", cols), "func(dst *float32, p []float32, v *float32, ldv int)")
	dst, p, n := Load(Param("dst"), GP64()), base("p"), Load(Param("p").Len(), GP64())
	v, ldv := Load(Param("v"), GP64()), Load(Param("ldv"), GP64())
	SHLQ(Imm(2), ldv)
	acc := make([]VecVirtual, cols/s.lanes)
	for i := range acc {
		acc[i] = s.zero()
	}
	Label("row")
	w := s.splat(Mem{Base: p})
	for i := range acc {
		VFMADD231PS(Mem{Base: v, Disp: 4 * i * s.lanes}, w, acc[i])
	}
	ADDQ(Imm(4), p)
	ADDQ(ldv, v)
	DECQ(n)
	JNZ(LabelRef("row"))
	for i := range acc {
		VMOVUPS(acc[i], Mem{Base: dst, Disp: 4 * i * s.lanes})
	}
	end()
}

// mixRows generates mix for four rows of weights, ldp elements apart, whose sums are ldd
// elements apart. Row i has n+i weights.
func (s isa) mixRows(cols int) {
	const rows = 4
	TEXT(fmt.Sprintf("mix%dx%d%s", rows, cols, s.suffix), NOSPLIT, "func(dst *float32, ldd int, p *float32, ldp, n int, v *float32, ldv int)")
	Pragma("noescape")
	load := func(name string) GPVirtual { return Load(Param(name), GP64()).(GPVirtual) }
	dst, ldd, p, ldp, n, v, ldv := load("dst"), load("ldd"), load("p"), load("ldp"), load("n"), load("v"), load("ldv")
	for _, stride := range []GPVirtual{ldd, ldp, ldv} {
		SHLQ(Imm(2), stride)
	}
	var acc [rows][]VecVirtual
	for i := range acc {
		for range cols / s.lanes {
			acc[i] = append(acc[i], s.zero())
		}
	}
	triple := GP64()
	LEAQ(Mem{Base: ldp, Index: ldp, Scale: 2}, triple)
	step := func(first int) { // of the rows from first on
		var x []VecVirtual
		for j := range cols / s.lanes {
			x = append(x, s.load(Mem{Base: v, Disp: 4 * j * s.lanes}))
		}
		for i := first; i < rows; i++ {
			w := s.splat(rowsAt(p, p, ldp, triple, i))
			for j := range x {
				VFMADD231PS(x[j], w, acc[i][j])
			}
		}
		ADDQ(Imm(4), p)
		ADDQ(ldv, v)
	}
	Label("position")
	step(0)
	DECQ(n)
	JNZ(LabelRef("position"))
	for i := 1; i < rows; i++ {
		step(i)
	}
	for i := range acc {
		for j, a := range acc[i] {
			VMOVUPS(a, Mem{Base: dst, Disp: 4 * j * s.lanes})
		}
		ADDQ(ldd, dst)
	}
	end()
}
