//go:build !purego

package kernel

// forms lists the forms that this processor can run, the fastest last. Every
// arm64 processor that Go supports has NEON.
var forms = []*form{portable, neon}

var neon = &form{
	name:         "neon",
	gemm:         (&tiling{2, 3, tile2x3NEON, 6, tile1x6NEON, tile1x1NEON}).gemm,
	mix:          mixing{mix64NEON, mix16NEON}.mix,
	dot:          dotNEON,
	dot64:        dot64NEON,
	sum:          sumNEON,
	max:          maxNEON,
	expSum:       expSumNEON,
	exp:          func(x stripes, bias float32) stripes { expSumNEON(x[:], bias); return x },
	div:          divNEON,
	add:          addNEON,
	scaleMul:     scaleMulNEON,
	siluMul:      siluMulNEON,
	rotate:       rotateNEON,
	fromF16:      fromF16NEON,
	fromBF16:     fromBF16NEON,
	fromF32:      fromF32LittleEndian,
	split:        [3]func(dst, src []uint8, shift uint, or bool){split1NEON, split2NEON, split4NEON},
	affine:       affineNEON,
	grid:         gridErrorsNEON,
	dotRows:      dotRowsPortable,
	stored:       storedPortable,
	panel:        panelPortable,
	interleave:   interleavePortable,
	transposeF16: transposeF16Portable,
	maxAbs:       maxAbsPortable,
	round8:       round8Portable,
	round16:      round16Portable,
}
