package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// spanBlocks is the number of blocks of a row that are multiplied together.
const spanBlocks = 4

// A vectorVNNI generates the product of packed rows and one position. It multiplies spans of
// four blocks: a register holds the even columns of a span of one row, and another the odd
// ones, as StoredOrder has them (for codes of 8 bits, the first and the last 16 columns of
// each block). So no weights are rearranged, only sums: each quarter of a register holds those
// of a block, and sums of 16 rows are transposed until row i is lane i.
//
// If every segment is half a block, a register of sums has half the columns of each block, and
// there are twice as many. Masks leave out the columns of a span that are beyond the row.
type vectorVNNI struct {
	packing     int
	planes      []plane
	a           Register      // the current span of the position
	left        GPVirtual     // blocks of the row that are not multiplied yet
	ahead       GPVirtual     // in the next rows, which follow in memory
	columns     GPVirtual     // of the segment that are not added up yet
	k           GPVirtual     // the segment
	words       OpmaskVirtual // one bit for each four columns
	low, high   OpmaskVirtual // words in two halves
	quarters    OpmaskVirtual // one bit for each eight columns
	offset      VecVirtual
	offset16    VecVirtual // offset as a 16-bit number, followed by 0
	sum, output VecVirtual // of the segment, and of the rows
	even, odd   VecVirtual // columns of the position
}

func vectorStored(packing int) {
	TEXT(fmt.Sprintf("vector%dVNNI", packing), NOSPLIT, "func(dst *float32, sets int, codes *byte, stride, blocks int, a *int8, columns *int32, segments int, sums *int32, offset int32, scale, minScale, d, min *float32, scales, mins *byte, scaleTable, minTable *float32)")
	Pragma("noescape")
	s := &vectorVNNI{packing: packing, left: GP64(), ahead: GP64(), columns: GP64(), k: GP64(), a: GP64()}
	s.words, s.low, s.high, s.quarters = K(), K(), K(), K()
	s.sum, s.output = ZMM(), ZMM()
	s.offset, s.offset16 = loadOffset(packing), ZMM()
	VPANDD(constant("low16", 0xffff), s.offset, s.offset16)
	factors := []setFactors{{"scales", "scaleTable", "d"}, {"mins", "minTable", "min"}}

	Label("set")
	for _, f := range factors {
		f.widen()
	}
	s.planes = findPlanes(packing)
	Load(Param("a"), s.a)
	Load(Param("blocks"), s.left)
	stride := Load(Param("stride"), GP64())
	SHLQ(Imm(4), stride)
	LEAQ(Mem{Base: s.planes[0].at, Index: stride, Scale: 1}, s.ahead)
	MOVQ(s.ahead, param("codes"))
	KXNORD(s.words, s.words, s.words)
	KMOVD(s.words, s.low)
	KMOVD(s.words, s.high)
	KMOVD(s.words, s.quarters)
	avx512.clear(s.output)
	XORQ(s.k, s.k)
	columns := Load(Param("columns"), GP64())
	CMPL(Mem{Base: columns}, Imm(blockCodes))
	JL(LabelRef("half"))

	s.startSegment()
	s.spans("whole", func() {
		for i, p := range s.transposed(s.products()) {
			s.addBlock(i, p)
		}
	})
	s.spans("half", func() {
		first, last := s.halfProducts()
		first, last = s.transposed(first), s.transposed(last)
		for i := range first {
			s.addHalves(i, []VecVirtual{first[i], last[i]})
		}
	})

	Label("store")
	dst := Load(Param("dst"), GP64())
	VMOVUPS(s.output, Mem{Base: dst})
	ADDQ(U32(4*wideLanes), dst)
	MOVQ(dst, param("dst"))
	for _, f := range factors {
		f.advance()
	}
	DECQ(param("sets"))
	JNZ(LabelRef("set"))
	end()
}

