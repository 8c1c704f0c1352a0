package kernel

import (
	"fmt"
	"testing"
	"time"
)

func BenchmarkGemm(b *testing.B) {
	for _, size := range [][2]int{{576, 576}, {1536, 576}, {576, 1536}, {192, 576}} {
		for _, m := range []int{1, 16, 512} {
			benchmarkGemm(b, m, size[0], size[1])
		}
	}
	benchmarkGemm(b, 512, 512, 4096)
	benchmarkGemm(b, 512, 512, 64) // attention scores
	benchmarkGemm(b, 3, 512, 64)
}

// benchmarkGemm multiplies in panels of 48 rows of b, like callers that unpack
// weights one panel at a time.
func benchmarkGemm(b *testing.B, m, n, k int) {
	const panel = 48
	for _, f := range forms {
		b.Run(fmt.Sprintf("%dx%dx%d/%s", m, n, k, f.name), func(b *testing.B) {
			defer func(f *form) { best = f }(best)
			best = f
			r := seeded(0)
			x, y, z := row(r, m*k), row(r, panel*k), make([]float32, m*n)
			var left Left
			start := time.Now()
			for b.Loop() {
				left.Set(x, k, m, k)
				for j := 0; j < n; j += panel {
					left.Gemm(z[j:], n, y, k, min(panel, n-j))
				}
			}
			b.ReportMetric(2*float64(m)*float64(n)*float64(k)*float64(b.N)/float64(time.Since(start).Nanoseconds()), "GFLOP/s")
		})
	}
}

// BenchmarkRows reports the time per element of each loop over a row.
func BenchmarkRows(b *testing.B) {
	const n, group = 1536, 32
	r := seeded(0)
	x, y, z, v := row(r, n), row(r, n), row(r, n), row(r, n*64)
	codes, packed := make([]uint8, n), make([]byte, 4*n)
	for i := range packed {
		packed[i] = byte(r.IntN(120)) // no NaN
	}
	stored := make([]byte, 4*n*6)
	for i := range stored {
		stored[i] = byte(r.IntN(120))
	}
	score := make([]float32, n)
	for i := range score {
		score[i] = float32(r.NormFloat64())
	}
	wide := make([]float64, n)
	var errors, scale [Candidates]float32
	var change, steps [Descents]float32
	lanes := make([][Descents]float32, 32)
	for _, c := range []struct {
		name string
		run  func()
	}{
		{"Exps64", func() { Exps64(wide, score, 1) }},
		{"Dot", func() { Dot(x, y) }},
		{"Sum", func() { Sum(x) }},
		{"Add", func() { Add(z, x) }},
		{"RMSNorm", func() { RMSNorm(z, x, y, 1e-5) }},
		{"Softmax", func() { copy(z, score); Softmax(z) }},
		{"SiLUMul", func() { SiLUMul(z, score, y) }},
		{"Rotate", func() { Rotate(z, x[:n/2], y[:n/2]) }},
		{"Mix", func() { Mix(z[:64], x, v, 64) }},                              // 64 multiply-adds per element
		{"MixRows", func() { MixRows(z[:4*64], 64, x, 0, 4, n-3, v, 64, 64) }}, // four times as many
		{"FromF16", func() { FromF16(z, packed[:2*n]) }},
		{"FromBF16", func() { FromBF16(z, packed[:2*n]) }},
		{"FromF32", func() { FromF32(z, packed) }},
		{"Unpack1", func() { Unpack(codes, packed[:n/8], 1, 0, false) }},
		{"Unpack2", func() { Unpack(codes, packed[:n/4], 2, 0, false) }},
		{"Unpack4", func() { Unpack(codes, packed[:n/2], 4, 0, false) }},
		{"Bounds", func() { Bounds(x) }},
		{"GridErrors16", func() { GridErrors(errors[:16], x, y, scale[:16], scale[:16], -8, 7) }},
		{"GridDescents", func() { // of a group of 16, with 16 scales, so 136 multiply-adds per element
			for i := 0; i < n; i += 16 {
				GridDescents(&change, lanes[:16], lanes[16:], x[i:i+16], y[i:i+16], v[i:], 16, &steps, &steps, -8, 7)
			}
		}},
		{"GridErrors24", func() { GridErrors(errors[:], x, y, scale[:], scale[:], -8, 7) }},
		{"GridCodes", func() { GridCodes(codes, score, 0, 3, -8, 7, 8) }},
		{"DotRowsF32", func() { DotRows(z[:6], x, stored, F32) }}, // 6 multiply-adds per element
		{"DotRowsF16", func() { DotRows(z[:6], x, stored, F16) }},
		{"DotRowsBF16", func() { DotRows(z[:6], x, stored, BF16) }},
		{"Affine", func() { Affine(z, codes, x[:n/group], y[:n/group], group) }},
	} {
		for _, f := range forms {
			b.Run(c.name+"/"+f.name, func(b *testing.B) {
				defer func(f *form) { best = f }(best)
				best = f
				start := time.Now()
				for b.Loop() {
					c.run()
				}
				b.ReportMetric(float64(time.Since(start).Nanoseconds())/float64(b.N)/n, "ns/element")
			})
		}
	}
}
