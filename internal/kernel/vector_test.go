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

// A factorCase is factors of rows, as a container stores them and as float32 numbers.
type factorCase struct {
	Factors
	wide []float32 // (rows, segments)
}

// newFactorCase returns random factors in one of the three forms.
func newFactorCase(r *rand.Rand, form, rows, segments int) *factorCase {
	c := &factorCase{wide: make([]float32, rows*segments)}
	switch form {
	case 0:
		c.F16 = factors16(r, rows*segments)
		FromF16(c.wide, c.F16)
	case 1:
		c.wide = row(r, rows*segments)
		c.F32 = make([]float32, (rows+lanesMost-1)/lanesMost*lanesMost*segments)
		for i, v := range c.wide {
			row, k := i/segments, i%segments
			c.F32[(row/lanesMost*segments+k)*lanesMost+row%lanesMost] = v
		}
	case 2:
		n := ShortBytes(segments)
		c.Short, c.Table = make([]byte, rows*n), (*[16]float32)(row(r, 16))
		for i := range rows {
			short, factor := c.Short[i*n:][:n], make([]float32, 1)
			copy(short[n-2:], factors16(r, 1))
			FromF16(factor, short[n-2:])
			for k := range segments {
				code := r.IntN(16)
				short[k/2] |= byte(code << (k % 2 * 4))
				c.wide[i*segments+k] = factor[0] * c.Table[code]
			}
		}
	}
	return c
}

// set writes the factors of StoredLanes rows, from row at on, to dst.
func (c *factorCase) set(dst []float32, at, segments int) {
	lanes := StoredLanes()
	for r := range lanes {
		for k := range segments {
			dst[k*lanes+r] = c.wide[(at+r)*segments+k]
		}
	}
}

// MulVector has the bits of MulStored, for every number of bits and form of factors, whole and
// partial spans, segments of half a block, of one and of several, and rows that do not fill a set.
func TestMulVector(t *testing.T) {
	uneven := []int32{1, 3, 2, 4, 1, 5, 1, 1, 2, 1, 1}
	for bits := 2; bits <= 8; bits++ {
		for i, segments := range []int{7, 8, 9, 10, 11, 16, 18, 21} {
			for j, group := range []int32{32, 64, 128, 0, 16} {
				if group == 16 {
					segments += segments % 2
				}
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
				form := (bits + i + j) % 3
				scales, mins := newFactorCase(r, form, rows, segments), &factorCase{}
				if asymmetric {
					mins = newFactorCase(r, (form+bits)%3, rows, segments)
				}
				eachForm(t, func(t *testing.T) {
					w, x, lanes := c.weights(), c.inputs(), StoredLanes()
					w.Codes, w.Stride, w.Scales = codes, stride, make([]float32, (segments+7)/8*8*lanes)
					if asymmetric {
						w.Mins = make([]float32, len(w.Scales))
					}
					got := make([]float32, rows)
					n := MulVector(got, w, scales.Factors, mins.Factors, x)
					if best.vector != nil && segments >= vectorSegments && n != rows/lanes*lanes {
						t.Fatalf("%d rows of %d, want all whole sets", n, rows)
					}
					want := make([]float32, lanes)
					for at := 0; at < n; at += lanes {
						scales.set(w.Scales, at, segments)
						if asymmetric {
							mins.set(w.Mins, at, segments)
						}
						w.Codes = codes[at*stride:]
						MulStored(want, 0, w, x, 0, 1, lanes)
						same(t, fmt.Sprintf("%d bits, factors %d, columns %d, rows from %d on", bits, form, columns, at), got[at:][:lanes], want)
					}
				})
			}
		}
	}
}

// TransposeShort writes the numbers of plain loops, and nothing else.
func TestTransposeShort(t *testing.T) {
	for _, n := range []int{1, 2, 5, 8, 11, 13, 16, 48} {
		c, extra := newFactorCase(seeded(n), 2, lanesMost, n), n%3
		bytes, ldd := ShortBytes(n), lanesMost+extra
		src := make([]byte, lanesMost*(bytes+extra))
		for i := range lanesMost {
			copy(src[i*(bytes+extra):], c.Short[i*bytes:][:bytes])
		}
		eachForm(t, func(t *testing.T) {
			lanes := StoredLanes()
			got, want := make([]float32, (n+1)*ldd), make([]float32, (n+1)*ldd)
			for i := range lanes {
				for k := range n {
					want[k*ldd+i] = c.wide[i*n+k]
				}
			}
			TransposeShort(got, ldd, src, bytes+extra, n, c.Table)
			same(t, fmt.Sprint(n, " groups"), got, want)
		})
	}
}

// BenchmarkMulVector multiplies rows of 1536 columns in groups of 32 and of 16 by one position:
// rows that stay in a cache, and rows from memory. It reports bytes of codes and scales.
func BenchmarkMulVector(b *testing.B) {
	for bits := 2; bits <= 8; bits++ {
		for _, rows := range []int{256, 64 << 10} {
			for _, group := range []int32{Block, Block / 2} {
				for stored := range 3 {
					benchmarkVector(b, bits, rows, group, stored)
				}
			}
		}
	}
}

func benchmarkVector(b *testing.B, bits, rows int, group int32, stored int) {
	const columns = 1536
	segments := columns / int(group)
	c := newStoredCase(seeded(0), bits, equalSegments(segments, group), false, 0, 1)
	codes, scales, dst := make([]byte, rows*columns*bits/8), newFactorCase(seeded(0), stored, rows, segments), make([]float32, rows)
	for i := range codes { // pages that nobody has written are all the same one
		codes[i] = byte(i)
	}
	for _, f := range forms {
		if f.vector == nil {
			continue
		}
		b.Run(fmt.Sprintf("%d/%s/g%d/%s/%s", bits, map[bool]string{true: "cache", false: "memory"}[rows < 1<<10], group, []string{"f16", "f32", "short"}[stored], f.name), func(b *testing.B) {
			defer func(f *form) { best = f }(best)
			best = f
			w, x := c.weights(), c.inputs()
			w.Codes = codes
			b.SetBytes(int64(len(codes) + len(scales.F16) + 4*len(scales.F32) + len(scales.Short)))
			for b.Loop() {
				MulVector(dst, w, scales.Factors, Factors{}, x)
			}
		})
	}
}
