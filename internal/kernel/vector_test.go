package kernel

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

// factors16 returns n random float16 numbers, none of which is a NaN or infinite.
func factors16(r *rand.Rand, n int) []byte {
	b := make([]byte, 2*n)
	for i := range b {
		b[i] = byte(r.IntN(120) | r.IntN(2)<<7)
	}
	return b
}

// MulVector has the bits of MulStored, for every number of bits, whole and partial spans,
// segments of one and of several blocks, and rows that do not fill a set.
func TestMulVector(t *testing.T) {
	uneven := []int32{1, 3, 2, 4, 1, 5, 1, 1, 2, 1, 1}
	for bits := 2; bits <= 8; bits++ {
		for i, segments := range []int{7, 8, 9, 10, 11, 16, 18, 21} {
			for j, group := range []int32{32, 64, 128, 0} {
				r, asymmetric := seeded(bits*100+i*10+j), (i+j)%2 == 1
				columns := equalSegments(segments, group)
				if group == 0 {
					for k := range columns {
						columns[k] = Block * uneven[k%len(uneven)]
					}
				}
				c, length := newStoredCase(r, bits, columns, asymmetric, 0, 1), total(columns)*bits/8
				stride := length + j%3
				const sets = 3
				rows := sets*lanesMost + 2*j
				codes := make([]byte, (rows-1)*stride+length)
				for k := range codes {
					codes[k] = byte(r.Uint32())
				}
				scales, mins := factors16(r, rows*segments), []byte(nil)
				if asymmetric {
					mins = factors16(r, rows*segments)
				}
				eachForm(t, func(t *testing.T) {
					w, x, lanes := c.weights(), c.inputs(), StoredLanes()
					w.Codes, w.Stride = codes, stride
					got := make([]float32, rows)
					n := MulVector(got, w, scales, mins, x)
					if best.vector != nil && segments >= vectorSegments && n != rows/lanes*lanes {
						t.Fatalf("%d rows of %d, want all whole sets", n, rows)
					}
					want := make([]float32, lanes)
					for at := 0; at < n; at += lanes {
						TransposeF16(w.Scales, lanes, scales[2*segments*at:], 2*segments, segments)
						if asymmetric {
							TransposeF16(w.Mins, lanes, mins[2*segments*at:], 2*segments, segments)
						}
						w.Codes = codes[at*stride:]
						MulStored(want, 0, w, x, 0, 1, lanes)
						same(t, fmt.Sprintf("%d bits, columns %d, rows from %d on", bits, columns, at), got[at:][:lanes], want)
					}
				})
			}
		}
	}
}

// BenchmarkMulVector multiplies rows of 1536 columns in groups of 32 by one position: rows
// that stay in a cache, and rows from memory. It reports bytes of codes and scales.
func BenchmarkMulVector(b *testing.B) {
	const groups = 48
	for bits := 2; bits <= 8; bits++ {
		for _, size := range []struct {
			name string
			rows int
		}{{"cache", 256}, {"memory", 64 << 10}} {
			c := newStoredCase(seeded(0), bits, equalSegments(groups, Block), false, 0, 1)
			stride := groups * Block * bits / 8
			codes, scales, dst := make([]byte, size.rows*stride), factors16(seeded(0), size.rows*groups), make([]float32, size.rows)
			for i := range codes { // pages that nobody has written are all the same one
				codes[i] = byte(i)
			}
			for _, f := range forms {
				if f.vector == nil {
					continue
				}
				b.Run(fmt.Sprintf("%d/%s/%s", bits, size.name, f.name), func(b *testing.B) {
					defer func(f *form) { best = f }(best)
					best = f
					w, x := c.weights(), c.inputs()
					w.Codes = codes
					b.SetBytes(int64(len(codes) + len(scales)))
					for b.Loop() {
						MulVector(dst, w, scales, nil, x)
					}
				})
			}
		}
	}
}
