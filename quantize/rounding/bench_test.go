package rounding

import (
	"testing"

	"thimble/internal/qtensor"
	"thimble/quantize/quantizetest"
)

// BenchmarkToNearest reports the time per weight, on all cores.
func BenchmarkToNearest(b *testing.B) {
	src := quantizetest.Weights(256, 1536, 1)
	for _, text := range []string{"int8/g32", "int4/g32", "int4/g32/asym"} {
		b.Run(text, func(b *testing.B) {
			s, err := qtensor.ParseScheme(text)
			if err != nil {
				b.Fatal(err)
			}
			dst, err := qtensor.New(s, src.Rows, src.Cols)
			if err != nil {
				b.Fatal(err)
			}
			for b.Loop() {
				if err := ToNearest(b.Context(), dst, src, Even(src.Cols), nil); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(src.Rows*src.Cols), "ns/weight")
		})
	}
}
