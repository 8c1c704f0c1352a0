package kernel

import (
	"fmt"
	"testing"
	"time"
)

func BenchmarkGemm(b *testing.B) {
	for _, size := range [][2]int{{576, 576}, {1536, 576}, {576, 1536}, {192, 576}} {
		for _, m := range []int{1, 512} {
			benchmarkGemm(b, m, size[0], size[1])
		}
	}
	benchmarkGemm(b, 512, 512, 64) // attention scores
	benchmarkGemm(b, 3, 512, 64)
}

// benchmarkGemm multiplies in panels of 64 rows of b, as callers do that
// unpack weights a panel at a time.
func benchmarkGemm(b *testing.B, m, n, k int) {
	const panel = 64
	for _, f := range forms {
		b.Run(fmt.Sprintf("%dx%dx%d/%s", m, n, k, f.name), func(b *testing.B) {
			defer func(f *form) { best = f }(best)
			best = f
			r := seeded(0)
			x, y, z := row(r, m*k), row(r, panel*k), make([]float32, m*n)
			start := time.Now()
			for b.Loop() {
				for j := 0; j < n; j += panel {
					Gemm(z[j:], n, x, k, y, k, m, min(panel, n-j), k)
				}
			}
			b.ReportMetric(2*float64(m)*float64(n)*float64(k)*float64(b.N)/float64(time.Since(start).Nanoseconds()), "GFLOP/s")
		})
	}
}
