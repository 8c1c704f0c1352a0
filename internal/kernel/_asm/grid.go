package main

import (
	"fmt"
	"math"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

const candidates = 24

// gridErrors keeps one candidate of count per lane and processes one element at a time.
func (s isa) gridErrors(count int) {
	s.function(fmt.Sprint("gridErrors", count), "func(errors *float32, x, power []float32, scale, inverse *float32, bottom, top float32)")
	x, power := base("x"), base("power")
	bottom, top := s.splat(param("bottom")), s.splat(param("top"))
	toInt := s.splat(float("toInt", 3<<22))
	scale, inverse := s.candidatesAt("scale", count), s.candidatesAt("inverse", count)
	var acc []VecVirtual
	for _, v := range scale {
		acc = append(acc, sameWidth(v, s.zero()))
	}
	n, i := Load(Param("x").Len(), GP64()), GP64()
	XORQ(i, i)
	JMP(LabelRef("check"))
	Label("element")
	v, p := s.splat(Mem{Base: x, Index: i, Scale: 4}), s.splat(Mem{Base: power, Index: i, Scale: 4})
	for part, sum := range acc {
		q := sameWidth(sum, s.vector())
		VMULPS(inverse[part], sameWidth(sum, v), q)
		VMAXPS(sameWidth(sum, bottom), q, q)
		VMINPS(sameWidth(sum, top), q, q)
		VADDPS(sameWidth(sum, toInt), q, q)
		VSUBPS(sameWidth(sum, toInt), q, q)
		VMULPS(scale[part], q, q)
		VSUBPS(q, sameWidth(sum, v), q)
		VMULPS(q, q, q)
		VMULPS(sameWidth(sum, p), q, q)
		VADDPS(q, sum, sum)
	}
	INCQ(i)
	Label("check")
	CMPQ(i, n)
	JLT(LabelRef("element"))
	errors := Load(Param("errors"), GP64())
	for part, v := range acc {
		VMOVUPS(v, Mem{Base: errors, Disp: 4 * part * s.lanes})
	}
	end()
}

// candidatesAt loads count candidates at the named pointer. The last register is half as wide
// where that is enough.
func (s isa) candidatesAt(name string, count int) []VecVirtual {
	at := Load(Param(name), GP64())
	var v []VecVirtual
	for i := 0; i < count; i += s.lanes {
		part := s
		if count-i < s.lanes {
			part = avx2
		}
		v = append(v, part.load(Mem{Base: at, Disp: 4 * i}))
	}
	return v
}

// sameWidth returns v, or its lower half if like is a narrower register.
func sameWidth(like, v VecVirtual) VecVirtual {
	if like.Size() < v.Size() {
		return v.AsY().(VecVirtual)
	}
	return v
}

// gridScales rounds quotients to float16 and back, and clears those that become zero or
// infinite.
func gridScales() {
	avx2.function("gridScales", "func(scale, inverse, divisor *[24]float32, most float32)")
	scale, inverse := Load(Param("scale"), GP64()), Load(Param("inverse"), GP64())
	most, one := avx2.splat(param("most")), avx2.splat(float("one", 1))
	for part, d := range avx2.candidatesAt("divisor", candidates) {
		s, magnitude, above, below := YMM(), YMM(), YMM(), YMM()
		VDIVPS(d, most, s)
		VCVTPS2PH(Imm(0), s, s.AsX()) // to nearest, ties to even
		VCVTPH2PS(s.AsX(), s)
		VANDPS(constant("magnitude", 0x7fffffff), s, magnitude)
		VPCMPGTD(avx2.zero(), magnitude, above)
		VMOVUPS(constant("infinity", math.Float32bits(float32(math.Inf(1)))), below)
		VPCMPGTD(magnitude, below, below)
		VANDPS(above, below, below)
		VDIVPS(s, one, magnitude)
		VANDPS(below, s, s)
		VANDPS(below, magnitude, magnitude)
		VMOVUPS(s, Mem{Base: scale, Disp: 4 * part * avx2.lanes})
		VMOVUPS(magnitude, Mem{Base: inverse, Disp: 4 * part * avx2.lanes})
	}
	end()
}

// bounds generates the smallest and the largest of x, which has a positive multiple of 16
// elements.
func bounds() {
	avx2.function("bounds", "func(x []float32) (lo, hi float32)")
	x := base("x")
	var acc [2]VecVirtual
	for i := range acc {
		acc[i] = avx2.load(Mem{Base: x})
	}
	ops := [2]func(...Op){VMINPS, VMAXPS}
	avx2.each("x", func(c column) {
		v := avx2.load(c.of(x, 4))
		for i, op := range ops {
			op(v, acc[i], acc[i])
		}
	})
	for i, op := range ops {
		half := XMM()
		low := acc[i].AsX()
		VEXTRACTF128(Imm(1), acc[i], half)
		op(half, low, low)
		VMOVHLPS(low, low, half)
		op(half, low, low)
		VMOVSHDUP(low, half)
		op(half, low, low)
		VMOVSS(low, address(ReturnIndex(i)))
	}
	end()
}

// gridCodes rounds a multiple of 32 elements to bytes.
func gridCodes() {
	avx2.function("gridCodes", "func(dst []uint8, x []float32, low, inverse, bottom, top float32, zero int32)")
	dst, x, n := base("dst"), base("x"), Load(Param("x").Len(), GP64())
	low, inverse := avx2.splat(param("low")), avx2.splat(param("inverse"))
	bottom, top, zero := avx2.splat(param("bottom")), avx2.splat(param("top")), YMM()
	VMOVD(Load(Param("zero"), GP32()), zero.AsX())
	VPBROADCASTD(zero.AsX(), zero)
	order := gather()
	JMP(LabelRef("check"))
	Label("block")
	var codes []VecVirtual
	for i := range 4 {
		v := avx2.load(Mem{Base: x, Disp: 32 * i})
		VSUBPS(low, v, v)
		VMULPS(inverse, v, v)
		VMAXPS(bottom, v, v)
		VMINPS(top, v, v)
		VCVTPS2DQ(v, v)
		VPADDD(zero, v, v)
		codes = append(codes, v)
	}
	for i := range 2 {
		VPACKSSDW(codes[2*i+1], codes[2*i], codes[i])
	}
	VPACKUSWB(codes[1], codes[0], codes[0])
	VPERMD(codes[0], order, codes[0])
	VMOVDQU(codes[0], Mem{Base: dst})
	ADDQ(Imm(128), x)
	ADDQ(Imm(32), dst)
	SUBQ(Imm(32), n)
	Label("check")
	TESTQ(n, n)
	JNZ(LabelRef("block"))
	end()
}
