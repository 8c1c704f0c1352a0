package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// gridErrors keeps one candidate per lane and processes one element at a time.
func (s isa) gridErrors() {
	s.function("gridErrors", "func(x, power, scale, inverse []float32, bottom, top float32) [16]float32")
	x, power, scales, inverses := base("x"), base("power"), base("scale"), base("inverse")
	bottom, top := s.splat(param("bottom")), s.splat(param("top"))
	toInt := s.splat(float("toInt", 3<<22))
	var scale, inverse []VecVirtual
	for part := range s.parts() {
		scale = append(scale, s.load(Mem{Base: scales, Disp: part * s.lanes * 4}))
		inverse = append(inverse, s.load(Mem{Base: inverses, Disp: part * s.lanes * 4}))
	}
	acc := s.sums()
	n, i := Load(Param("x").Len(), GP64()), GP64()
	XORQ(i, i)
	JMP(LabelRef("check"))
	Label("element")
	v, p := s.splat(Mem{Base: x, Index: i, Scale: 4}), s.splat(Mem{Base: power, Index: i, Scale: 4})
	for part := range acc {
		q := s.vector()
		VMULPS(inverse[part], v, q)
		VMAXPS(bottom, q, q)
		VMINPS(top, q, q)
		VADDPS(toInt, q, q)
		VSUBPS(toInt, q, q)
		VMULPS(scale[part], q, q)
		VSUBPS(q, v, q)
		VMULPS(q, q, q)
		VMULPS(p, q, q)
		VADDPS(q, acc[part], acc[part])
	}
	INCQ(i)
	Label("check")
	CMPQ(i, n)
	JLT(LabelRef("element"))
	s.result(acc)
	end()
}
