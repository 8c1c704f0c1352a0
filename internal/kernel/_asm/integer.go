package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

const (
	lanes      = 8  // rows of weights that integerRows multiplies together
	blockCodes = 32 // columns of a block
	panelLanes = 16 // rows of weights in a panel
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
	stride, triple := strides()
	planes := newPlanes(packing, stride)
	ahead := GP64() // the next eight rows, which follow in memory
	LEAQ(Mem{Base: planes[0].low, Index: stride, Scale: 8}, ahead)
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
	used := lanes * blockCodes * packing / 8 // bytes of a block in all rows
	for at := 0; at < used; at += 64 {
		PREFETCHT0(Mem{Base: ahead, Disp: at})
	}
	ADDQ(U32(used), ahead)
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

// strides returns the stride of rows in bytes, and three times that.
func strides() (stride, triple GPVirtual) {
	stride, triple = Load(Param("stride"), GP64()).(GPVirtual), GP64()
	LEAQ(Mem{Base: stride, Index: stride, Scale: 2}, triple)
	return stride, triple
}

// newPlane returns the only plane of rows that begin at the named parameter.
func newPlane(name string, bits int, stride GPVirtual) plane {
	p := plane{bits, 0, GP64(), GP64()}
	Load(Param(name), p.low)
	LEAQ(Mem{Base: p.low, Index: stride, Scale: 4}, p.high)
	return p
}

// newPlanes returns the planes of packed codes at the start of a row.
func newPlanes(packing int, stride GPVirtual) []plane {
	widths := map[int][]int{2: {2}, 3: {2, 1}, 4: {4}, 5: {4, 1}, 6: {4, 2}, 7: {4, 2, 1}, 8: {8}}[packing]
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

// integerTile generates the product of a panel of 16 rows of codes, which are
// interleaved by pairs of columns, and the given number of positions.
func integerTile(positions int) {
	TEXT(fmt.Sprintf("integerTile%dAVX2", positions), NOSPLIT, "func(y *float32, ldy int, panel *int16, x *int16, ldx int, columns *int32, segments int, d, scale *float32, lds int, min, minScale *float32)")
	Pragma("noescape")
	load := func(name string) GPVirtual { return Load(Param(name), GP64()).(GPVirtual) }
	panel, x, ldx, k := load("panel"), load("x"), load("ldx"), GP64()
	SHLQ(Imm(1), ldx)
	far := GP64() // three rows of x
	LEAQ(Mem{Base: ldx, Index: ldx, Scale: 2}, far)
	pair := func(t int) Mem {
		return [...]Mem{{Base: x}, {Base: x, Index: ldx, Scale: 1}, {Base: x, Index: ldx, Scale: 2}, {Base: x, Index: far, Scale: 1}}[t]
	}
	clearRows(positions)
	XORQ(k, k)
	Label("segment")
	acc := make([][2]VecVirtual, positions)
	for t := range acc {
		for h := range 2 {
			acc[t][h] = YMM()
			VPXOR(acc[t][h], acc[t][h], acc[t][h])
		}
	}
	left := GP32()
	at := load("columns")
	MOVL(Mem{Base: at, Index: k, Scale: 4}, left)
	SHRL(Imm(1), left)
	Label("pair")
	w := [2]VecVirtual{YMM(), YMM()}
	for h := range 2 {
		VMOVDQU(Mem{Base: panel, Disp: 32 * h}, w[h])
	}
	for t := range acc {
		a := YMM()
		VPBROADCASTD(pair(t), a)
		for h := range 2 {
			product := YMM()
			VPMADDWD(w[h], a, product)
			VPADDD(product, acc[t][h], acc[t][h])
		}
	}
	ADDQ(Imm(64), panel)
	ADDQ(Imm(4), x)
	DECL(left)
	JNZ(LabelRef("pair"))

	row := GP64() // of d and min
	MOVQ(k, row)
	SHLQ(Imm(6), row)
	addSegment(acc, "d", "scale", row, k)
	min := load("min")
	TESTQ(min, min)
	JZ(LabelRef("next"))
	addSegment(make([][2]VecVirtual, positions), "min", "minScale", row, k)
	Label("next")
	INCQ(k)
	CMPQ(k, param("segments"))
	JLT(LabelRef("segment"))
	end()
}

// clearRows sets the 16 outputs of each position to 0.
func clearRows(positions int) {
	y, ldy := Load(Param("y"), GP64()), Load(Param("ldy"), GP64())
	zero := avx2.zero()
	for range positions {
		VMOVUPS(zero, Mem{Base: y})
		VMOVUPS(zero, Mem{Base: y, Disp: 32})
		LEAQ(Mem{Base: y, Index: ldy, Scale: 4}, y)
	}
}

// addSegment fuses the term of one segment into the outputs of each position: the
// factor of the position times that of each row times, unless it is nil, the sum of
// products in p. row is the offset of the rows' factors in bytes, and k the segment.
func addSegment(p [][2]VecVirtual, rows, positions string, row, k GPVirtual) {
	y, ldy, at := Load(Param("y"), GP64()), Load(Param("ldy"), GP64()), Load(Param(rows), GP64())
	ADDQ(row, at)
	factor, lds := Load(Param(positions), GP64()), Load(Param("lds"), GP64())
	for t := range p {
		s := YMM()
		VBROADCASTSS(Mem{Base: factor, Index: k, Scale: 4}, s)
		for h := range 2 {
			v, out := YMM(), YMM()
			if p[t][h] == nil {
				VMOVUPS(Mem{Base: at, Disp: 32 * h}, v)
			} else {
				v = p[t][h].(VecVirtual)
				VCVTDQ2PS(v, v)
				VMULPS(Mem{Base: at, Disp: 32 * h}, v, v)
			}
			VMOVUPS(Mem{Base: y, Disp: 32 * h}, out)
			VFMADD231PS(v, s, out)
			VMOVUPS(out, Mem{Base: y, Disp: 32 * h})
		}
		LEAQ(Mem{Base: y, Index: ldy, Scale: 4}, y)
		LEAQ(Mem{Base: factor, Index: lds, Scale: 4}, factor)
	}
}

// interleave generates the widening of eight rows of n bytes, a multiple of 16, to
// the rows of a panel: zero is subtracted, and the pairs of columns of the rows are
// interleaved.
func interleave() {
	TEXT("interleaveAVX2", NOSPLIT, "func(panel *int16, codes *byte, stride, n int, zero int32)")
	Pragma("noescape")
	panel, n := Load(Param("panel"), GP64()), Load(Param("n"), GP64())
	stride, triple := strides()
	p := newPlane("codes", 8, stride)
	zero := YMM()
	VMOVD(Load(Param("zero"), GP32()), zero.AsX())
	VPBROADCASTW(zero.AsX(), zero)
	JMP(LabelRef("check"))
	Label("columns")
	x := make([]VecVirtual, lanes)
	for r := range x {
		x[r] = XMM()
		VMOVDQU(p.row(r, stride, triple), x[r])
	}
	for i, pairs := range transpose(x) { // the pairs of columns 2i and 2i+1 of all rows
		wide := YMM()
		VPMOVZXBW(pairs, wide)
		VPSUBW(zero, wide, wide)
		VMOVDQU(wide, Mem{Base: panel, Disp: 64 * i})
	}
	ADDQ(U32(16*64/2), panel)
	ADDQ(Imm(16), p.low)
	ADDQ(Imm(16), p.high)
	SUBQ(Imm(16), n)
	Label("check")
	TESTQ(n, n)
	JNZ(LabelRef("columns"))
	end()
}

// transpose returns the transpose of an (8, 8) matrix of 16-bit elements.
func transpose(x []VecVirtual) []VecVirtual {
	merge := func(op func(...Op), a, b VecVirtual) VecVirtual {
		dst := XMM()
		op(b, a, dst)
		return dst
	}
	low := []func(...Op){VPUNPCKLWD, VPUNPCKLDQ, VPUNPCKLQDQ}
	high := []func(...Op){VPUNPCKHWD, VPUNPCKHDQ, VPUNPCKHQDQ}
	// Each step halves the number of rows that a register still has to be merged with.
	var halve func(x []VecVirtual, depth int) []VecVirtual
	halve = func(x []VecVirtual, depth int) []VecVirtual {
		if len(x) == 1 {
			return x
		}
		var a, b []VecVirtual
		for i := 0; i < len(x); i += 2 {
			a = append(a, merge(low[depth], x[i], x[i+1]))
			b = append(b, merge(high[depth], x[i], x[i+1]))
		}
		return append(halve(a, depth+1), halve(b, depth+1)...)
	}
	return halve(x, 0)
}

// roundCodes generates the rounding of activations to integers of the given bits:
// it multiplies x, a multiple of 32 elements, by inverse, rounds to nearest, ties to
// even, and returns the sum. In 8 bits, split divides each 32 columns into even and
// odd ones.
func roundCodes(bits int) {
	signature := fmt.Sprintf("func(dst []int%d, x []float32, inverse float32, split bool) int32", bits)
	TEXT(fmt.Sprintf("round%dAVX2", bits), NOSPLIT, signature)
	Pragma("noescape")
	dst, x, n := base("dst"), base("x"), Load(Param("x").Len(), GP64())
	inverse, sum, split := avx2.splat(param("inverse")), avx2.zero(), GP8()
	Load(Param("split"), split)
	JMP(LabelRef("check"))
	Label("block")
	var codes []VecVirtual
	for i := range 4 {
		v := YMM()
		VMULPS(Mem{Base: x, Disp: 32 * i}, inverse, v)
		VCVTPS2DQ(v, v)
		VPADDD(v, sum, sum)
		codes = append(codes, v)
	}
	for i := range 2 {
		VPACKSSDW(codes[2*i+1], codes[2*i], codes[i])
	}
	if bits == 16 {
		for i := range 2 {
			VPERMQ(Imm(0b11011000), codes[i], codes[i])
			VMOVDQU(codes[i], Mem{Base: dst, Disp: 32 * i})
		}
	} else {
		VPACKSSWB(codes[1], codes[0], codes[0])
		VPERMD(codes[0], gather(), codes[0])
		TESTB(split, split)
		JZ(LabelRef("store"))
		VPSHUFB(table("evenodd", func(i int) byte { return byte(i%8*2 + i/8%2) }), codes[0], codes[0])
		VPERMQ(Imm(0b11011000), codes[0], codes[0])
		Label("store")
		VMOVDQU(codes[0], Mem{Base: dst})
	}
	ADDQ(Imm(128), x)
	ADDQ(Imm(uint64(bits*4)), dst)
	SUBQ(Imm(32), n)
	Label("check")
	TESTQ(n, n)
	JNZ(LabelRef("block"))
	total := XMM()
	VEXTRACTI128(Imm(1), sum, total)
	VPADDD(sum.(Vec).AsX(), total, total)
	VPHADDD(total, total, total)
	VPHADDD(total, total, total)
	result := GP32()
	VMOVD(total, result)
	Store(result, ReturnIndex(0))
	end()
}

// gather returns the order in which two packings leave groups of four bytes.
func gather() VecVirtual {
	v := YMM()
	VMOVDQU(table("gather", func(i int) byte {
		if i%4 > 0 {
			return 0
		}
		return [...]byte{0, 4, 1, 5, 2, 6, 3, 7}[i/4]
	}), v)
	return v
}

// maxAbs generates the largest magnitude of x, a multiple of 16 elements. As integers,
// the bits of a NaN are larger than those of any number.
func maxAbs() {
	avx2.function("maxAbs", "func(x []float32) [16]float32")
	x := base("x")
	acc := avx2.sums()
	avx2.each("x", func(c column) {
		v := avx2.load(c.of(x, 4))
		VANDPS(constant("magnitude", 0x7fffffff), v, v)
		VPMAXSD(v, acc[c.part], acc[c.part])
	})
	avx2.result(acc)
	end()
}

// transposeF16 generates the widening and transposition of eight rows of n float16
// numbers, a multiple of 8. The rows of dst begin ldd elements apart.
func transposeF16() {
	TEXT("transposeF16AVX2", NOSPLIT, "func(dst *float32, ldd int, src *byte, stride, n int)")
	Pragma("noescape")
	dst, ldd, n := Load(Param("dst"), GP64()), Load(Param("ldd"), GP64()), Load(Param("n"), GP64())
	SHLQ(Imm(2), ldd)
	stride, triple := strides()
	p := newPlane("src", 16, stride)
	JMP(LabelRef("check"))
	Label("columns")
	x := make([]VecVirtual, lanes)
	for r := range x {
		x[r] = YMM()
		VCVTPH2PS(p.row(r, stride, triple), x[r])
	}
	merge := func(op func(...Op), a, b VecVirtual) VecVirtual {
		v := YMM()
		op(b, a, v)
		return v
	}
	var four [2][]VecVirtual // rows 0 to 3 and 4 to 7 of columns i and i+4
	for h := range four {
		r := x[4*h:]
		for _, op := range []func(...Op){VUNPCKLPS, VUNPCKHPS} {
			a, b := merge(op, r[0], r[1]), merge(op, r[2], r[3])
			four[h] = append(four[h], merge(VUNPCKLPD, a, b), merge(VUNPCKHPD, a, b))
		}
	}
	for i := range lanes {
		v := YMM()
		VPERM2F128(Imm(uint64(0x20+i/4*0x11)), four[1][i%4], four[0][i%4], v)
		VMOVUPS(v, Mem{Base: dst})
		ADDQ(ldd, dst)
	}
	ADDQ(Imm(16), p.low)
	ADDQ(Imm(16), p.high)
	SUBQ(Imm(8), n)
	Label("check")
	TESTQ(n, n)
	JNZ(LabelRef("columns"))
	end()
}
