package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// A walk addresses the same column of several rows: p[0] serves rows 0 to 2,
// p[1] rows 3 to 5, and so on, because an address can add the stride once or
// twice.
type walk struct {
	p      []GPVirtual
	stride GPVirtual
}

// at returns the operand in the given row, disp bytes past the current column.
func (w walk) at(row, disp int) Mem {
	m := Mem{Base: w.p[row/3], Disp: disp}
	if row%3 > 0 {
		m.Index, m.Scale = w.stride, uint8(row%3)
	}
	return m
}

// newWalk returns a walk that starts at base. It does not modify base.
func newWalk(base, stride GPVirtual, rows int) walk {
	w := walk{stride: stride}
	for i := 0; i < rows; i += 3 {
		p := GP64()
		if i == 0 {
			MOVQ(base, p)
		} else {
			LEAQ(Mem{Base: w.p[i/3-1], Index: stride, Scale: 2}, p)
			ADDQ(stride, p)
		}
		w.p = append(w.p, p)
	}
	return w
}

// advance moves the column by n bytes.
func (w walk) advance(n int) {
	for _, p := range w.p {
		ADDQ(Imm(uint64(n)), p)
	}
}

// tile generates a tile function for m groups of rows of a and n groups of rows of
// b. A group of a has the given number of rows, and a group of b has cols rows.
func (s isa) tile(rows, cols int) {
	name := fmt.Sprintf("tile%dx%d%s", rows, cols, s.suffix)
	TEXT(name, NOSPLIT, "func(c *float32, rs, cs int, a *float32, lda int, b *float32, ldb int, m, n, k int)")
	Pragma("noescape")
	load := func(name string) GPVirtual { return Load(Param(name), GP64()).(GPVirtual) }
	bytes := func(name string) GPVirtual { r := load(name); SHLQ(Imm(2), r); return r }

	c, a, lda, ldb := load("c"), load("a"), bytes("lda"), bytes("ldb")
	m, k := load("m"), load("k")
	SHRQ(Imm(4), k)

	Label("rows")
	b, d, n := load("b"), GP64(), load("n")
	MOVQ(c, d)

	Label("cols")
	x, y := newWalk(a, lda, rows), newWalk(b, ldb, cols)
	acc := s.accumulate(x, y, rows, cols, k)
	s.store(acc, d, load("rs"), load("cs"), rows, cols)
	step(b, ldb, cols)
	stepParam(d, "cs", cols)
	DECQ(n)
	JNZ(LabelRef("cols"))

	step(a, lda, rows)
	stepParam(c, "rs", rows)
	DECQ(m)
	JNZ(LabelRef("rows"))
	VZEROUPPER()
	RET()
}

// step adds n times stride, in bytes, to p.
func step(p, stride GPVirtual, n int) {
	t := GP64()
	IMUL3Q(Imm(uint64(n)), stride, t)
	ADDQ(t, p)
}

// stepParam adds n times the named stride, in elements, to p.
func stepParam(p GPVirtual, name string, n int) {
	t := GP64()
	Load(Param(name), t)
	IMUL3Q(Imm(uint64(4*n)), t, t)
	ADDQ(t, p)
}

// accumulate multiplies k blocks of the rows and returns the stripes of each
// product, in row-major order.
func (s isa) accumulate(x, y walk, rows, cols int, k GPVirtual) [][]VecVirtual {
	acc := make([][]VecVirtual, rows*cols)
	for i := range acc {
		for range s.parts() {
			acc[i] = append(acc[i], s.zero())
		}
	}
	left := GP64()
	MOVQ(k, left)
	Label("block")
	for part := range s.parts() {
		at := part * 4 * s.lanes
		var u []VecVirtual
		for i := range rows {
			u = append(u, s.vector())
			VMOVUPS(x.at(i, at), u[i])
		}
		for j := range cols {
			if rows == 1 {
				VFMADD231PS(y.at(j, at), u[0], acc[j][part])
				continue
			}
			v := s.vector()
			VMOVUPS(y.at(j, at), v)
			for i := range rows {
				VFMADD231PS(v, u[i], acc[i*cols+j][part])
			}
		}
	}
	x.advance(4 * width)
	y.advance(4 * width)
	DECQ(left)
	JNZ(LabelRef("block"))
	return acc
}

