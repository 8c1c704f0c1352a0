// Command asm generates the amd64 assembly of package kernel. The same code
// emits AVX2 and AVX-512, with different registers. To run it, run go generate in
// package kernel.
package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
	"github.com/mmcloughlin/avo/x86"
)

// An isa is a vector instruction set.
type isa struct {
	suffix string
	lanes  int // float32 numbers per register
	vector func() VecVirtual
}

var (
	avx2   = isa{"AVX2", 8, YMM}
	avx512 = isa{"AVX512", 16, ZMM}
)

const width = 16 // elements in a block

// parts returns the number of registers per block.
func (s isa) parts() int { return width / s.lanes }

// zero returns a register of zeros.
func (s isa) zero() VecVirtual {
	v := s.vector()
	s.clear(v)
	return v
}

func (s isa) clear(v VecVirtual) {
	if s.lanes == 8 {
		VXORPS(v, v, v)
		return
	}
	i, err := x86.VPXORD(v, v, v)
	if err != nil {
		panic(err)
	}
	i.CancellingInputs = true // avo does not know: v would be occupied from the start
	Instruction(i)
}

// splat returns a register with the float32 at m in each lane.
func (s isa) splat(m Op) VecVirtual {
	v := s.vector()
	VBROADCASTSS(m, v)
	return v
}

func main() {
	ConstraintExpr("!purego")
	avx2.tile(2, 3)
	avx2.tile(1, 6)
	avx2.tile(1, 1)
	for _, o := range []outerTile{outerAVX2, outerAVX512} {
		o.outer()
		pack(o.rows, o.rows)
		pack(8, o.cols())
	}
	avx512.tile(4, 6)
	avx512.tile(1, 12)
	avx512.tile(1, 1)
	avx512.mixRows(64)
	for _, t := range floats {
		avx2.dotRows(6, t)
		avx2.dotRows(1, t)
		avx512.dotRows(12, t)
		avx512.dotRows(1, t)
	}
	for _, s := range []isa{avx2, avx512} {
		s.mix(64)
		s.mix(16)
		s.mixRows(16)
		s.dot()
		s.dot64()
		s.sum()
		s.max()
		s.expSum()
		s.div()
		s.add()
		s.scaleMul()
		s.siluMul()
		s.rotate()
		s.fromF16()
		s.fromBF16()
		s.affine()
		s.gridErrors(16)
		s.gridErrors(candidates)
		s.gridDescents()
	}
	gridScales()
	bounds()
	gridCodes()
	rangeErrors()
	rangeSums()
	split(1)
	split(2)
	split(4)
	for bits := 2; bits <= 8; bits++ {
		storedRows(bits)
		storedVNNI(bits)
		vectorStored(bits)
	}
	prefetch()
	integerTile(4)
	integerTile(1)
	interleave()
	transposeF16()
	transposeF16Wide()
	transposeShort()
	roundCodes(8)
	roundCodes(16)
	roundGroups()
	maxAbs()
	exps64()
	compare()
	decodeStates()
	Generate()
}
