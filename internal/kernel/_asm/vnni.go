package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

const (
	wideLanes = 16 // rows of weights that are multiplied together
	together  = 8  // positions whose sums are in registers together
	wideBytes = 16 * 4 * wideLanes
)

// vnniTile generates the product of 16 rows of packed codes and a tile of up to 16
// positions. As in storedTile, a register holds four columns of each row, and the sum of row
// i stays in lane i. One instruction of AVX-512 VNNI multiplies unsigned weights by signed
// activations and adds the products to 32-bit sums: no part of a sum is kept in 16 bits, and
// codes of 8 bits need no sign. The sums of several positions advance in turn, because each
// waits five cycles for the last.
//
// The memory at tile holds three arrays: outputs and integer sums (positions, lanes), and
// what the zero point adds to the sums of each position.
type vnniTile struct {
	packing int
	tile, a Register // a is the current block of the current position
	planes  []plane
	ahead   GPVirtual // in the next rows, which follow in memory
	weights []VecVirtual
	offset  VecVirtual
	mask    OpmaskVirtual // of the positions
	k       GPVirtual     // the segment
	first   GPVirtual     // the index of its first factor
}

func storedVNNI(packing int) {
	TEXT(fmt.Sprintf("stored%dVNNI", packing), NOSPLIT, storedSignature)
	Pragma("noescape")
	s := &vnniTile{packing: packing, k: GP64(), first: GP64(), ahead: GP64(), mask: K()}
	s.tile, s.a = Load(Param("tile"), GP64()), Load(Param("a"), GP64())
	s.planes = findPlanes(packing)
	stride := Load(Param("stride"), GP64())
	LEAQ(Mem{Base: s.planes[0].at, Index: stride, Scale: 8}, s.ahead)
	LEAQ(Mem{Base: s.ahead, Index: stride, Scale: 8}, s.ahead)
	bits := GP64()
	MOVQ(I32(-1), bits)
	BZHIQ(Load(Param("positions"), GP64()), bits, bits)
	KMOVW(bits.As32(), s.mask)
	s.offset = loadOffset(packing)
	XORQ(s.k, s.k)
	XORQ(s.first, s.first)
	zero := avx512.zero()
	s.each("clear", 1, func(at position) { VMOVUPS(zero, at.output(0)) })

	Label("segment")
	s.zeroPoints()
	left, columns := GP32(), Load(Param("columns"), GP64())
	MOVL(Mem{Base: columns, Index: s.k, Scale: 4}, left)
	CMPL(left, Imm(blockCodes))
	JL(LabelRef("halves"))
	JNE(LabelRef("several"))
	s.unpack()
	s.addSegment("only", s.a, wholeBlock)
	JMP(LabelRef("minimums"))

	Label("several")
	s.each("start", 1, func(at position) {
		v := ZMM()
		VPBROADCASTD(at.zeroPoint(0), v)
		VMOVDQU32(v, at.sum(0))
	})
	Label("block")
	s.unpack()
	s.each("part", together, func(at position) {
		sums := at.sums(func(i int, sum VecVirtual) { VMOVDQU32(at.sum(i), sum) })
		s.addProducts(sums, s.a, wholeBlock)
		for i, v := range sums {
			VMOVDQU32(v, at.sum(i))
		}
	})
	SUBL(Imm(blockCodes), left)
	JNZ(LabelRef("block"))
	d := s.rowFactors("d")
	s.each("finish", 1, func(at position) {
		s.addTerms(at, at.sums(func(i int, sum VecVirtual) { VMOVDQU32(at.sum(i), sum) }), d)
	})

	Label("minimums")
	s.addMinimums("minimum")
	CMPQ(s.k, param("segments"))
	JLT(LabelRef("segment"))
	end()

	Label("halves")
	s.unpack()
	again := GP64()
	MOVQ(s.a, again)
	first, last := halfBlocks(packing)
	s.addSegment("first", again, first)
	s.addMinimums("firstMinimum")
	s.zeroPoints()
	s.addSegment("last", s.a, last)
	s.addMinimums("lastMinimum")
	CMPQ(s.k, param("segments"))
	JGE(LabelRef("done"))
	s.zeroPoints()
	JMP(LabelRef("halves"))
	Label("done")
	end()
}

// addSegment adds the terms of a segment that is in the given registers of one block to the
// outputs. a is that block of the first position, and then of the one after the last.
func (s *vnniTile) addSegment(label string, a Register, quads []int) {
	d := s.rowFactors("d")
	s.each(label, together, func(at position) {
		sums := at.sums(func(i int, sum VecVirtual) { VPBROADCASTD(at.zeroPoint(i), sum) })
		s.addProducts(sums, a, quads)
		s.addTerms(at, sums, d)
	})
}

