package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// compare adds the elements of a multiple of 16 to eight stripes of each sum, two registers.
func compare() {
	TEXT("compareAVX2", NOSPLIT, "func(p, q []float32, e []float64, s *[6][8]float64)")
	Pragma("noescape")
	p, q, e, s := base("p"), base("q"), base("e"), Load(Param("s"), GP64())
	var sums [6][2]VecVirtual
	stripe := func(sum, half int) Mem { return Mem{Base: s, Disp: 64*sum + 32*half} }
	for i := range sums {
		for half := range sums[i] {
			sums[i][half] = YMM()
			VMOVUPD(stripe(i, half), sums[i][half])
		}
	}
	avx2.blocks("p", func(columns []column) {
		i := columns[0].index
		for quarter := range 4 {
			half := quarter % 2
			x, y, w := YMM(), YMM(), YMM()
			VMOVUPD(Mem{Base: e, Index: i, Scale: 8, Disp: 32 * quarter}, w)
			VCVTPS2PD(Mem{Base: p, Index: i, Scale: 4, Disp: 16 * quarter}, x)
			VCVTPS2PD(Mem{Base: q, Index: i, Scale: 4, Disp: 16 * quarter}, y)
			VADDPD(w, sums[0][half], sums[0][half])
			VFMADD231PD(x, y, sums[2][half])
			VFMADD231PD(x, x, sums[3][half])
			VFMADD231PD(y, y, sums[4][half])
			VSUBPD(y, x, x)
			VFMADD231PD(w, x, sums[1][half])
			VANDPD(constant64("magnitude64", 0x7fffffffffffffff), x, x)
			VMAXPD(x, sums[5][half], sums[5][half])
		}
	})
	for i := range sums {
		for half, v := range sums[i] {
			VMOVUPD(v, stripe(i, half))
		}
	}
	end()
}