// spans emits the loop over the spans of 16 rows. It ends where body jumps to the label "store".
func (s *vectorVNNI) spans(label string, body func()) {
	Label(label)
	CMPQ(s.left, Imm(spanBlocks))
	JGE(LabelRef(label + "Span"))
	s.setMasks()
	Label(label + "Span")
	s.loadPosition()
	body()
	for _, p := range s.planes {
		ADDQ(U32(uint32(spanBlocks*blockCodes*p.bits/8)), p.at)
	}
	ADDQ(U32(spanBlocks*blockCodes), s.a)
	SUBQ(Imm(spanBlocks), s.left)
	JMP(LabelRef(label))
}

// setMasks leaves out the columns after the blocks that are left, fewer than spanBlocks.
func (s *vectorVNNI) setMasks() {
	n, all, bits := GP64(), GP64(), GP64()
	MOVQ(I32(-1), all)
	MOVQ(s.left, n)
	SHLQ(Imm(2), n)
	BZHIQ(n, all, bits)
	KMOVD(bits.As32(), s.quarters)
	SHLQ(Imm(1), n)
	BZHIQ(n, all, bits)
	KMOVD(bits.As32(), s.words)
	KMOVD(bits.As32(), s.low)
	SHRQ(Imm(16), bits)
	KMOVD(bits.As32(), s.high)
}

// loadPosition sets even and odd to the columns of the current span.
func (s *vectorVNNI) loadPosition() {
	s.even, s.odd = s.halves(func(half int) Mem { return Mem{Base: s.a, Disp: 64 * half} })
}

// halves returns the first and the last 16 bytes of each of four blocks, of which at returns
// two.
func (s *vectorVNNI) halves(at func(half int) Mem) (first, last VecVirtual) {
	v, w, first, last := ZMM(), ZMM(), ZMM(), ZMM()
	VMOVDQU32_Z(at(0), s.low, v)
	VMOVDQU32_Z(at(1), s.high, w)
	VSHUFI32X4(Imm(0x88), w, v, first)
	VSHUFI32X4(Imm(0xdd), w, v, last)
	return first, last
}

// products returns the sums of the current span. Register i has those of rows 4i to 4i+3: lane
// j of quarter q is row 4i+j and block q.
func (s *vectorVNNI) products() (sums []VecVirtual) {
	s.eachFour(func(row func(r int) (even, odd VecVirtual)) {
		var x []VecVirtual
		for r := range 4 {
			even, odd := row(r)
			v := avx512.zero()
			VPDPBUSD(s.even, even, v)
			VPDPBUSD(s.odd, odd, v)
			x = append(x, v)
		}
		sums = append(sums, folded(VPUNPCKLQDQ, VPUNPCKHQDQ,
			folded(VPUNPCKLDQ, VPUNPCKHDQ, x[0], x[1]), folded(VPUNPCKLDQ, VPUNPCKHDQ, x[2], x[3])))
	})
	return sums
}

// halfProducts is products for the first and the last half of each block.
func (s *vectorVNNI) halfProducts() (first, last []VecVirtual) {
	const even, odd, low, high = 0x88, 0xdd, 0x44, 0xee // lanes of both operands
	s.eachFour(func(row func(r int) (even, odd VecVirtual)) {
		var x []VecVirtual // lanes 0 and 1 of each quarter are the first half, 2 and 3 the last
		for r := range 4 {
			a, b := row(r)
			v, w := avx512.zero(), ZMM()
			VPDPBUSD(s.even, a, v)
			if s.packing == 8 { // a is the first half, and b the last
				avx512.clear(w)
				VPDPBUSD(s.odd, b, w)
				v = folded(shuffle(low), shuffle(high), v, w)
			} else {
				VPDPBUSD(s.odd, b, v)
			}
			x = append(x, v)
		}
		v, w := folded(shuffle(even), shuffle(odd), x[0], x[1]), folded(shuffle(even), shuffle(odd), x[2], x[3])
		a := ZMM()
		shuffle(even)(w, v, a)
		shuffle(odd)(w, v, v)
		first, last = append(first, a), append(last, v)
	})
	return first, last
}

// shuffle returns VSHUFPS with the given immediate operand.
func shuffle(imm uint64) func(...Op) {
	return func(ops ...Op) { VSHUFPS(Imm(imm), ops[0], ops[1], ops[2]) }
}

