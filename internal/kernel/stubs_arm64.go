//go:build !purego

package kernel

//go:noescape
func tile2x3NEON(c *float32, rs, cs int, a *float32, lda int, b *float32, ldb int, m, n, k int)

//go:noescape
func tile1x6NEON(c *float32, rs, cs int, a *float32, lda int, b *float32, ldb int, m, n, k int)

//go:noescape
func tile1x1NEON(c *float32, rs, cs int, a *float32, lda int, b *float32, ldb int, m, n, k int)

//go:noescape
func mix64NEON(dst *float32, p []float32, v *float32, ldv int)

//go:noescape
func mix16NEON(dst *float32, p []float32, v *float32, ldv int)

//go:noescape
func dotNEON(a, b []float32) [16]float32

//go:noescape
func dot64NEON(a, b []float64) [16]float64

//go:noescape
func sumNEON(x []float32) [16]float32

//go:noescape
func maxNEON(x []float32) float32

//go:noescape
func expSumNEON(x []float32, bias float32) [16]float32

//go:noescape
func divNEON(x []float32, d float32)

//go:noescape
func addNEON(dst, x []float32)

//go:noescape
func scaleMulNEON(dst, x, weight []float32, r float32)

//go:noescape
func siluMulNEON(dst, gate, up []float32)

//go:noescape
func rotateNEON(x, y, cos, sin []float32)

//go:noescape
func fromF16NEON(dst []float32, src []byte)

//go:noescape
func fromBF16NEON(dst []float32, src []byte)

//go:noescape
func affineNEON(dst []float32, codes []uint8, scale, offset []float32, group int)

//go:noescape
func split1NEON(dst, src []uint8, shift uint, or bool)

//go:noescape
func split2NEON(dst, src []uint8, shift uint, or bool)

//go:noescape
func split4NEON(dst, src []uint8, shift uint, or bool)

//go:noescape
func gridErrors16NEON(errors *float32, x, power []float32, scale, inverse *float32, bottom, top float32)

//go:noescape
func gridErrors24NEON(errors *float32, x, power []float32, scale, inverse *float32, bottom, top float32)

//go:noescape
func gridDescentsNEON(change, codes, left *float32, value []float32, h *float32, stride int, scale, inverse *float32, bottom, top float32)

//go:noescape
func gridScalesNEON(scale, inverse, divisor *[24]float32, most float32)

//go:noescape
func boundsNEON(x []float32) (lo, hi float32)

//go:noescape
func rangeErrorsNEON(errors *[4]float32, x, power []float32, step, low, inverse *[4]float32, top float32)

//go:noescape
func rangeSumsNEON(sums *[5][4]float32, x, power []float32, low, inverse *[4]float32, top float32)

//go:noescape
func gridCodesNEON(dst []uint8, x []float32, low, inverse, bottom, top float32, zero int32)

//go:noescape
func stored2NEON(tile *float32, codes *byte, stride, blocks int, a *int8, columns *int32, segments int, sums *int32, offset int32, scale, d, minScale, min *float32, positions int)

//go:noescape
func stored3NEON(tile *float32, codes *byte, stride, blocks int, a *int8, columns *int32, segments int, sums *int32, offset int32, scale, d, minScale, min *float32, positions int)

//go:noescape
func stored4NEON(tile *float32, codes *byte, stride, blocks int, a *int8, columns *int32, segments int, sums *int32, offset int32, scale, d, minScale, min *float32, positions int)

//go:noescape
func stored5NEON(tile *float32, codes *byte, stride, blocks int, a *int8, columns *int32, segments int, sums *int32, offset int32, scale, d, minScale, min *float32, positions int)

//go:noescape
func stored6NEON(tile *float32, codes *byte, stride, blocks int, a *int8, columns *int32, segments int, sums *int32, offset int32, scale, d, minScale, min *float32, positions int)

//go:noescape
func stored7NEON(tile *float32, codes *byte, stride, blocks int, a *int8, columns *int32, segments int, sums *int32, offset int32, scale, d, minScale, min *float32, positions int)

