package main

import (
	"math"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// constants are tables by name, and values what those of repeated hold.
var (
	constants = map[string]Mem{}
	values    = map[string]Constant{}
)

// repeated returns the address of n copies of v.
func repeated(name string, n int, v Constant) Mem {
	m, ok := constants[name]
	if ok && values[name] != v {
		panic(name + " has two values")
	}
	if !ok {
		values[name] = v
		m = GLOBL(name, RODATA|NOPTR)
		for i := range n {
			DATA(v.Bytes()*i, v)
		}
		constants[name] = m
	}
	return m
}

// constant returns the address of 16 copies of v.
func constant(name string, v uint32) Mem { return repeated(name, 16, U32(v)) }

func float(name string, v float32) Mem { return constant(name, math.Float32bits(v)) }

// An exp holds the constants that apply keeps in registers. In Intel's order, the
// first source operand of VMINPS and VMAXPS must be the constant: if either
// operand is NaN, the instruction returns the second.
type exp struct {
	isa
	high, low, one VecVirtual
}

func (s isa) newExp() exp {
	return exp{s, s.splat(float("expHigh", 89)), s.splat(float("expLow", -104)), s.splat(float("one", 1))}
}

// apply replaces each x by its exponential, with the same steps as Exp in
// scalar.go. Each step depends on the one before, so apply interleaves the
// vectors to hide the latency.
func (e exp) apply(xs []VecVirtual) {
	var ts, ns, ps []VecVirtual
	for range xs {
		ts, ns, ps = append(ts, e.vector()), append(ns, e.vector()), append(ps, e.vector())
	}
	each := func(step func(x, t, n, p VecVirtual)) {
		for i := range xs {
			step(xs[i], ts[i], ns[i], ps[i])
		}
	}
	toInt := float("toInt", 3<<22)
	each(func(x, t, n, p VecVirtual) { VMINPS(x, e.high, x) })
	each(func(x, t, n, p VecVirtual) { VMAXPS(x, e.low, x) })
	each(func(x, t, n, p VecVirtual) { VMOVUPS(toInt, t) })
	each(func(x, t, n, p VecVirtual) { VFMADD231PS(float("log2E", 1.4426950408889634), x, t) })
	each(func(x, t, n, p VecVirtual) { VSUBPS(toInt, t, n) })
	each(func(x, t, n, p VecVirtual) { VFNMADD231PS(float("ln2Hi", 355.0/512), n, x) })
	each(func(x, t, n, p VecVirtual) { VFNMADD231PS(float("ln2Lo", -0.00021219444005469057), n, x) })

	each(func(x, t, n, p VecVirtual) { VMOVUPS(float("exp4", 0x1.6d119ap-10), p) })
	each(func(x, t, n, p VecVirtual) { VFMADD213PS(float("exp3", 0x1.120cp-7), x, p) })
	each(func(x, t, n, p VecVirtual) { VFMADD213PS(float("exp2", 0x1.555518p-5), x, p) })
	each(func(x, t, n, p VecVirtual) { VFMADD213PS(float("exp1", 0x1.5554dcp-3), x, p) })
	each(func(x, t, n, p VecVirtual) { VFMADD213PS(float("exp0", 0x1p-1), x, p) })
	each(func(x, t, n, p VecVirtual) { VMULPS(x, x, n) })
	each(func(x, t, n, p VecVirtual) { VFMADD213PS(x, n, p) })
	each(func(x, t, n, p VecVirtual) { VADDPS(e.one, p, p) })

	// From here t holds k of Exp, and n holds h.
	bias := constant("bias", 127)
	each(func(x, t, n, p VecVirtual) { VPSUBD(toInt, t, t) })
	each(func(x, t, n, p VecVirtual) { VPSRAD(Imm(1), t, n) })
	each(func(x, t, n, p VecVirtual) { VPSUBD(n, t, t) })
	each(func(x, t, n, p VecVirtual) { VPADDD(bias, n, n) })
	each(func(x, t, n, p VecVirtual) { VPADDD(bias, t, t) })
	each(func(x, t, n, p VecVirtual) { VPSLLD(Imm(23), n, n) })
	each(func(x, t, n, p VecVirtual) { VPSLLD(Imm(23), t, t) })
	each(func(x, t, n, p VecVirtual) { VMULPS(n, p, p) })
	each(func(x, t, n, p VecVirtual) { VMULPS(t, p, x) })
}