// eachFour calls body for each four rows, with a function that unpacks the current span of row
// r of them.
func (s *vectorVNNI) eachFour(body func(row func(r int) (even, odd VecVirtual))) {
	stride, triple := strides()
	for four := range 4 {
		for i := range s.packing { // lines of a span of four rows
			PREFETCHT0(Mem{Base: s.ahead, Disp: 64 * (four*s.packing + i)})
		}
		bases := map[plane]GPVirtual{}
		for _, p := range s.planes {
			bases[p] = fourRows(p.at, stride, four)
		}
		body(func(r int) (even, odd VecVirtual) {
			return s.unpackRow(func(p plane, disp int) Mem {
				m := rowsAt(bases[p], bases[p], stride, triple, r)
				m.Disp = disp
				return m
			})
		})
	}
	ADDQ(U32(uint32(64*4*s.packing)), s.ahead)
}

// fourRows returns the address of row 4*four, given that of row 0.
func fourRows(at, stride GPVirtual, four int) GPVirtual {
	if four == 0 {
		return at
	}
	base := GP64()
	LEAQ(Mem{Base: at, Index: stride, Scale: 4}, base)
	switch four {
	case 2:
		LEAQ(Mem{Base: base, Index: stride, Scale: 4}, base)
	case 3:
		LEAQ(Mem{Base: base, Index: stride, Scale: 8}, base)
	}
	return base
}

// folded returns the sum of what two instructions make of a and b. It overwrites a.
func folded(low, high func(...Op), a, b VecVirtual) VecVirtual {
	v := ZMM()
	low(b, a, v)
	high(b, a, a)
	VPADDD(v, a, a)
	return a
}

// unpackRow returns the codes of the even and the odd columns of a row's current span.
func (s *vectorVNNI) unpackRow(at func(p plane, disp int) Mem) (even, odd VecVirtual) {
	for _, p := range s.planes {
		v, w := ZMM(), ZMM()
		switch p.bits {
		case 8:
			return s.halves(func(half int) Mem { return at(p, 64*half) })
		case 4:
			VMOVDQU32_Z(at(p, 0), s.quarters, v)
			VPSRLW(Imm(4), v, w)
			avx512.and(constant("low4", 0x0f0f0f0f), v)
			avx512.and(constant("low4", 0x0f0f0f0f), w)
			even, odd = v, w
		case 2: // byte i is columns 4i to 4i+3: to word i, whose bytes have two even or two odd columns
			VPMOVZXBW_Z(at(p, 0), s.words, v)
			VPSLLW(Imm(4), v, w)
			VPORD(w, v, v)
			mask := constant(fmt.Sprint("low2at", p.shift), 0x03030303<<p.shift)
			if p.shift == 0 {
				VPSRLW(Imm(2), v, w)
				avx512.and(mask, v)
				avx512.and(mask, w)
				even, odd = v, w
				continue
			}
			VPSLLW(Imm(uint64(p.shift-2)), v, w)
			VPSLLW(Imm(uint64(p.shift)), v, v)
			avx512.and(mask, v)
			avx512.and(mask, w)
			VPORD(v, even, even)
			VPORD(w, odd, odd)
		case 1: // byte i is columns 8i to 8i+7: to the four bytes of word i
			VPMOVZXBD_Z(at(p, 0), s.quarters, v)
			VPSHUFB(table("byte0", func(j int) byte { return byte(j % 16 &^ 3) }), v, v)
			set := constant(fmt.Sprint("bit", p.shift), 0x01010101<<p.shift)
			for i, codes := range []VecVirtual{even, odd} {
				ones := K()
				VPTESTMB(table(fmt.Sprint("bits", i), func(j int) byte { return 1 << (j%4*2 + i) }), v, ones)
				VPADDB(set, codes, ones, codes)
			}
		}
	}
	return even, odd
}