//go:noescape
func stored8NEON(tile *float32, codes *byte, stride, blocks int, a *int8, columns *int32, segments int, sums *int32, offset int32, scale, d, minScale, min *float32, positions int)

//go:noescape
func stored2SDOT(tile *float32, codes *byte, stride, blocks int, a *int8, columns *int32, segments int, sums *int32, offset int32, scale, d, minScale, min *float32, positions int)

//go:noescape
func stored3SDOT(tile *float32, codes *byte, stride, blocks int, a *int8, columns *int32, segments int, sums *int32, offset int32, scale, d, minScale, min *float32, positions int)

//go:noescape
func stored4SDOT(tile *float32, codes *byte, stride, blocks int, a *int8, columns *int32, segments int, sums *int32, offset int32, scale, d, minScale, min *float32, positions int)

//go:noescape
func stored5SDOT(tile *float32, codes *byte, stride, blocks int, a *int8, columns *int32, segments int, sums *int32, offset int32, scale, d, minScale, min *float32, positions int)

//go:noescape
func stored6SDOT(tile *float32, codes *byte, stride, blocks int, a *int8, columns *int32, segments int, sums *int32, offset int32, scale, d, minScale, min *float32, positions int)

//go:noescape
func stored7SDOT(tile *float32, codes *byte, stride, blocks int, a *int8, columns *int32, segments int, sums *int32, offset int32, scale, d, minScale, min *float32, positions int)

//go:noescape
func stored8SDOT(tile *float32, codes *byte, stride, blocks int, a *int8, columns *int32, segments int, sums *int32, offset int32, scale, d, minScale, min *float32, positions int)

//go:noescape
func panel1NEON(y *float32, ldy int, panel, x *int16, ldx int, columns *int32, segments int, sums *int32, offset int32, d, scale *float32, lds int, min, minScale *float32)

//go:noescape
func panel4NEON(y *float32, ldy int, panel, x *int16, ldx int, columns *int32, segments int, sums *int32, offset int32, d, scale *float32, lds int, min, minScale *float32)

//go:noescape
func panel1SDOT(y *float32, ldy int, panel, x *int16, ldx int, columns *int32, segments int, sums *int32, offset int32, d, scale *float32, lds int, min, minScale *float32)

//go:noescape
func panel4SDOT(y *float32, ldy int, panel, x *int16, ldx int, columns *int32, segments int, sums *int32, offset int32, d, scale *float32, lds int, min, minScale *float32)

//go:noescape
func panel1I8MM(y *float32, ldy int, panel, x *int16, ldx int, columns *int32, segments int, sums *int32, offset int32, d, scale *float32, lds int, min, minScale *float32)

//go:noescape
func panel4I8MM(y *float32, ldy int, panel, x *int16, ldx int, columns *int32, segments int, sums *int32, offset int32, d, scale *float32, lds int, min, minScale *float32)

//go:noescape
func interleave4NEON(panel *int16, codes *byte, stride, n int)

//go:noescape
func interleave8NEON(panel *int16, codes *byte, stride, n int)

//go:noescape
func transposeF16NEON(dst *float32, ldd int, src *byte, stride, n int)

//go:noescape
func maxAbsNEON(x []float32) [16]float32

//go:noescape
func round8NEON(dst []int8, x []float32, inverse float32, split bool) int32

//go:noescape
func round16NEON(dst []int16, x []float32, inverse float32, split bool) int32

//go:noescape
func dotF32x6NEON(c, a *float32, b *byte, ldb, n, k int)

//go:noescape
func dotF32x1NEON(c, a *float32, b *byte, ldb, n, k int)

//go:noescape
func dotF16x6NEON(c, a *float32, b *byte, ldb, n, k int)

//go:noescape
func dotF16x1NEON(c, a *float32, b *byte, ldb, n, k int)

//go:noescape
func dotBF16x6NEON(c, a *float32, b *byte, ldb, n, k int)

//go:noescape
func dotBF16x1NEON(c, a *float32, b *byte, ldb, n, k int)

//go:noescape
func exps64NEON(dst []float64, x []float32, bias float64)
