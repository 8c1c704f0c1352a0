package kernel

import (
	"fmt"
	"math/rand/v2"
	"runtime/debug"
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
// segments of one and of several blocks, and rows that do not fill a set, and it reads nothing
// outside its operands.
func TestMulVector(t *testing.T) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	uneven := []int32{1, 3, 2, 4, 1, 5, 1, 1, 2, 1, 1}
	for bits := 2; bits <= 8; bits++ {
		for i, segments := range []int{7, 8, 9, 10, 11, 16, 18, 21} {
			for j, group := range []int32{1, 2, 4, 0} {
				r, asymmetric := seeded(bits*100+i*10+j), (i+j)%2 == 1
				blocks, width := make([]int32, segments), 0
				for k := range blocks {
					blocks[k] = group
					if group == 0 {
						blocks[k] = uneven[k%len(uneven)]
					}
					width += int(blocks[k])
				}
				c := newStoredCase(r, bits, blocks, asymmetric, 0, 1)
				stride := width*Block*bits/8 + j%3
				const sets = 3
				rows := sets*lanesMost + 2*j
				codes := make([]byte, (rows-1)*stride+width*Block*bits/8)
				for k := range codes {
					codes[k] = byte(r.Uint32())
				}
				scales, mins := factors16(r, rows*segments), []byte(nil)
				if asymmetric {
					mins = factors16(r, rows*segments)
				}
				eachForm(t, func(t *testing.T) {
					w, x, lanes := c.weights(), c.inputs(), StoredLanes()
					x.blocks, x.codes, x.sums = guardedCopy(t, x.blocks), guardedCopy(t, x.codes), guardedCopy(t, x.sums)
					x.scales, x.mins = guardedCopy(t, x.scales), guardedCopy(t, x.mins)
					w.Codes, w.Stride = guardedCopy(t, codes), stride
					w.Scales, w.Mins = guardedCopy(t, w.Scales), guardedCopy(t, w.Mins)
					got := guardedRow(t, rows)
					n := MulVector(got, w, guardedCopy(t, scales), guardedCopy(t, mins), x)
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
						same(t, fmt.Sprintf("%d bits, blocks %d, rows from %d on", bits, blocks, at), got[at:][:lanes], want)
					}
				})
			}
		}
	}
}
