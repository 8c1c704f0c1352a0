package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// A rangeLoop is a loop over the elements of x with one range per lane.
type rangeLoop struct {
	low, inverse, zero, top, toInt VecVirtual
}

func xmm(m Mem) VecVirtual {
	v := XMM()
	VMOVUPS(m, v)
	return v
}

func broadcast(m Mem) VecVirtual {
	v := XMM()
	VBROADCASTSS(m, v)
	return v
}

// at loads the ranges at the named pointer.
func at(name string) VecVirtual { return xmm(Mem{Base: Load(Param(name), GP64())}) }

func newRangeLoop() *rangeLoop {
	r := &rangeLoop{low: at("low"), inverse: at("inverse"), zero: XMM(), top: broadcast(param("top")), toInt: broadcast(float("toInt", 3<<22))}
	VXORPS(r.zero, r.zero, r.zero)
	return r
}

func (r *rangeLoop) sum() VecVirtual {
	v := XMM()
	VXORPS(v, v, v)
	return v
}

// each emits the loop. v is an element, p its power, and q its code.
func (r *rangeLoop) each(body func(v, p, q VecVirtual)) {
	x, power := base("x"), base("power")
	n, i := Load(Param("x").Len(), GP64()), GP64()
	XORQ(i, i)
	JMP(LabelRef("check"))
	Label("element")
	v, p, q := broadcast(Mem{Base: x, Index: i, Scale: 4}), broadcast(Mem{Base: power, Index: i, Scale: 4}), XMM()
	VSUBPS(r.low, v, q)
	VMULPS(r.inverse, q, q)
	VMAXPS(r.zero, q, q)
	VMINPS(r.top, q, q)
	VADDPS(r.toInt, q, q)
	VSUBPS(r.toInt, q, q)
	body(v, p, q)
	INCQ(i)
	Label("check")
	CMPQ(i, n)
	JLT(LabelRef("element"))
}

func rangeErrors() {
	avx2.function("rangeErrors", "func(errors *[4]float32, x, power []float32, step, low, inverse *[4]float32, top float32)")
	r, step := newRangeLoop(), at("step")
	sum := r.sum()
	r.each(func(v, p, q VecVirtual) {
		VMULPS(step, q, q)
		VADDPS(r.low, q, q)
		VSUBPS(q, v, q)
		VMULPS(q, q, q)
		VMULPS(p, q, q)
		VADDPS(q, sum, sum)
	})
	VMOVUPS(sum, Mem{Base: Load(Param("errors"), GP64())})
	end()
}

// rangeSums adds up in the order of kernel.RangeSums.
func rangeSums() {
	avx2.function("rangeSums", "func(sums *[5][4]float32, x, power []float32, low, inverse *[4]float32, top float32)")
	r := newRangeLoop()
	sums := [5]VecVirtual{}
	for i := range sums {
		sums[i] = r.sum()
	}
	add := func(i int, a, b VecVirtual) {
		product := XMM()
		VMULPS(a, b, product)
		VADDPS(product, sums[i], sums[i])
	}
	r.each(func(v, p, q VecVirtual) {
		weighted := XMM()
		VADDPS(p, sums[0], sums[0])
		VMULPS(p, q, weighted)
		VADDPS(weighted, sums[1], sums[1])
		add(2, weighted, q)
		add(3, p, v)
		add(4, weighted, v)
	})
	to := Load(Param("sums"), GP64())
	for i, s := range sums {
		VMOVUPS(s, Mem{Base: to, Disp: 16 * i})
	}
	end()
}
