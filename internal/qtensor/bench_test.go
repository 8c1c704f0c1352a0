package qtensor

import "testing"

// BenchmarkCopyPlain copies blocks of llama.cpp to memory, by weight.
func BenchmarkCopyPlain(b *testing.B) {
	ms, _ := ggmlBlocks(b)
	for _, m := range ms[:8] {
		b.Run(m.Scheme.String(), func(b *testing.B) {
			long := *m
			long.Rows = 1
			long.Cols = 64 * m.Cols
			long.Codes = make([]byte, 64*len(m.Codes)/m.Rows)
			for i := range 64 {
				copy(long.Codes[i*len(m.Codes)/m.Rows:], m.Codes[:len(m.Codes)/m.Rows])
			}
			c := long.PlainCopy()
			var d Reader
			b.SetBytes(int64(long.Cols))
			for b.Loop() {
				d.CopyPlain(c, &long, 0)
			}
		})
	}
}