// transposed returns the sums of each block, of 16 rows, given those of products.
func (s *vectorVNNI) transposed(x []VecVirtual) []VecVirtual {
	pair := func(imm uint64, a, b VecVirtual) VecVirtual {
		v := ZMM()
		VSHUFI32X4(Imm(imm), b, a, v)
		return v
	}
	const even, odd = 0x88, 0xdd // quarters of both operands
	v, w := pair(even, x[0], x[1]), pair(even, x[2], x[3])
	y, z := pair(odd, x[0], x[1]), pair(odd, x[2], x[3])
	return []VecVirtual{pair(even, v, w), pair(even, y, z), pair(odd, v, w), pair(odd, y, z)}
}

// addBlock adds p, the sums of block i of the span, to those of the segment. After the last
// block of the segment, it adds its terms to the outputs.
func (s *vectorVNNI) addBlock(i int, p VecVirtual) {
	next := fmt.Sprint("block", i)
	VPADDD(p, s.sum, s.sum)
	SUBQ(Imm(blockCodes), s.columns)
	JNZ(LabelRef(next))
	at := GP64()
	MOVQ(s.k, at)
	SHLQ(Imm(6), at)
	d, factor := Load(Param("d"), GP64()), Load(Param("scale"), GP64())
	VCVTDQ2PS(s.sum, s.sum)
	VMULPS(Mem{Base: d, Index: at, Scale: 1}, s.sum, s.sum)
	VFMADD231PS_BCST(Mem{Base: factor, Index: s.k, Scale: 4}, s.sum, s.output)
	min := Load(Param("minScale"), GP64())
	TESTQ(min, min)
	JZ(LabelRef(next + "Scaled"))
	m, v := Load(Param("min"), GP64()), ZMM()
	VMOVUPS(Mem{Base: m, Index: at, Scale: 1}, v)
	VFMADD231PS_BCST(Mem{Base: min, Index: s.k, Scale: 4}, v, s.output)
	Label(next + "Scaled")
	INCQ(s.k)
	CMPQ(s.k, param("segments"))
	JGE(LabelRef("store"))
	s.startSegment()
	Label(next)
}

// startSegment sets the sum to what the zero point adds.
func (s *vectorVNNI) startSegment() {
	columns, sums := Load(Param("columns"), GP64()), Load(Param("sums"), GP64())
	MOVL(Mem{Base: columns, Index: s.k, Scale: 4}, s.columns.As32())
	VPBROADCASTD(Mem{Base: sums, Index: s.k, Scale: 4}, s.sum)
	VPMULLD(s.offset, s.sum, s.sum)
}

// addHalves adds the terms of the two segments in block i of the span to the outputs, given
// their sums.
func (s *vectorVNNI) addHalves(i int, p []VecVirtual) {
	label, at := fmt.Sprint("halves", i), GP64()
	MOVQ(s.k, at)
	SHLQ(Imm(6), at)
	load := func(name string) Register { return Load(Param(name), GP64()) }
	sums, d, scale := load("sums"), load("d"), load("scale")
	element := func(array Register, h int) Mem { return Mem{Base: array, Index: s.k, Scale: 4, Disp: 4 * h} }
	row := func(array Register, h int) Mem { return Mem{Base: array, Index: at, Scale: 1, Disp: 4 * wideLanes * h} }
	for h, v := range p {
		VPDPWSSD_BCST(element(sums, h), s.offset16, v) // sums of 16 codes fit 16 bits
		VCVTDQ2PS(v, v)
		VMULPS(row(d, h), v, v)
	}
	minScale := load("minScale")
	TESTQ(minScale, minScale)
	JZ(LabelRef(label + "Scales"))
	min := load("min")
	for h, v := range p {
		m := ZMM()
		VFMADD231PS_BCST(element(scale, h), v, s.output)
		VMOVUPS(row(min, h), m)
		VFMADD231PS_BCST(element(minScale, h), m, s.output)
	}
	JMP(LabelRef(label + "End"))
	Label(label + "Scales")
	for h, v := range p {
		VFMADD231PS_BCST(element(scale, h), v, s.output)
	}
	Label(label + "End")
	ADDQ(Imm(2), s.k)
	CMPQ(s.k, param("segments"))
	JGE(LabelRef("store"))
}
