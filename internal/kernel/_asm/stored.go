package main

import (
	"fmt"
	"slices"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

const (
	lanes      = 8  // rows of weights that are multiplied together
	blockCodes = 32 // columns of a block
	quads      = 8  // registers of a block: four columns of each row
	tileBytes  = 16 * 4 * lanes
)

// storedTile generates the product of eight rows of packed codes and a tile of up to 16
// positions. It unpacks a block to registers that hold four columns of each row. Every
// position multiplies them by its own four columns, so the sum of row i stays in lane i,
// and products of few bits are added up in 16 bits first. If every segment is half a block, a
// block has the terms of two.
//
// The memory at tile holds three arrays: outputs and integer sums (positions, lanes), and
// a block of 8-bit codes.
type storedTile struct {
	packing     int
	tile, a     Register // a is the current block of the current position
	planes      []plane
	ahead       GPVirtual // in the next eight rows, which follow in memory
	weights     []VecVirtual
	one, offset VecVirtual
	k           GPVirtual // the segment
	first, next GPVirtual // the indices of its first factor and of that of the next segment
}

// A plane is one bit plane of packed codes.
type plane struct {
	bits, shift int
	at          GPVirtual // the current block in row 0
}

// storedSignature is that of all functions for MulStored.
const storedSignature = "func(tile *float32, codes *byte, stride, blocks int, a *int8, columns *int32, segments int, sums *int32, offset int32, scale, d, minScale, min *float32, positions int)"

func storedRows(packing int) {
	TEXT(fmt.Sprintf("stored%dAVX2", packing), NOSPLIT, storedSignature)
	Pragma("noescape")
	s := &storedTile{packing: packing, k: GP64(), first: GP64(), next: GP64(), ahead: GP64()}
	s.tile, s.a = Load(Param("tile"), GP64()), Load(Param("a"), GP64())
	s.planes = findPlanes(packing)
	stride := Load(Param("stride"), GP64())
	LEAQ(Mem{Base: s.planes[0].at, Index: stride, Scale: 8}, s.ahead)
	s.one = YMM()
	VMOVDQU(constant("words1", 0x00010001), s.one)
	s.loadOffset()
	XORQ(s.k, s.k)
	XORQ(s.first, s.first)
	Load(Param("positions"), s.next)
	zero := avx2.zero()
	s.each("clear", func(i, t GPVirtual) { VMOVUPS(zero, s.output(t)) })

	Label("segment")
	left, columns := GP32(), Load(Param("columns"), GP64())
	MOVL(Mem{Base: columns, Index: s.k, Scale: 4}, left)
	CMPL(left, Imm(blockCodes))
	JL(LabelRef("halves"))
	JNE(LabelRef("several"))
	s.unpack()
	s.addTerms("only", s.a, wholeBlock)
	JMP(LabelRef("minimums"))

	Label("several")
	s.each("start", func(i, t GPVirtual) { VMOVDQU(s.zeroPoints(i), s.sum(t)) })
	Label("block")
	s.unpack()
	s.each("part", func(i, t GPVirtual) {
		VMOVDQU(s.addProduct(s.sum(t), s.a, wholeBlock), s.sum(t))
	})
	SUBL(Imm(blockCodes), left)
	JNZ(LabelRef("block"))
	d := s.rowFactors("d")
	s.each("finish", func(i, t GPVirtual) {
		p := YMM()
		VMOVDQU(s.sum(t), p)
		s.addTerm(p, d, i, t)
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
	s.addTerms("first", again, first)
	s.addMinimums("firstMinimum")
	s.addTerms("last", s.a, last)
	s.addMinimums("lastMinimum")
	CMPQ(s.k, param("segments"))
	JLT(LabelRef("halves"))
	end()
}

// wholeBlock has the registers of a block.
var wholeBlock = []int{0, 1, 2, 3, 4, 5, 6, 7}

// halfBlocks returns the registers of the first and of the last 16 columns of a block, in the
// order of StoredOrder.
func halfBlocks(packing int) (first, last []int) {
	if packing == 8 {
		return wholeBlock[:4], wholeBlock[4:]
	}
	return []int{0, 1, 4, 5}, []int{2, 3, 6, 7}
}

// addTerms adds the terms of a segment that is in the given registers of one block to the
// outputs. a is that block of the first position, and then of the one after the last.
func (s *storedTile) addTerms(label string, a Register, quads []int) {
	d := s.rowFactors("d")
	s.each(label, func(i, t GPVirtual) {
		s.addTerm(s.addProduct(s.zeroPoints(i), a, quads), d, i, t)
	})
}

// addMinimums adds the terms of the minimums, if there are any, and advances to the next
// segment.
func (s *storedTile) addMinimums(label string) {
	min := Load(Param("min"), GP64())
	TESTQ(min, min)
	JZ(LabelRef(label + "End"))
	m := s.rowFactors("min")
	s.each(label, func(i, t GPVirtual) { s.fuse(m, "minScale", i, t) })
	Label(label + "End")
	MOVQ(s.next, s.first)
	ADDQ(param("positions"), s.next)
	INCQ(s.k)
}

// each emits a loop over the positions. i is the index of the position's factor in this
// segment, and t its offset in an array of the tile.
func (s *storedTile) each(label string, body func(i, t GPVirtual)) {
	i, t := GP64(), GP64()
	MOVQ(s.first, i)
	XORQ(t, t)
	Label(label)
	body(i, t)
	ADDQ(Imm(4*lanes), t)
	INCQ(i)
	CMPQ(i, s.next)
	JLT(LabelRef(label))
}

func (s *storedTile) output(t GPVirtual) Mem { return Mem{Base: s.tile, Index: t, Scale: 1} }
func (s *storedTile) sum(t GPVirtual) Mem {
	return Mem{Base: s.tile, Index: t, Scale: 1, Disp: tileBytes}
}
func (s *storedTile) code(quad int) Mem { return Mem{Base: s.tile, Disp: 2*tileBytes + 32*quad} }

// factor returns the operand of factor i of the named array.
func factor(name string, i GPVirtual) Mem {
	return Mem{Base: Load(Param(name), GP64()), Index: i, Scale: 4}
}

// rowFactors loads the factors of the rows in this segment.
func (s *storedTile) rowFactors(name string) VecVirtual {
	at, v := GP64(), YMM()
	MOVQ(s.k, at)
	SHLQ(Imm(5), at)
	ADDQ(param(name), at)
	VMOVUPS(Mem{Base: at}, v)
	return v
}

// zeroPoints returns what the zero point adds to the sums of a position.
func (s *storedTile) zeroPoints(i GPVirtual) VecVirtual {
	v := YMM()
	VPBROADCASTD(factor("sums", i), v)
	VPMULLD(s.offset, v, v)
	return v
}

// addTerm adds the term of this segment to the outputs of a position: sums p times the
// factors d of the rows, times that of the position.
func (s *storedTile) addTerm(p, d VecVirtual, i, t GPVirtual) {
	VCVTDQ2PS(p, p)
	VMULPS(d, p, p)
	s.fuse(p, "scale", i, t)
}

// fuse adds v times factor i of the named array to the outputs.
func (s *storedTile) fuse(v VecVirtual, name string, i, t GPVirtual) {
	y, f := YMM(), YMM()
	VMOVUPS(s.output(t), y)
	VBROADCASTSS(factor(name, i), f)
	VFMADD231PS(v, f, y)
	VMOVUPS(y, s.output(t))
}

// loadOffset sets the offset in every lane.
func (s *storedTile) loadOffset() {
	offset := GP32()
	Load(Param("offset"), offset)
	s.offset = YMM()
	VMOVD(offset, s.offset.AsX())
	VPBROADCASTD(s.offset.AsX(), s.offset)
}

// addProduct returns sum plus the product of the given registers of the block and the position
// at a, and advances a to the next position.
func (s *storedTile) addProduct(sum Op, a Register, quads []int) VecVirtual {
	p := s.product(a, quads)
	VPADDD(sum, p, p)
	return p
}

// product is addProduct from 0 on.
func (s *storedTile) product(a Register, quads []int) VecVirtual {
	var sums adder
	for together := range slices.Chunk(quads, min(s.depth(), len(quads))) {
		var words adder
		for _, q := range together {
			x := YMM()
			VPBROADCASTD(Mem{Base: a, Disp: 4 * q}, x)
			if s.packing == 8 { // the magnitude of a code, times the activation with its sign
				VPSIGNB(s.code(q), x, x)
			}
			VPMADDUBSW(x, s.weights[q], x)
			words.add(VPADDW, x)
		}
		VPMADDWD(s.one, words.total[0], words.total[0])
		sums.add(VPADDD, words.total[0])
	}
	ADDQ(Imm(blockCodes), a)
	return sums.total[0]
}

// An adder adds up a power of two of registers in a tree, which processors compute sooner
// than a chain. It holds at most one register for each level of the tree.
type adder struct {
	total []VecVirtual
	count int
}

func (a *adder) add(op func(...Op), v VecVirtual) {
	a.total = append(a.total, v)
	a.count++
	for n := a.count; n%2 == 0; n /= 2 {
		last := len(a.total) - 1
		op(a.total[last], a.total[last-1], a.total[last-1])
		a.total = a.total[:last]
	}
}

// depth returns how many sums of two products fit a signed 16-bit number.
func (s *storedTile) depth() int {
	depth, largest := 8, 2*127*(1<<s.packing-1)
	for depth > 1 && depth*largest > 1<<15-1 {
		depth /= 2
	}
	return depth
}

// findPlanes returns the planes of codes at the start of the rows.
func findPlanes(packing int) (planes []plane) {
	widths := map[int][]int{2: {2}, 3: {2, 1}, 4: {4}, 5: {4, 1}, 6: {4, 2}, 7: {4, 2, 1}, 8: {8}}[packing]
	shift, bytes := 0, GP64() // bytes of all planes so far
	XORQ(bytes, bytes)
	for _, bits := range widths {
		p := plane{bits, shift, GP64()}
		Load(Param("codes"), p.at)
		ADDQ(bytes, p.at)
		planes = append(planes, p)
		shift += bits
		if shift < packing {
			n := GP64()
			Load(Param("blocks"), n)
			IMUL3Q(Imm(uint64(blockCodes*bits/8)), n, n)
			ADDQ(n, bytes)
		}
	}
	return planes
}

// unpack sets the weights to the current block and advances to the next one. Columns are in
// the order of StoredOrder.
func (s *storedTile) unpack() {
	used := lanes * blockCodes * s.packing / 8 // bytes
	for at := 0; at < used; at += 64 {
		PREFETCHT0(Mem{Base: s.ahead, Disp: at})
	}
	ADDQ(U32(used), s.ahead)
	stride, triple := strides()
	s.weights = nil
	for _, p := range s.planes {
		p.unpack(s, stride, triple)
		ADDQ(Imm(uint64(blockCodes*p.bits/8)), p.at)
	}
}

// unpack adds the bits of a plane to the weights.
func (p plane) unpack(s *storedTile, stride, triple GPVirtual) {
	high := GP64() // row 4
	LEAQ(Mem{Base: p.at, Index: stride, Scale: 4}, high)
	row := func(r int) Mem { return rowsAt(p.at, high, stride, triple, r) }
	switch p.bits {
	case 8: // code - 128: the sign goes to the tile, the magnitude to the weights
		for half := range 2 {
			words := fourWords(row, 16*half)
			for i, v := range words {
				VPXOR(constant("bytes128", 0x80808080), v, v)
				VMOVDQU(v, s.code(4*half+i))
				VPABSB(v, v)
				s.weights = append(s.weights, v)
			}
		}
	case 4:
		s.weights = append(s.weights, avx2.split4(fourWords(row, 0))...)
	case 2:
		avx2.split2(twoWords(row), p.shift, func(q int, v VecVirtual) { s.or(q, p.shift, v) })
	case 1: // byte i is columns 8i to 8i+7
		word := oneWord(row)
		for q := range quads {
			v, odd := YMM(), q/4
			bit := table(fmt.Sprint("bits", odd), func(j int) byte { return 1 << (j%4*2 + odd) })
			VPSHUFB(table(fmt.Sprint("byte", q%4), func(j int) byte { return byte(j%16&^3 + q%4) }), word, v)
			VPAND(bit, v, v)
			VPCMPEQB(bit, v, v)
			VPAND(constant(fmt.Sprint("bit", p.shift), 0x01010101<<p.shift), v, v)
			s.or(q, p.shift, v)
		}
	}
}

// split4 divides words of 4-bit codes into registers of even columns, then of odd ones. The
// low half of byte i is column 2i.
func (s isa) split4(words []VecVirtual) []VecVirtual {
	var even, odd []VecVirtual
	for _, v := range words {
		w := s.vector()
		VPSRLW(Imm(4), v, w)
		s.and(constant("low4", 0x0f0f0f0f), v)
		s.and(constant("low4", 0x0f0f0f0f), w)
		even, odd = append(even, v), append(odd, w)
	}
	return append(even, odd...)
}

// split2 divides words of 2-bit codes as split4 does, shifts the codes, and calls use for each
// register. Byte i is columns 4i to 4i+3.
func (s isa) split2(words []VecVirtual, shift int, use func(q int, v VecVirtual)) {
	for q := range quads {
		v, w, at := s.vector(), s.vector(), q%2*2
		VPSHUFB(table(fmt.Sprint("pairs", at), func(j int) byte { return byte(j%16&^3 + at + j%4/2) }), words[q%4/2], v)
		if q >= 4 {
			VPSRLW(Imm(2), v, v)
		}
		VPSRLW(Imm(4), v, w)
		s.and(constant("even2", 0x00030003), v)
		s.and(constant("odd2", 0x03000300), w)
		s.or(w, v)
		if shift > 0 {
			VPSLLW(Imm(uint64(shift)), v, v)
		}
		use(q, v)
	}
}

// and sets v to v & m, and or to v | m.
func (s isa) and(m Op, v VecVirtual) {
	if s.lanes == 16 {
		VPANDD(m, v, v)
	} else {
		VPAND(m, v, v)
	}
}

func (s isa) or(m Op, v VecVirtual) {
	if s.lanes == 16 {
		VPORD(m, v, v)
	} else {
		VPOR(m, v, v)
	}
}

// or adds the bits in v to weights q, unless shift is 0: it then sets them.
func (s *storedTile) or(q, shift int, v VecVirtual) {
	if shift == 0 {
		s.weights = append(s.weights, v)
		return
	}
	VPOR(v, s.weights[q], s.weights[q])
}

// fourWords returns the four 32-bit words at disp in each of eight rows.
func fourWords(row func(r int) Mem, disp int) []VecVirtual {
	var x []VecVirtual // rows r and r+4
	for r := range 4 {
		v := YMM()
		low, high := row(r), row(r+4)
		low.Disp, high.Disp = disp, disp
		VBROADCASTI128(low, v)
		VINSERTI128(Imm(1), high, v, v)
		x = append(x, v)
	}
	return append(quarters(x[0], x[1], x[2], x[3], 0), quarters(x[0], x[1], x[2], x[3], 1)...)
}

// twoWords returns the two 32-bit words of eight rows.
func twoWords(row func(r int) Mem) []VecVirtual {
	var pairs []VecVirtual // of rows
	for r := 0; r < lanes; r += 2 {
		v, w := YMM(), YMM()
		VPBROADCASTQ(row(r), v)
		VPBROADCASTQ(row(r+1), w)
		VPUNPCKLDQ(w, v, v)
		pairs = append(pairs, v)
	}
	for i := range 2 {
		VPBLENDD(Imm(0xf0), pairs[i+2], pairs[i], pairs[i])
	}
	return halves(pairs[0], pairs[1])
}

// quarters returns the words 2*half and 2*half+1 of four registers of rows.
func quarters(a, b, c, d VecVirtual, half int) []VecVirtual {
	unpack := [...]func(...Op){VPUNPCKLDQ, VPUNPCKHDQ}[half]
	v, w := YMM(), YMM()
	unpack(b, a, v)
	unpack(d, c, w)
	return halves(v, w)
}

// halves returns the low and the high 64-bit halves of a, each followed by that of b. It
// overwrites a.
func halves(a, b VecVirtual) []VecVirtual {
	low := YMM()
	VPUNPCKLQDQ(b, a, low)
	VPUNPCKHQDQ(b, a, a)
	return []VecVirtual{low, a}
}

// oneWord returns the only 32-bit word of eight rows.
func oneWord(row func(r int) Mem) VecVirtual {
	word := YMM()
	VPBROADCASTD(row(0), word)
	for r := 1; r < lanes; r++ {
		v := YMM()
		VPBROADCASTD(row(r), v)
		VPBLENDD(Imm(1<<r), v, word, word)
	}
	return word
}

// prefetch generates the prefetch of n lines of a cache that begin ldd elements apart.
func prefetch() {
	TEXT("prefetchAMD64", NOSPLIT, "func(dst *float32, ldd, n int)")
	Pragma("noescape")
	dst, ldd, n := Load(Param("dst"), GP64()), Load(Param("ldd"), GP64()), Load(Param("n"), GP64())
	SHLQ(Imm(2), ldd)
	Label("line")
	PREFETCHT0(Mem{Base: dst})
	ADDQ(ldd, dst)
	DECQ(n)
	JNZ(LabelRef("line"))
	RET()
}
