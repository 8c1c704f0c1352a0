package main

import (
	"math"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

var constants = map[string]Mem{}

// constant returns a table of 16 copies of v.
func constant(name string, v uint32) Mem {
	m, ok := constants[name]
	if !ok {
		m = GLOBL(name, RODATA|NOPTR)
		for i := range 16 {
			DATA(4*i, U32(v))
		}
		constants[name] = m
	}
	return m
}

func float(name string, v float32) Mem { return constant(name, math.Float32bits(v)) }

// An exp holds what apply keeps in registers. The minimum and maximum must be
// first operands: if the second is NaN, the processor passes it on.
type exp struct {
	isa
	high, low, one VecVirtual
}

func (s isa) newExp() exp {
	return exp{s, s.splat(float("expHigh", 89)), s.splat(float("expLow", -104)), s.splat(float("one", 1))}
}

// apply replaces x by its exponential, step by step as Exp in scalar.go.
func (e exp) apply(x VecVirtual) {
	toInt := float("toInt", 3<<22)
	VMINPS(x, e.high, x)
	VMAXPS(x, e.low, x)

	t, n, u := e.vector(), e.vector(), e.vector()
	VMULPS(float("log2E", 1.4426950408889634), x, t)
	VADDPS(toInt, t, t)
	VSUBPS(toInt, t, n)
	VMULPS(float("ln2Hi", 355.0/512), n, u)
	VSUBPS(u, x, x)
	VMULPS(float("ln2Lo", -0.00021219444005469057), n, u)
	VSUBPS(u, x, x)

	p := e.vector()
	VMULPS(float("exp4", 0x1.6d119ap-10), x, p)
	VADDPS(float("exp3", 0x1.120cp-7), p, p)
	VMULPS(x, p, p)
	VADDPS(float("exp2", 0x1.555518p-5), p, p)
	VMULPS(x, p, p)
	VADDPS(float("exp1", 0x1.5554dcp-3), p, p)
	VMULPS(x, p, p)
	VADDPS(float("exp0", 0x1p-1), p, p)
	VMULPS(x, x, u)
	VMULPS(u, p, p)
	VADDPS(x, p, p)
	VADDPS(e.one, p, p)

	// t is k, n is h.
	bias := constant("bias", 127)
	VPSUBD(toInt, t, t)
	VPSRAD(Imm(1), t, n)
	VPSUBD(n, t, t)
	VPADDD(bias, n, n)
	VPADDD(bias, t, t)
	VPSLLD(Imm(23), n, n)
	VPSLLD(Imm(23), t, t)
	VMULPS(n, p, p)
	VMULPS(t, p, x)
}
