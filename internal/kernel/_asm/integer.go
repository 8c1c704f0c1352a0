package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// strides returns the stride of rows in bytes, and three times that.
func strides() (stride, triple GPVirtual) {
	stride, triple = Load(Param("stride"), GP64()).(GPVirtual), GP64()
	LEAQ(Mem{Base: stride, Index: stride, Scale: 2}, triple)
	return stride, triple
}

// rowsAt returns the operand of row r of eight rows, given the addresses of rows 0 and 4.
func rowsAt(low, high, stride, triple GPVirtual, r int) Mem {
	m := Mem{Base: low}
	if r >= 4 {
		m.Base = high
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

// eightRows returns a function that returns the operand of row r of eight rows, and one that
// advances all rows by some bytes.
func eightRows(name string) (row func(r int) Mem, advance func(bytes int)) {
	stride, triple := strides()
	low, high := Load(Param(name), GP64()).(GPVirtual), GP64()
	LEAQ(Mem{Base: low, Index: stride, Scale: 4}, high)
	row = func(r int) Mem { return rowsAt(low, high, stride, triple, r) }
	advance = func(bytes int) {
		ADDQ(Imm(uint64(bytes)), low)
		ADDQ(Imm(uint64(bytes)), high)
	}
	return row, advance
}

// table returns the address of 64 bytes: f(0) to f(31), twice.
func table(name string, f func(i int) byte) Mem {
	m, ok := constants[name]
	if !ok {
		m = GLOBL(name, RODATA|NOPTR)
		for i := range 64 {
			DATA(i, U8(f(i%32)))
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
	row, advance := eightRows("codes")
	zero := YMM()
	VMOVD(Load(Param("zero"), GP32()), zero.AsX())
	VPBROADCASTW(zero.AsX(), zero)
	JMP(LabelRef("check"))
	Label("columns")
	x := make([]VecVirtual, lanes)
	for r := range x {
		x[r] = XMM()
		VMOVDQU(row(r), x[r])
	}
	for i, pairs := range transpose(x) { // the pairs of columns 2i and 2i+1 of all rows
		wide := YMM()
		VPMOVZXBW(pairs, wide)
		VPSUBW(zero, wide, wide)
		VMOVDQU(wide, Mem{Base: panel, Disp: 64 * i})
	}
	ADDQ(U32(16*64/2), panel)
	advance(16)
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
	codes := roundBlock(x, []VecVirtual{inverse}, []VecVirtual{sum})
	if bits == 16 {
		for i := range 2 {
			VPERMQ(Imm(0b11011000), codes[i], codes[i])
			VMOVDQU(codes[i], Mem{Base: dst, Disp: 32 * i})
		}
	} else {
		storeBytes("store", codes, gather(), dst, split)
	}
	ADDQ(Imm(128), x)
	ADDQ(Imm(uint64(bits*4)), dst)
	SUBQ(Imm(32), n)
	Label("check")
	TESTQ(n, n)
	JNZ(LabelRef("block"))
	result := GP32()
	VMOVD(totalOf(VPADDD, sum), result)
	Store(result, ReturnIndex(0))
	end()
}

// roundBlock multiplies the 32 numbers at x by an inverse, rounds them, adds them to a sum, and
// packs each half in one of two registers of 16-bit numbers. There is one inverse and one sum,
// or one for each half.
func roundBlock(x Register, inverse, sum []VecVirtual) []VecVirtual {
	var codes []VecVirtual
	for i := range 4 {
		v, part := YMM(), i*len(sum)/4
		VMULPS(Mem{Base: x, Disp: 32 * i}, inverse[part], v)
		VCVTPS2DQ(v, v)
		VPADDD(v, sum[part], sum[part])
		codes = append(codes, v)
	}
	for i := range 2 {
		VPACKSSDW(codes[2*i+1], codes[2*i], codes[i])
	}
	return codes[:2]
}

// storeBytes stores the result of roundBlock as bytes, if split is not 0 divided into even
// and odd columns.
func storeBytes(label string, codes []VecVirtual, order VecVirtual, dst, split Register) {
	v := codes[0]
	VPACKSSWB(codes[1], v, v)
	VPERMD(v, order, v)
	TESTB(split, split)
	JZ(LabelRef(label))
	VPSHUFB(table("evenodd", func(i int) byte { return byte(i%8*2 + i/8%2) }), v, v)
	VPERMQ(Imm(0b11011000), v, v)
	Label(label)
	VMOVDQU(v, Mem{Base: dst})
}

// totalOf combines the eight lanes of v by op, which must not depend on their order.
func totalOf(op func(...Op), v VecVirtual) VecVirtual {
	total, t := XMM(), XMM()
	VEXTRACTI128(Imm(1), v, total)
	op(v.AsX(), total, total)
	for _, order := range []uint64{0b01001110, 0b10110001} {
		VPSHUFD(Imm(order), total, t)
		op(t, total, total)
	}
	return total
}

// roundGroups generates RoundGroups for one position. Its blocks are stride bytes apart at
// dst, and its factors step elements apart.
func roundGroups() {
	TEXT("roundGroupsAVX2", NOSPLIT, "func(dst *int8, stride int, x *float32, columns *int32, segments int, split bool, sums *int32, scales, mins *float32, step int)")
	Pragma("noescape")
	load := func(name string) GPVirtual { return Load(Param(name), GP64()).(GPVirtual) }
	dst, x, columns, segments := load("dst"), load("x"), load("columns"), load("segments")
	split, at, order := GP8(), GP64(), gather()
	Load(Param("split"), split)
	XORQ(at, at)
	Label("segment")
	left, p := GP32(), GP64()
	MOVL(Mem{Base: columns}, left)
	CMPL(left, Imm(blockCodes))
	JL(LabelRef("halves"))
	most := avx2.zero()
	MOVQ(x, p)
	Label("largest")
	addLargest(most, p, 0, 4)
	ADDQ(U32(128), p)
	SUBL(Imm(blockCodes), left)
	JNZ(LabelRef("largest"))
	f := groupFactors("group", most)
	sum := avx2.zero()
	MOVL(Mem{Base: columns}, left)
	Label("block")
	storeBytes("store", roundBlock(x, []VecVirtual{f.inverse}, []VecVirtual{sum}), order, dst, split)
	ADDQ(U32(128), x)
	ADDQ(param("stride"), dst)
	SUBL(Imm(blockCodes), left)
	JNZ(LabelRef("block"))
	f.store(sum, at)
	ADDQ(Imm(4), columns)
	DECQ(segments)
	JNZ(LabelRef("segment"))
	end()

	Label("halves")
	var factors []groupFactor
	var inverses, sums []VecVirtual
	for i, name := range []string{"first", "last"} {
		most := avx2.zero()
		addLargest(most, x, 2*i, 2)
		f := groupFactors(name, most)
		factors, inverses, sums = append(factors, f), append(inverses, f.inverse), append(sums, avx2.zero())
	}
	storeBytes("storeHalves", roundBlock(x, inverses, sums), order, dst, split)
	ADDQ(U32(128), x)
	ADDQ(param("stride"), dst)
	for i, f := range factors {
		f.store(sums[i], at)
	}
	SUBQ(Imm(2), segments)
	JNZ(LabelRef("halves"))
	end()
}

// addLargest raises the lanes of most to the magnitudes in n registers at p, from register
// first on.
func addLargest(most VecVirtual, p Register, first, n int) {
	for i := range n {
		v := YMM()
		VMOVUPS(Mem{Base: p, Disp: 32 * (first + i)}, v)
		VANDPS(constant("magnitude", 0x7fffffff), v, v)
		VPMAXSD(v, most, most)
	}
}

// A groupFactor is the scale of a group of activations, and its inverse in every lane.
type groupFactor struct{ scale, inverse VecVirtual }

// groupFactors computes what GroupScale returns, given the largest magnitudes.
func groupFactors(label string, most VecVirtual) groupFactor {
	const finite = 0x7f7fffff // bits of the largest finite number
	largest, scale, inverse, levels, bits := totalOf(VPMAXSD, most), XMM(), XMM(), XMM(), GP32()
	VMOVSS(float("levels", 127), levels)
	VDIVSS(largest, levels, inverse)
	VDIVSS(levels, largest, scale)
	VMOVD(largest, bits)
	CMPL(bits, U32(finite))
	JGT(LabelRef(label + "Infinite"))
	VMOVD(inverse, bits)
	CMPL(bits, U32(finite))
	JLE(LabelRef(label + "Round"))
	VPXOR(scale, scale, scale)
	VPXOR(inverse, inverse, inverse)
	JMP(LabelRef(label + "Round"))
	Label(label + "Infinite")
	VMOVSS(constant("nan", 0x7fc00000), scale)
	VPXOR(inverse, inverse, inverse)
	Label(label + "Round")
	factor := YMM()
	VBROADCASTSS(inverse, factor)
	return groupFactor{scale, factor}
}

// store stores the factors of a segment, whose codes add up to the lanes of sum, at element at,
// and advances to the next one.
func (f groupFactor) store(sum VecVirtual, at GPVirtual) {
	total, minimum := totalOf(VPADDD, sum), XMM()
	VCVTDQ2PS(total, minimum)
	VMULSS(f.scale, minimum, minimum)
	for _, to := range []struct {
		name  string
		value VecVirtual
	}{{"sums", total}, {"scales", f.scale}, {"mins", minimum}} {
		VMOVSS(to.value, Mem{Base: Load(Param(to.name), GP64()), Index: at, Scale: 4})
	}
	ADDQ(param("step"), at)
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
	row, advance := eightRows("src")
	JMP(LabelRef("check"))
	Label("columns")
	x := make([]VecVirtual, lanes)
	for r := range x {
		x[r] = YMM()
		VCVTPH2PS(row(r), x[r])
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
	advance(16)
	SUBQ(Imm(8), n)
	Label("check")
	TESTQ(n, n)
	JNZ(LabelRef("columns"))
	end()
}
