package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// setFactors are the names of parameters: factors of 16 rows after another as a container
// stores them, the table of short scales, and (segments, 16) float32 numbers. These are read in
// place if nothing is stored. Without a table, float16 numbers are.
type setFactors struct{ from, table, to string }

// widen sets the numbers to the factors of the next 16 rows.
func (f setFactors) widen() {
	stored, table := Load(Param(f.from), GP64()), Load(Param(f.table), GP64())
	TESTQ(stored, stored)
	JZ(LabelRef(f.from + "Wide"))
	TESTQ(table, table)
	JNZ(LabelRef(f.from + "Short"))
	widenFactors(f.from, f.to)
	JMP(LabelRef(f.from + "Wide"))
	Label(f.from + "Short")
	widenShort(f)
	Label(f.from + "Wide")
}

// advance moves to the next 16 rows if factors are read in place.
func (f setFactors) advance() {
	CMPQ(param(f.from), Imm(0))
	JNE(LabelRef(f.from + "Next"))
	n := Load(Param("segments"), GP64())
	SHLQ(Imm(6), n)
	ADDQ(n, param(f.to))
	Label(f.from + "Next")
}

// widenFactors transposes the factors of 16 rows to float32, and advances to the next rows:
// eight segments at a time, and in the end the last eight, some of them again.
func widenFactors(from, to string) {
	name := func(label string) string { return from + label }
	src, dst, stride, left := Load(Param(from), GP64()), Load(Param(to), GP64()), Load(Param("segments"), GP64()), GP64()
	MOVQ(stride, left)
	SHLQ(Imm(1), stride)
	triple, lines, order := GP64(), GP64(), transposedOrder()
	LEAQ(Mem{Base: stride, Index: stride, Scale: 2}, triple)
	MOVQ(stride, lines)
	SHLQ(Imm(4), lines)
	ADDQ(src, lines)
	MOVQ(lines, param(from))
	Label(name("Eight"))
	for i := range 4 {
		PREFETCHT0(Mem{Base: lines, Disp: 64 * i})
	}
	ADDQ(U32(256), lines)
	row := sixteenRows(src.(GPVirtual), stride.(GPVirtual), triple)
	transposeEight(sixteenRegisters(row, 0), order, func(i int, v VecVirtual) { VMOVUPS(v, Mem{Base: dst, Disp: 4 * wideLanes * i}) })
	SUBQ(Imm(8), left)
	JZ(LabelRef(name("End")))
	ADDQ(Imm(16), src)
	ADDQ(U32(8*4*wideLanes), dst)
	CMPQ(left, Imm(8))
	JGE(LabelRef(name("Eight")))
	back := GP64() // segments
	MOVQ(left, back)
	SUBQ(Imm(8), back)
	LEAQ(Mem{Base: src, Index: back, Scale: 2}, src)
	SHLQ(Imm(6), back)
	ADDQ(back, dst)
	MOVQ(U32(8), left)
	JMP(LabelRef(name("Eight")))
	Label(name("End"))
}

// widenShort is widenFactors for short scales. It also writes numbers for up to seven segments
// more.
func widenShort(f setFactors) {
	src, dst, left := Load(Param(f.from), GP64()).(GPVirtual), Load(Param(f.to), GP64()), Load(Param("segments"), GP64()).(GPVirtual)
	stride, triple, lines, last := GP64(), GP64(), GP64(), GP64()
	LEAQ(Mem{Base: left, Disp: 1}, stride) // as ShortBytes
	SHRQ(Imm(1), stride)
	ADDQ(Imm(2+3), stride)
	ANDQ(I8(-4), stride)
	LEAQ(Mem{Base: stride, Index: stride, Scale: 2}, triple)
	LEAQ(Mem{Base: src, Index: stride, Scale: 1, Disp: -4}, last)
	MOVQ(stride, lines)
	SHLQ(Imm(4), lines)
	ADDQ(src, lines)
	MOVQ(lines, param(f.from))
	PREFETCHT0(Mem{Base: lines})
	ADDQ(Imm(64), lines)
	shortScales(f.from+"Codes", src, last, left, stride, triple, Load(Param(f.table), GP64()), func() {
		PREFETCHT0(Mem{Base: lines})
		ADDQ(Imm(64), lines)
	}, func(i int, v VecVirtual) { VMOVUPS(v, Mem{Base: dst, Disp: 4 * wideLanes * i}) }, func() {
		ADDQ(U32(8*4*wideLanes), dst)
	})
}

// shortScales computes the short scales of 16 rows, of eight groups at a time until none of
// left are. Codes of the rows begin at src, and their last four bytes at last. before is called
// before eight groups, store with each, and after after them.
func shortScales(label string, src, last, left, stride, triple GPVirtual, table Register, before func(), store func(i int, v VecVirtual), after func()) {
	factor, numbers := sixteenWords(sixteenRows(last, stride, triple)), ZMM()
	VPSRLD(Imm(16), factor, factor)
	VPMOVDW(factor, factor.AsY())
	VCVTPH2PS(factor.AsY(), factor)
	VMOVUPS(Mem{Base: table}, numbers)
	Label(label)
	before()
	codes := sixteenWords(sixteenRows(src, stride, triple))
	for i := range 8 {
		v := ZMM()
		VPERMPS(numbers, codes, v) // by the lowest four bits
		VMULPS(factor, v, v)
		store(i, v)
		if i < 7 {
			VPSRLD(Imm(4), codes, codes)
		}
	}
	after()
	ADDQ(Imm(4), src)
	SUBQ(Imm(8), left)
	JG(LabelRef(label))
}

// transposeShort generates TransposeShort for 16 rows of n groups, a positive multiple of 8.
// The last four bytes of the first row are at last.
func transposeShort() {
	TEXT("transposeShortAVX512", NOSPLIT, "func(dst *float32, ldd int, src, last *byte, stride, n int, table *float32)")
	Pragma("noescape")
	load := func(name string) GPVirtual { return Load(Param(name), GP64()).(GPVirtual) }
	dst, ldd, src, last, n, table := load("dst"), load("ldd"), load("src"), load("last"), load("n"), load("table")
	SHLQ(Imm(2), ldd)
	stride, triple := strides()
	nothing := func() {}
	shortScales("groups", src, last, n, stride, triple, table, nothing, func(_ int, v VecVirtual) {
		VMOVUPS(v, Mem{Base: dst})
		ADDQ(ldd, dst)
	}, nothing)
	end()
}
