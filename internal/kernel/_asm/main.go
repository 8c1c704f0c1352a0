// Command asm generates the amd64 assembly of package kernel. AVX2 and
// AVX-512 come from the same code; only the registers differ.
//
//	go run . -out ../kernel_amd64.s -stubs ../stubs_amd64.go -pkg kernel
package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// An isa is a vector instruction set.
type isa struct {
	suffix string
	lanes  int // float32 in a register
	vector func() VecVirtual
	zero   func() VecVirtual
}

var (
	avx2   = isa{"AVX2", 8, YMM, func() VecVirtual { v := YMM(); VXORPS(v, v, v); return v }}
	avx512 = isa{"AVX512", 16, ZMM, func() VecVirtual { v := ZMM(); VPXORD(v, v, v); return v }}
)

const width = 16 // elements in a block

func (s isa) parts() int { return width / s.lanes }

func main() {
	ConstraintExpr("!purego")
	avx2.tile(2, 3)
	avx2.tile(1, 6)
	avx2.tile(1, 1)
	avx512.tile(4, 6)
	avx512.tile(1, 12)
	avx512.tile(1, 1)
	Generate()
}

func disp(n int) Mem { return Mem{Disp: n} }