// addMinimums adds the terms of the minimums, if there are any, and advances to the next
// segment.
func (s *vnniTile) addMinimums(label string) {
	min := Load(Param("min"), GP64())
	TESTQ(min, min)
	JZ(LabelRef(label + "End"))
	m := s.rowFactors("min")
	s.each(label, 1, func(at position) { at.fuse(0, m, s.factors("minScale", at)) })
	Label(label + "End")
	ADDQ(param("positions"), s.first)
	INCQ(s.k)
}

// A position is the first of n positions of a tile.
type position struct {
	n       int
	tile    Register
	i, byte GPVirtual // its index and its offset in an array of the tile
}

func (p position) at(array, i int) Mem {
	return Mem{Base: p.tile, Index: p.byte, Scale: 1, Disp: array*wideBytes + 4*wideLanes*i}
}
func (p position) output(i int) Mem { return p.at(0, i) }
func (p position) sum(i int) Mem    { return p.at(1, i) }
func (p position) zeroPoint(i int) Mem {
	return Mem{Base: p.tile, Index: p.i, Scale: 4, Disp: 2*wideBytes + 4*i}
}

// sums returns a register for each position, which load sets.
func (p position) sums(load func(i int, sum VecVirtual)) []VecVirtual {
	var sums []VecVirtual
	for i := range p.n {
		sums = append(sums, ZMM())
		load(i, sums[i])
	}
	return sums
}

// each emits loops over the positions: one that takes n at a time, and, if n is not 1, one
// for the rest.
func (s *vnniTile) each(label string, n int, body func(at position)) {
	at, left := position{1, s.tile, GP64(), GP64()}, GP64()
	XORQ(at.i, at.i)
	XORQ(at.byte, at.byte)
	Load(Param("positions"), left)
	step := func(n int) {
		at.n = n
		body(at)
		ADDQ(U32(4*wideLanes*n), at.byte)
		ADDQ(Imm(uint64(n)), at.i)
	}
	if n > 1 {
		SUBQ(Imm(uint64(n)), left)
		JL(LabelRef(label + "Rest"))
		Label(label + "Many")
		step(n)
		SUBQ(Imm(uint64(n)), left)
		JGE(LabelRef(label + "Many"))
		Label(label + "Rest")
		ADDQ(Imm(uint64(n)), left)
		JZ(LabelRef(label + "End"))
	}
	Label(label)
	step(1)
	DECQ(left)
	JNZ(LabelRef(label))
	if n > 1 {
		Label(label + "End")
	}
}

// zeroPoints stores what the zero point adds to the sums of each position.
func (s *vnniTile) zeroPoints() {
	v := ZMM()
	VMOVDQU32_Z(Mem{Base: Load(Param("sums"), GP64()), Index: s.first, Scale: 4}, s.mask, v)
	VPMULLD(s.offset, v, v)
	VMOVDQU32(v, Mem{Base: s.tile, Disp: 2 * wideBytes})
}

// rowFactors loads the factors of the rows in this segment.
func (s *vnniTile) rowFactors(name string) VecVirtual {
	at, v := GP64(), ZMM()
	MOVQ(s.k, at)
	SHLQ(Imm(6), at)
	ADDQ(param(name), at)
	VMOVUPS(Mem{Base: at}, v)
	return v
}

// addProducts adds the products of the given registers of the block and the positions from a
// on to their sums, and advances a to the next position.
func (s *vnniTile) addProducts(sums []VecVirtual, a Register, quads []int) {
	add := func(i, q int, v VecVirtual) {
		VPDPBUSD_BCST(Mem{Base: a, Disp: blockCodes*i + 4*q}, s.weights[q], v)
	}
	if len(sums) == 1 { // half of it in a second sum, so that less waits
		v := avx512.zero()
		for i, q := range quads[:len(quads)/2] {
			add(0, q, sums[0])
			add(0, quads[i+len(quads)/2], v)
		}
		VPADDD(v, sums[0], sums[0])
	} else {
		for _, q := range quads {
			for i, v := range sums {
				add(i, q, v)
			}
		}
	}
	ADDQ(U32(uint32(blockCodes*len(sums))), a)
}

// addTerms adds the terms of this segment to the outputs of some positions: sums times the
// factors d of the rows, times those of the positions.
func (s *vnniTile) addTerms(at position, sums []VecVirtual, d VecVirtual) {
	factors := s.factors("scale", at)
	for i, v := range sums {
		VCVTDQ2PS(v, v)
		VMULPS(d, v, v)
		at.fuse(i, v, factors)
	}
}

