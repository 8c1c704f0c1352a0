package parallel

import "testing"

// BenchmarkDo times one call of Do with two tasks of about 20 microseconds, as in a layer
// of a small model that decodes.
func BenchmarkDo(b *testing.B) {
	b.ReportAllocs()
	var sink [2][64]int
	f := func(_, i int) error {
		for k := range 20000 {
			sink[i][0] += k
		}
		return nil
	}
	for b.Loop() {
		if err := Do(b.Context(), 2, f); err != nil {
			b.Fatal(err)
		}
	}
}
