package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// gridDescents keeps one scale per lane. The columns' g, for each scale, are in memory.
func (s isa) gridDescents() {
	s.function("gridDescents", "func(change, codes, left *float32, value []float32, h *float32, stride int, scale, inverse *float32, bottom, top float32)")
	codes, g, value, h := Load(Param("codes"), GP64()), Load(Param("left"), GP64()), base("value"), Load(Param("h"), GP64())
	stride, n := Load(Param("stride"), GP64()), Load(Param("value").Len(), GP64())
	scale, inverse := Load(Param("scale"), GP64()), Load(Param("inverse"), GP64())
	SHLQ(Imm(2), stride)
	bottom, top, toInt := s.splat(param("bottom")), s.splat(param("top")), s.splat(float("toInt", 3<<22))
	var sums, steps []VecVirtual
	for range width / s.lanes {
		sums, steps = append(sums, s.zero()), append(steps, s.vector())
	}
	i, j, to := GP64(), GP64(), GP64()
	XORQ(i, i)
	Label("column")
	v, power := s.splat(Mem{Base: value, Index: i, Scale: 4}), s.splat(Mem{Base: h, Index: i, Scale: 4})
	for part, step := range steps {
		own, at := s.load(lanesAt(g, part, s)), s.vector()
		VDIVPS(power, own, at)
		VADDPS(v, at, at)
		VMULPS(lanesAt(inverse, part, s), at, at)
		VMAXPS(bottom, at, at)
		VMINPS(top, at, at)
		VADDPS(toInt, at, at)
		VSUBPS(toInt, at, at)
		VMOVUPS(at, lanesAt(codes, part, s))
		VMULPS(lanesAt(scale, part, s), at, step)
		VSUBPS(v, step, step)
		VMULPS(power, step, at)
		VADDPS(own, own, own)
		VSUBPS(own, at, at)
		VMULPS(step, at, at)
		VADDPS(at, sums[part], sums[part])
	}
	ADDQ(Imm(4*width), codes)
	ADDQ(Imm(4*width), g)
	MOVQ(g, to)
	LEAQ(Mem{Base: i, Disp: 1}, j)
	JMP(LabelRef("check"))
	Label("other")
	VBROADCASTSS(Mem{Base: h, Index: j, Scale: 4}, v)
	for part, step := range steps {
		moved := s.vector()
		VMULPS(v, step, moved)
		old := s.load(lanesAt(to, part, s))
		VSUBPS(moved, old, old)
		VMOVUPS(old, lanesAt(to, part, s))
	}
	ADDQ(Imm(4*width), to)
	INCQ(j)
	Label("check")
	CMPQ(j, n)
	JLT(LabelRef("other"))
	ADDQ(stride, h)
	INCQ(i)
	CMPQ(i, n)
	JLT(LabelRef("column"))
	change := Load(Param("change"), GP64())
	for part, v := range sums {
		VMOVUPS(v, lanesAt(change, part, s))
	}
	end()
}

// lanesAt is the memory of one of the registers that hold a block at base.
func lanesAt(base Register, part int, s isa) Mem {
	return Mem{Base: base, Disp: 4 * part * s.lanes}
}