// dotRows generates the products of one row a and n groups of rows of b, whose
// elements are stored as t and widened. A group has the given number of rows. ldb and
// the other strides count bytes.
func (s isa) dotRows(rows int, t storedFloat) {
	TEXT(fmt.Sprintf("dot%sx%d%s", t.name, rows, s.suffix), NOSPLIT, "func(c *float32, a *float32, b *byte, ldb, n, k int)")
	Pragma("noescape")
	load := func(name string) GPVirtual { return Load(Param(name), GP64()).(GPVirtual) }
	c, a, b, ldb, n, k := load("c"), load("a"), load("b"), load("ldb"), load("n"), load("k")
	SHRQ(Imm(4), k)
	Label("rows")
	x, y, left := GP64(), newWalk(b, ldb, rows), GP64()
	MOVQ(a, x)
	ahead := GP64() // the next rows, which follow in memory
	MOVQ(b, ahead)
	step(ahead, ldb, rows)
	acc := make([][]VecVirtual, rows)
	for i := range acc {
		acc[i] = s.sums()
	}
	MOVQ(k, left)
	Label("block")
	for part := range s.parts() {
		u := s.load(Mem{Base: x, Disp: 4 * part * s.lanes})
		for j := range rows {
			m := y.at(j, t.size*part*s.lanes)
			if t.widen == nil {
				VFMADD231PS(m, u, acc[j][part])
				continue
			}
			v := s.vector()
			t.widen(m, v)
			VFMADD231PS(v, u, acc[j][part])
		}
	}
	used := rows * t.size * width // bytes of a block in all rows
	for at := 0; at < used; at += 64 {
		PREFETCHT0(Mem{Base: ahead, Disp: at})
	}
	ADDQ(U32(used), ahead)
	ADDQ(Imm(4*width), x)
	y.advance(t.size * width)
	DECQ(left)
	JNZ(LabelRef("block"))
	p, rs, cs := GP64(), GP64(), GP64()
	MOVQ(c, p)
	XORQ(rs, rs)
	MOVQ(U32(1), cs)
	s.store(acc, p, rs, cs, 1, rows)
	ADDQ(Imm(uint64(4*rows)), c)
	step(b, ldb, rows)
	DECQ(n)
	JNZ(LabelRef("rows"))
	end()
}

// A storedFloat is a stored type of numbers.
type storedFloat struct {
	name  string
	size  int // bytes
	widen func(m Mem, v VecVirtual)
}

var floats = []storedFloat{
	{"F32", 4, nil},
	{"F16", 2, func(m Mem, v VecVirtual) { VCVTPH2PS(m, v) }},
	{"BF16", 2, func(m Mem, v VecVirtual) { VPMOVZXWD(m, v); VPSLLD(Imm(16), v, v) }},
}

// store reduces the stripes of each product by the tree and stores the sums,
// eight products at a time.
func (s isa) store(acc [][]VecVirtual, c, rs, cs GPVirtual, rows, cols int) {
	SHLQ(Imm(2), rs)
	SHLQ(Imm(2), cs)
	p := GP64()
	for first := 0; first < len(acc); first += 8 {
		group := acc[first:min(first+8, len(acc))]
		even, odd := s.reduce(group)
		for i := range group {
			switch n := first + i; {
			case n == 0:
				MOVQ(c, p)
			case n%cols == 0:
				ADDQ(rs, c)
				MOVQ(c, p)
			default:
				ADDQ(cs, p)
			}
			sums := even
			if i%2 == 1 {
				sums = odd
			}
			if i < 2 {
				VMOVSS(sums, Mem{Base: p})
			} else {
				VEXTRACTPS(Imm(uint64(i/2)), sums, Mem{Base: p})
			}
		}
	}
	if rows > 1 {
		// Return c to the first row.
		IMUL3Q(Imm(uint64(rows-1)), rs, rs)
		SUBQ(rs, c)
	}
}

// reduce returns the sums of up to eight products A to H: even holds A, C, E and
// G, odd holds B, D, F and H.
func (s isa) reduce(acc [][]VecVirtual) (even, odd VecVirtual) {
	var quads []VecVirtual // A0 A1 A2 A3 B0 B1 B2 B3, and so on
	for i := 0; i < len(acc); i += 2 {
		x := s.fold(acc[i])
		y := x
		if i+1 < len(acc) {
			y = s.fold(acc[i+1])
		}
		quads = append(quads, s.quads(x, y))
	}
	for len(quads) < 4 {
		quads = append(quads, quads[len(quads)-1])
	}
	ac, eg := halve(quads[0], quads[1]), halve(quads[2], quads[3])
	even, odd = YMM(), XMM()
	t := YMM()
	VSHUFPS(Imm(0x88), eg, ac, even)
	VSHUFPS(Imm(0xdd), eg, ac, t)
	VADDPS(t, even, even)
	s.high(even, odd)
	return even.AsX().(VecVirtual), odd
}

// fold adds s[i+8] to s[i].
func (s isa) fold(acc []VecVirtual) VecVirtual {
	low := YMM()
	if s.lanes == 16 {
		VEXTRACTF64X4(Imm(1), acc[0], low)
		VADDPS(low, acc[0].AsY(), low)
	} else {
		VADDPS(acc[1], acc[0], low)
	}
	return low
}

// quads adds s[i+4] to s[i] for two products, which leaves four sums of each.
func (s isa) quads(x, y VecVirtual) VecVirtual {
	low, high := YMM(), YMM()
	if s.lanes == 16 { // these instructions can address all 32 registers
		VSHUFF32X4(Imm(0), y, x, low)
		VSHUFF32X4(Imm(3), y, x, high)
	} else {
		VPERM2F128(Imm(0x20), y, x, low)
		VPERM2F128(Imm(0x31), y, x, high)
	}
	VADDPS(high, low, low)
	return low
}

// high moves the upper half of y to x.
func (s isa) high(y, x VecVirtual) {
	if s.lanes == 16 {
		VEXTRACTF32X4(Imm(1), y, x)
	} else {
		VEXTRACTF128(Imm(1), y, x)
	}
}

// halve adds s[i+2] to s[i] for four products. It returns A02 A13 C02 C13, and
// the same of B and D.
func halve(ab, cd VecVirtual) VecVirtual {
	low, high := YMM(), YMM()
	VUNPCKLPD(cd, ab, low)
	VUNPCKHPD(cd, ab, high)
	VADDPS(high, low, low)
	return low
}
