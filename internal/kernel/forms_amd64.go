//go:build !purego

package kernel

import (
	"math"
	"unsafe"

	"golang.org/x/sys/cpu"
)

//go:generate go run -C _asm . -out ../kernel_amd64.s -stubs ../stubs_amd64.go -pkg kernel

// forms lists the forms that this processor can run, the fastest last.
var forms = func() []*form {
	list := []*form{portable}
	x := &cpu.X86
	if x.HasAVX2 && x.HasFMA && x.HasF16C {
		list = append(list, avx2)
		if x.HasAVX512F && x.HasAVX512VL {
			list = append(list, avx512)
			if x.HasAVX512VNNI && x.HasAVX512BW && x.HasAVX512DQ {
				list = append(list, vnni)
			}
		}
	}
	return list
}()

var avx2 = &form{
	name:         "avx2",
	gemm:         (&tiling{2, 3, tile2x3AVX2, 6, tile1x6AVX2, tile1x1AVX2}).gemm,
	packing:      &packing{side{6, 8, pack6of6AVX2}, side{16, 1, eights(16, pack8of16AVX2)}, outer6x16AVX2},
	mix:          mixing{mix64AVX2, mix16AVX2}.mix,
	mixRows:      rowMixing{{16, mix4x16AVX2}}.mix,
	dot:          dotAVX2,
	dot64:        dot64AVX2,
	compare:      compareAVX2,
	exps64:       exps64AVX2,
	sum:          sumAVX2,
	max:          maxAVX2,
	expSum:       expSumAVX2,
	exp:          func(x stripes, bias float32) stripes { expSumAVX2(x[:], bias); return x },
	div:          divAVX2,
	add:          addAVX2,
	scaleMul:     scaleMulAVX2,
	siluMul:      siluMulAVX2,
	rotate:       rotateAVX2,
	fromF16:      fromF16AVX2,
	fromBF16:     fromBF16AVX2,
	fromF32:      fromF32LittleEndian,
	split:        [3]func(dst, src []uint8, shift uint, or bool){split1AVX2, split2AVX2, split4AVX2},
	affine:       affineAVX2,
	gridScales:   gridScalesAVX2,
	gridErrors16: gridErrors16AVX2,
	gridErrors24: gridErrors24AVX2,
	gridDescents: gridDescentsAVX2,
	gridCodes:    gridCodesAVX2,
	bounds:       boundsAVX2,
	rangeErrors:  rangeErrorsAVX2,
	rangeSums:    rangeSumsAVX2,
	dotRows:      (&dotting{6, [3]dotFunc{dotF32x6AVX2, dotF16x6AVX2, dotBF16x6AVX2}, [3]dotFunc{dotF32x1AVX2, dotF16x1AVX2, dotBF16x1AVX2}}).dot,
	storedLanes:  Lanes,
	storedTile:   tileMost,
	storedMost:   math.MaxInt,
	storedMost8:  64,
	stored:       (&storing{2: stored2AVX2, 3: stored3AVX2, 4: stored4AVX2, 5: stored5AVX2, 6: stored6AVX2, 7: stored7AVX2, 8: stored8AVX2}).stored,
	prefetch:     prefetchAMD64,
	panel:        panelAVX2,
	interleave:   interleavingAVX2,
	transposeF16: transposeF16AVX2,
	maxAbs:       maxAbsAVX2,
	roundGroups:  roundGroupsOfAVX2,
	round8:       round8AVX2,
	round16:      round16AVX2,
	states:       statesAVX2,
}

// avx512 is avx2 with wider registers where that pays.
var avx512 = func() *form {
	f := *avx2
	f.name = "avx512"
	f.gemm = (&tiling{4, 6, tile4x6AVX512, 12, tile1x12AVX512, tile1x1AVX512}).gemm
	f.packing = &packing{side{8, 4, pack8of8AVX2}, side{48, 1, eights(48, pack8of48AVX2)}, outer8x48AVX512}
	f.mix = mixing{mix64AVX512, mix16AVX512}.mix
	f.mixRows = rowMixing{{64, mix4x64AVX512}, {16, mix4x16AVX512}}.mix
	f.dot = dotAVX512
	f.dot64 = dot64AVX512
	f.sum = sumAVX512
	f.max = maxAVX512
	f.expSum = expSumAVX512
	f.exp = func(x stripes, bias float32) stripes { expSumAVX512(x[:], bias); return x }
	f.div = divAVX512
	f.add = addAVX512
	f.scaleMul = scaleMulAVX512
	f.siluMul = siluMulAVX512
	f.rotate = rotateAVX512
	f.fromF16 = fromF16AVX512
	f.fromBF16 = fromBF16AVX512
	f.affine = affineAVX512
	f.gridErrors16 = gridErrors16AVX512
	f.gridErrors24 = gridErrors24AVX512
	f.gridDescents = gridDescentsAVX512
	f.dotRows = (&dotting{12, [3]dotFunc{dotF32x12AVX512, dotF16x12AVX512, dotBF16x12AVX512}, [3]dotFunc{dotF32x1AVX512, dotF16x1AVX512, dotBF16x1AVX512}}).dot
	return &f
}()

// vnni is avx512 with products of bytes that are added up in 32 bits at once, for 16 rows.
// They are so fast at any number of positions that no panel of wider integers pays.
var vnni = func() *form {
	f := *avx512
	f.name = "avx512vnni"
	f.storedLanes = lanesMost
	f.transposeF16 = transposeF16AVX512
	f.transposeShort = transposeShortAVX512
	f.storedMost8 = math.MaxInt
	f.stored = (&storing{2: stored2VNNI, 3: stored3VNNI, 4: stored4VNNI, 5: stored5VNNI, 6: stored6VNNI, 7: stored7VNNI, 8: stored8VNNI}).stored
	f.vector = (&vectoring{2: vector2VNNI, 3: vector3VNNI, 4: vector4VNNI, 5: vector5VNNI, 6: vector6VNNI, 7: vector7VNNI, 8: vector8VNNI}).vector
	return &f
}()

// eights returns a function that packs a group of rows, a multiple of 8, with one that packs
// 8 of them.
func eights(rows int, pack8 func(dst *float32, stride, steps int, src *float32, ld int)) func(dst *float32, stride, steps int, src *float32, ld int) {
	return func(dst *float32, stride, steps int, src *float32, ld int) {
		for r := 0; r < rows; r += 8 {
			pack8((*float32)(unsafe.Add(unsafe.Pointer(dst), 4*r)), stride, steps, (*float32)(unsafe.Add(unsafe.Pointer(src), 4*r*ld)), ld)
		}
	}
}

func statesAVX2(dst []uint8, slots []Slot, first []uint32, state *[States]uint32, data []byte) (groups, read int) {
	most := len(dst) / States
	left, read := decodeStatesAVX2(&dst[0], most, (*uint32)(&slots[0]), &first[0], state, &data[0], &data[len(data)-groupBytes])
	return most - left, read
}
