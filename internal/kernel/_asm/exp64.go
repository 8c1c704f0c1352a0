package main

import (
	"math"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// constant64 returns the address of 4 copies of v.
func constant64(name string, v uint64) Mem { return repeated(name, 4, U64(v)) }

func double(name string, v float64) Mem { return constant64(name, math.Float64bits(v)) }

// exps64 takes the steps of expSum64 in float64.go, without its lo, for two registers at
// a time. The bounds replace its cases: beyond them its result is 0 or infinite, too.
func exps64() {
	TEXT("exps64AVX2", NOSPLIT, "func(dst []float64, x []float32, bias float64)")
	Pragma("noescape")
	dst, src := base("dst"), base("x")
	bias, high, low := YMM(), YMM(), YMM()
	VBROADCASTSD(param("bias"), bias)
	VMOVUPD(double("exp64High", 711), high)
	VMOVUPD(double("exp64Low", -746), low)
	avx2.blocks("x", func(columns []column) {
		i := columns[0].index
		for half := range 2 {
			exps64Pair(Mem{Base: dst, Index: i, Scale: 8, Disp: 64 * half}, Mem{Base: src, Index: i, Scale: 4, Disp: 32 * half}, bias, high, low)
		}
	})
	end()
}

func exps64Pair(dst, src Mem, bias, high, low VecVirtual) {
	type lane struct{ x, n, t, p VecVirtual }
	lanes := [2]lane{{YMM(), YMM(), YMM(), YMM()}, {YMM(), YMM(), YMM(), YMM()}}
	each := func(step func(i int, l lane)) {
		for i, l := range lanes {
			step(i, l)
		}
	}
	each(func(i int, l lane) { VCVTPS2PD(src.Offset(16*i), l.x) })
	each(func(_ int, l lane) { VSUBPD(bias, l.x, l.x) })
	each(func(_ int, l lane) { VMINPD(l.x, high, l.x) }) // keeps NaN, as in exp.apply
	each(func(_ int, l lane) { VMAXPD(l.x, low, l.x) })
	each(func(_ int, l lane) { VMULPD(double("log2E64", 1.4426950408889634), l.x, l.n) })
	each(func(_ int, l lane) { VADDPD(double("half64", 0.5), l.n, l.n) })
	each(func(_ int, l lane) { VROUNDPD(Imm(1), l.n, l.n) }) // floor
	each(func(_ int, l lane) { VMULPD(double("ln2Hi64", 0x1.62e42fefap-1), l.n, l.t) })
	each(func(_ int, l lane) { VSUBPD(l.t, l.x, l.x) }) // a
	each(func(_ int, l lane) { VMULPD(double("ln2Lo64", 0x1.cf79abc9e3b3ap-40), l.n, l.t) })
	each(func(_ int, l lane) { VSUBPD(l.t, l.x, l.p) })
	// From here p holds r, and x holds e.
	each(func(_ int, l lane) { VSUBPD(l.p, l.x, l.x) })
	each(func(_ int, l lane) { VSUBPD(l.t, l.x, l.x) })
	each(func(_ int, l lane) { VMOVUPD(double("exp64Term13", 1.0/6227020800), l.t) })
	for i, term := range []float64{479001600, 39916800, 3628800, 362880, 40320, 5040, 720, 120, 24, 6, 2} {
		each(func(_ int, l lane) { VMULPD(l.p, l.t, l.t) })
		each(func(_ int, l lane) { VADDPD(double("exp64Term"+string(rune('a'+i)), 1/term), l.t, l.t) })
	}
	each(func(_ int, l lane) { VMULPD(l.p, l.t, l.t) }) // p of expSum64
	each(func(_ int, l lane) { VMULPD(l.p, l.t, l.t) })
	y := [2]VecVirtual{YMM(), YMM()}
	each(func(i int, l lane) { VMULPD(l.p, l.x, y[i]) })
	each(func(i int, l lane) { VADDPD(y[i], l.x, l.x) })
	each(func(_ int, l lane) { VADDPD(l.x, l.t, l.t) })
	each(func(_ int, l lane) { VADDPD(l.t, l.p, l.p) })
	each(func(_ int, l lane) { VADDPD(double("one64", 1), l.p, l.p) })

	// The two halves of 2**k.
	each(func(_ int, l lane) { VCVTPD2DQY(l.n, l.t.AsX()) })
	each(func(_ int, l lane) { VPSRAD(Imm(1), l.t.AsX(), l.n.AsX()) })
	each(func(_ int, l lane) { VPSUBD(l.n.AsX(), l.t.AsX(), l.t.AsX()) })
	for _, part := range []func(l lane) VecVirtual{func(l lane) VecVirtual { return l.n }, func(l lane) VecVirtual { return l.t }} {
		each(func(_ int, l lane) { VPMOVSXDQ(part(l).AsX(), part(l)) })
		each(func(_ int, l lane) { VPADDQ(constant64("bias64", 1023), part(l), part(l)) })
		each(func(_ int, l lane) { VPSLLQ(Imm(52), part(l), part(l)) })
		each(func(_ int, l lane) { VMULPD(part(l), l.p, l.p) })
	}
	each(func(i int, l lane) { VMOVUPD(l.p, dst.Offset(32*i)) })
}