// factors returns the address of the named array's factors of some positions in this segment.
func (s *vnniTile) factors(name string, at position) GPVirtual {
	p := GP64()
	LEAQ(Mem{Base: s.first, Index: at.i, Scale: 1}, p)
	SHLQ(Imm(2), p)
	ADDQ(param(name), p)
	return p
}

// fuse adds v times factor i to the outputs of position i.
func (p position) fuse(i int, v VecVirtual, factors GPVirtual) {
	y := ZMM()
	VMOVUPS(p.output(i), y)
	VFMADD231PS_BCST(Mem{Base: factors, Disp: 4 * i}, v, y)
	VMOVUPS(y, p.output(i))
}

// loadOffset returns the offset in every lane. It is one for codes less 128 if they have 8
// bits, but these are unsigned.
func loadOffset(packing int) VecVirtual {
	offset, v := GP32(), ZMM()
	Load(Param("offset"), offset)
	if packing == 8 {
		SUBL(Imm(128), offset)
	}
	VPBROADCASTD(offset, v)
	return v
}

// unpack sets the weights to the current block and advances to the next one. Columns are in
// the order of StoredOrder.
func (s *vnniTile) unpack() {
	used := wideLanes * blockCodes * s.packing / 8 // bytes
	for at := 0; at < used; at += 64 {
		PREFETCHT0(Mem{Base: s.ahead, Disp: at})
	}
	ADDQ(U32(uint32(used)), s.ahead)
	stride, triple := strides()
	s.weights = nil
	for _, p := range s.planes {
		s.unpackPlane(p, sixteenRows(p.at, stride, triple))
		ADDQ(Imm(uint64(blockCodes*p.bits/8)), p.at)
	}
}

// sixteenRows returns a function that returns the operand of row r of sixteen, disp bytes
// past low.
func sixteenRows(low, stride, triple GPVirtual) func(r, disp int) Mem {
	second, third, fourth := GP64(), GP64(), GP64()
	LEAQ(Mem{Base: low, Index: stride, Scale: 4}, second)
	LEAQ(Mem{Base: low, Index: stride, Scale: 8}, third)
	LEAQ(Mem{Base: second, Index: stride, Scale: 8}, fourth)
	return func(r, disp int) Mem {
		m := rowsAt(low, second, stride, triple, r%8)
		if r >= 8 {
			m = rowsAt(third, fourth, stride, triple, r%8)
		}
		m.Disp = disp
		return m
	}
}

// unpackPlane adds the bits of a plane to the weights.
func (s *vnniTile) unpackPlane(p plane, row func(r, disp int) Mem) {
	switch p.bits {
	case 8:
		s.weights = append(sixteenQuads(row, 0), sixteenQuads(row, 16)...)
	case 4:
		s.weights = append(s.weights, avx512.split4(sixteenQuads(row, 0))...)
	case 2:
		avx512.split2(sixteenPairs(row), p.shift, func(q int, v VecVirtual) {
			if p.shift == 0 {
				s.weights = append(s.weights, v)
			} else {
				avx512.or(v, s.weights[q])
			}
		})
	case 1: // byte i is columns 8i to 8i+7
		word, set := sixteenWords(row), ZMM()
		VMOVDQU32(constant(fmt.Sprint("bit", p.shift), 0x01010101<<p.shift), set)
		for q := range quads {
			v, ones, odd := ZMM(), K(), q/4
			VPSHUFB(table(fmt.Sprint("byte", q%4), func(j int) byte { return byte(j%16&^3 + q%4) }), word, v)
			VPTESTMB(table(fmt.Sprint("bits", odd), func(j int) byte { return 1 << (j%4*2 + odd) }), v, ones)
			VPADDB(set, s.weights[q], ones, s.weights[q])
		}
	}
}

// sixteenQuads returns the four 32-bit words at disp in each of 16 rows. Row r is lane r.
func sixteenQuads(row func(r, disp int) Mem, disp int) []VecVirtual {
	x := sixteenRegisters(row, disp)
	var words []VecVirtual
	for _, unpack := range []func(...Op){VPUNPCKLDQ, VPUNPCKHDQ} {
		v, w, low, high := ZMM(), ZMM(), ZMM(), ZMM()
		unpack(x[1], x[0], v)
		unpack(x[3], x[2], w)
		VPUNPCKLQDQ(w, v, low)
		VPUNPCKHQDQ(w, v, high)
		words = append(words, low, high)
	}
	return words
}

