//go:build !purego

package kernel

import "golang.org/x/sys/cpu"

// forms lists the forms that this processor can run, the fastest last. Every
// arm64 processor that Go supports has NEON.
var forms = func() []*form {
	list := []*form{portable, neon}
	if cpu.ARM64.HasASIMDDP {
		list = append(list, sdot)
		if cpu.ARM64.HasI8MM {
			list = append(list, i8mm)
		}
	}
	return list
}()

var neon = &form{
	name:         "neon",
	gemm:         (&tiling{2, 3, tile2x3NEON, 6, tile1x6NEON, tile1x1NEON}).gemm,
	mix:          mixing{mix64NEON, mix16NEON}.mix,
	dot:          dotNEON,
	dot64:        dot64NEON,
	compare:      comparePortable,
	exps64:       exps64NEON,
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
	gridScales:   gridScalesNEON,
	gridErrors16: gridErrors16NEON,
	gridErrors24: gridErrors24NEON,
	gridDescents: gridDescentsNEON,
	gridCodes:    gridCodesNEON,
	bounds:       boundsNEON,
	rangeErrors:  rangeErrorsNEON,
	rangeSums:    rangeSumsNEON,
	dotRows:      (&dotting{6, [3]dotFunc{dotF32x6NEON, dotF16x6NEON, dotBF16x6NEON}, [3]dotFunc{dotF32x1NEON, dotF16x1NEON, dotBF16x1NEON}}).dot,
	storedLanes:  Lanes,
	storedTile:   1,
	storedMost:   8,
	storedMost8:  8,
	stored:       (&storing{2: stored2NEON, 3: stored3NEON, 4: stored4NEON, 5: stored5NEON, 6: stored6NEON, 7: stored7NEON, 8: stored8NEON}).stored,
	panel:        panelling{panel1NEON, panel4NEON}.panel,
	interleave:   interleaving{interleave4NEON, 4}.interleave,
	transposeF16: transposeF16NEON,
	maxAbs:       maxAbsNEON,
	round8:       round8NEON,
	round16:      round16NEON,
	states:       statesPortable,
}

// sdot is neon with SDOT for integer products.
var sdot = func() *form {
	f := *neon
	f.name = "sdot"
	f.stored = (&storing{2: stored2SDOT, 3: stored3SDOT, 4: stored4SDOT, 5: stored5SDOT, 6: stored6SDOT, 7: stored7SDOT, 8: stored8SDOT}).stored
	f.panel = panelling{panel1SDOT, panel4SDOT}.panel
	return &f
}()

// i8mm is sdot with SMMLA for panels.
var i8mm = func() *form {
	f := *sdot
	f.name = "i8mm"
	f.panel = panelling{panel1I8MM, panel4I8MM}.panel
	f.interleave = interleaving{interleave8NEON, 8}.interleave
	return &f
}()
