package kernel

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

// integerCase returns random weights and activations with the given blocks in each
// segment.
func integerCase(r *rand.Rand, p Packing, blocks []int32, mins bool, stride int) (*IntegerWeights, *IntegerInput) {
	n := 0
	for _, b := range blocks {
		n += int(b)
	}
	stride += p.RowBytes(n)
	w := &IntegerWeights{Packing: p, Stride: stride, Codes: make([]byte, (Lanes-1)*stride+p.RowBytes(n)), Scales: row(r, len(blocks)*Lanes), Zero: int32(r.IntN(3) * 64)}
	x := &IntegerInput{Codes: make([]int8, n*Block), Blocks: blocks, Sums: make([]int32, len(blocks)), Scales: row(r, len(blocks)), Mins: row(r, len(blocks))}
	extreme := r.IntN(3) == 0 // the largest sums
	for i := range w.Codes {
		w.Codes[i] = byte(r.Uint32())
		if extreme {
			w.Codes[i] = 0xff
		}
		if p == Bytes {
			w.Codes[i] &= 0x7f
		}
	}
	for i := range x.Codes {
		x.Codes[i] = int8(r.IntN(255) - 127)
		if extreme {
			x.Codes[i] = 127
		}
	}
	at := 0
	for k, b := range blocks {
		for range int(b) * Block {
			x.Sums[k] += int32(x.Codes[at])
			at++
		}
	}
	if mins {
		w.Mins = row(r, len(blocks)*Lanes)
	}
	return w, x
}

func packings() []Packing { return []Packing{Bytes, 2, 3, 4, 5, 6, 7, Bytes8} }

// Every form computes the portable form's bits, for every packing and for segments
// of one and of several blocks.
func TestMulIntegers(t *testing.T) {
	for _, p := range packings() {
		for _, blocks := range [][]int32{{1}, {1, 1, 1}, {2, 2, 1}, {5}, {1, 3, 2, 4}} {
			for i := range 6 {
				w, x := integerCase(seeded(int(p)*100+i), p, blocks, i%2 == 1, i%3)
				var want [Lanes]float32
				integersPortable(&want, w, x)
				eachForm(t, func(t *testing.T) {
					var got [Lanes]float32
					MulIntegers(&got, w, x)
					same(t, fmt.Sprintf("packing %d, blocks %d", p, blocks), got[:], want[:])
				})
			}
		}
	}
}

// The portable form is the definition, computed here for single codes.
func TestMulIntegersSingle(t *testing.T) {
	r := seeded(1)
	for _, p := range packings() {
		bits := int(p)
		if p == Bytes {
			bits = 7
		}
		for range 50 {
			const n = 3 * Block
			column, lane, code, a := r.IntN(n), r.IntN(Lanes), r.IntN(1<<bits), int8(r.IntN(255)-127)
			w := &IntegerWeights{Packing: p, Stride: p.RowBytes(3), Codes: make([]byte, Lanes*p.RowBytes(3)), Scales: make([]float32, Lanes)}
			at := w.Codes[lane*w.Stride:]
			shift := 0
			for _, b := range p.planes() {
				at[column*b/8] |= byte(code >> shift & (1<<b - 1) << (column * b % 8))
				at, shift = at[n*b/8:], shift+b
			}
			w.Scales[lane], w.Zero = 1, int32(r.IntN(200))
			x := &IntegerInput{Codes: make([]int8, n), Blocks: []int32{3}, Sums: []int32{int32(a)}, Scales: []float32{1}, Mins: []float32{0}}
			x.Codes[p.Column(column)] = a
			want := float32((code - int(w.Zero)) * int(a))
			eachForm(t, func(t *testing.T) {
				var got [Lanes]float32
				MulIntegers(&got, w, x)
				if got[lane] != want {
					t.Errorf("packing %d, column %d, row %d: %d times %d is %v, want %v", p, column, lane, code, a, got[lane], want)
				}
			})
		}
	}
}

// BenchmarkMulIntegers multiplies rows of 1536 columns in groups of 32.
func BenchmarkMulIntegers(b *testing.B) {
	blocks := make([]int32, 48)
	for i := range blocks {
		blocks[i] = 1
	}
	for _, p := range packings() {
		for _, f := range forms {
			b.Run(fmt.Sprintf("%d/%s", p, f.name), func(b *testing.B) {
				defer func(f *form) { best = f }(best)
				best = f
				w, x := integerCase(seeded(0), p, blocks, false, 0)
				var y [Lanes]float32
				start := time.Now()
				for b.Loop() {
					MulIntegers(&y, w, x)
				}
				b.ReportMetric(2*float64(len(x.Codes)*Lanes)*float64(b.N)/float64(time.Since(start).Nanoseconds()), "GOP/s")
			})
		}
	}
}