// sixteenRegisters returns 16 bytes at disp in each of 16 rows: register r has those of rows
// r, r+4, r+8 and r+12.
func sixteenRegisters(row func(r, disp int) Mem, disp int) []VecVirtual {
	var x []VecVirtual
	for r := range 4 {
		v := ZMM()
		VBROADCASTI32X4(row(r, disp), v)
		for i := 1; i < 4; i++ {
			VINSERTI32X4(Imm(uint64(i)), row(r+4*i, disp), v, v)
		}
		x = append(x, v)
	}
	return x
}

// sixteenPairs returns the two 32-bit words of each of 16 rows.
func sixteenPairs(row func(r, disp int) Mem) []VecVirtual {
	var x [2]VecVirtual // rows 4i and 4i+1, and 4i+2 and 4i+3
	for half := range x {
		var v [4]VecVirtual
		for i := range v {
			v[i] = ZMM()
			x := v[i].AsX()
			VPBROADCASTQ(row(4*i+2*half, 0), v[i])
			VPINSRQ(Imm(1), row(4*i+2*half+1, 0), x, x)
		}
		x[half] = joined(v)
	}
	even, odd := ZMM(), ZMM()
	VSHUFPS(Imm(0x88), x[1], x[0], even)
	VSHUFPS(Imm(0xdd), x[1], x[0], odd)
	return []VecVirtual{even, odd}
}

// sixteenWords returns the 32-bit word of each of 16 rows.
func sixteenWords(row func(r, disp int) Mem) VecVirtual {
	var v [4]VecVirtual
	for i := range v {
		v[i] = ZMM()
		x := v[i].AsX()
		VPBROADCASTD(row(4*i, 0), v[i])
		for r := 1; r < 4; r++ {
			VPINSRD(Imm(uint64(r)), row(4*i+r, 0), x, x)
		}
	}
	return joined(v)
}

// joined returns the first 128 bits of four registers in one. It overwrites v[0].
func joined(v [4]VecVirtual) VecVirtual {
	for i := 1; i < 4; i++ {
		VINSERTI32X4(Imm(uint64(i)), v[i].AsX(), v[0], v[0])
	}
	return v[0]
}

// transposeF16Wide generates transposeF16 for 16 rows. It transposes the numbers before it
// widens them.
func transposeF16Wide() {
	TEXT("transposeF16AVX512", NOSPLIT, "func(dst *float32, ldd int, src *byte, stride, n int)")
	Pragma("noescape")
	load := func(name string) GPVirtual { return Load(Param(name), GP64()).(GPVirtual) }
	dst, ldd, src, n := load("dst"), load("ldd"), load("src"), load("n")
	SHLQ(Imm(2), ldd)
	stride, triple := strides()
	order := transposedOrder()
	JMP(LabelRef("check"))
	Label("columns")
	row := sixteenRows(src, stride, triple)
	transposeEight(sixteenRegisters(row, 0), order, func(_ int, v VecVirtual) {
		VMOVUPS(v, Mem{Base: dst})
		ADDQ(ldd, dst)
	})
	ADDQ(Imm(16), src)
	SUBQ(Imm(8), n)
	Label("check")
	TESTQ(n, n)
	JNZ(LabelRef("columns"))
	end()
}

// transposedOrder returns the order in which transposeEight takes 64-bit parts of a register.
func transposedOrder() VecVirtual {
	order := ZMM()
	VPMOVZXBQ(table("pairs64", func(i int) byte { return [...]byte{0, 2, 4, 6, 1, 3, 5, 7}[i%8] }), order)
	return order
}

// transposeEight calls store with each of eight columns of 16 rows of float16 numbers, widened.
// x is what sixteenRegisters returns.
func transposeEight(x []VecVirtual, order VecVirtual, store func(column int, v VecVirtual)) {
	column := 0
	for _, words := range []func(...Op){VPUNPCKLWD, VPUNPCKHWD} {
		a, b := ZMM(), ZMM()
		words(x[1], x[0], a)
		words(x[3], x[2], b)
		for _, columns := range []func(...Op){VPUNPCKLDQ, VPUNPCKHDQ} {
			v, high := ZMM(), YMM()
			columns(b, a, v) // two columns of four rows in each quarter
			VPERMQ(v, order, v)
			VEXTRACTI64X4(Imm(1), v, high)
			for _, half := range []Op{v.AsY(), high} {
				w := ZMM()
				VCVTPH2PS(half, w)
				store(column, w)
				column++
			}
		}
	}
}
