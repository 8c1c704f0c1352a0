package kernel

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// A storedCase is random weights, for the most lanes, and values to round.
type storedCase struct {
	w         StoredRows
	columns   []int32 // of the segments
	positions int
	values    []float32 // (positions, columns): whole numbers
	scales    []float32 // (positions, segments)
}

// newStoredCase returns a case whose rows are gap bytes apart.
func newStoredCase(r *rand.Rand, bits int, columns []int32, mins bool, gap, positions int) *storedCase {
	n := total(columns)
	length := n * bits / 8
	stride := length + gap
	c := &storedCase{
		w: StoredRows{
			Bits: bits, Stride: stride, Codes: make([]byte, (lanesMost-1)*stride+length),
			Scales: row(r, len(columns)*lanesMost), Zero: int32(r.IntN(3) * 64),
		},
		columns: columns, positions: positions, values: make([]float32, positions*n), scales: row(r, positions*len(columns)),
	}
	extreme := r.IntN(3) == 0 // the largest sums
	for i := range c.w.Codes {
		c.w.Codes[i] = byte(r.Uint32())
		if extreme {
			c.w.Codes[i] = 0xff
		}
	}
	for i := range c.values {
		c.values[i] = float32(r.IntN(255) - 127)
		if extreme {
			c.values[i] = float32(127 - r.IntN(2)*254*(i%2)) // also the least
		}
	}
	if mins {
		c.w.Mins = row(r, len(columns)*lanesMost)
	}
	return c
}

// total returns the sum of columns.
func total(columns []int32) (n int) {
	for _, c := range columns {
		n += int(c)
	}
	return n
}

// equalSegments returns n segments of the given columns.
func equalSegments(n int, columns int32) []int32 { return slices.Repeat([]int32{columns}, n) }

// inputs rounds the values for the form in use.
func (c *storedCase) inputs() *StoredInputs {
	x := &StoredInputs{}
	x.Reset(c.positions, c.columns, StoredOrder(c.w.Bits))
	rest := c.values
	for t := range c.positions {
		at := 0
		for k, n := range c.columns {
			x.Round(t, k, at, rest[:n], c.scales[t*len(c.columns)+k], 1)
			rest, at = rest[n:], at+int(n)
		}
	}
	return x
}

// weights returns as many of the rows as the form in use takes.
func (c *storedCase) weights() *StoredRows {
	lanes := StoredLanes()
	narrow := func(factors []float32) (out []float32) {
		for k := 0; k < len(factors); k += lanesMost {
			out = append(out, factors[k:k+lanes]...)
		}
		return out
	}
	n := len(c.values) / c.positions * c.w.Bits / 8
	return &StoredRows{
		Bits: c.w.Bits, Zero: c.w.Zero, Codes: c.w.Codes[:(lanes-1)*c.w.Stride+n], Stride: c.w.Stride,
		Scales: narrow(c.w.Scales), Mins: narrow(c.w.Mins),
	}
}

// slow returns the products of position t by plain loops over the codes.
func (c *storedCase) slow(t int) (y [lanesMost]float32) {
	n := len(c.values) / c.positions
	x := c.values[t*n:][:n]
	for r := range y {
		at := 0
		for k, columns := range c.columns {
			p, sum := int32(0), int32(0)
			for range columns {
				a := int32(x[at])
				p, sum = p+(c.code(r, at, n)-c.w.Zero)*a, sum+a
				at++
			}
			scale := c.scales[t*len(c.columns)+k]
			y[r] = slowFMA(scale, float32(c.w.Scales[k*lanesMost+r]*float32(p)), y[r])
			if len(c.w.Mins) > 0 {
				y[r] = slowFMA(float32(scale*float32(sum)), c.w.Mins[k*lanesMost+r], y[r])
			}
		}
	}
	return y
}

// code returns the code of a column of a row of n columns.
func (c *storedCase) code(r, column, n int) int32 {
	at, shift, code := c.w.Codes[r*c.w.Stride:], 0, int32(0)
	for _, b := range Planes(c.w.Bits) {
		code |= int32(at[column*b/8]>>(column*b%8)) & (1<<b - 1) << shift
		at, shift = at[n*b/8:], shift+b
	}
	return code
}

// Every form computes the bits of plain loops, for every number of bits, segments of half a
// block, of one and of several, whole and partial tiles, and any rows of the lanes.
func TestMulStored(t *testing.T) {
	for bits := 2; bits <= 8; bits++ {
		for i, columns := range [][]int32{{32}, {32, 32, 32}, {64, 64, 32}, {160}, {32, 96, 64, 128}, {16, 16}, equalSegments(10, 16)} {
			for j, positions := range []int{1, 2, 15, 16, 17, 40} {
				c := newStoredCase(seeded(bits*100+i*10+j), bits, columns, (i+j)%2 == 1, j%3, positions)
				eachForm(t, func(t *testing.T) {
					rows, ldd := 1+(i*5+j)%StoredLanes(), lanesMost+j
					want := make([]float32, (positions-1)*ldd+rows)
					for t := range positions {
						y := c.slow(t)
						copy(want[t*ldd:][:rows], y[:])
					}
					got, x, w := make([]float32, len(want)), c.inputs(), c.weights()
					first := min(positions, StoredBand)
					MulStored(got, ldd, w, x, 0, first, rows)
					MulStored(got[min(len(got), first*ldd):], ldd, w, x, first, positions-first, rows)
					same(t, fmt.Sprintf("%d bits, columns %d, %d positions", bits, columns, positions), got, want)
				})
			}
		}
	}
}

// RoundGroups gives what Round gives with the scale of each group, for any values.
func TestRoundGroups(t *testing.T) {
	odd := []float32{0, float32(math.Copysign(0, -1)), 1e-45, -1e-38, 4e-37, math.MaxFloat32, -3e38, 2.5, float32(math.Inf(-1)), float32(math.NaN())}
	for i, columns := range [][]int32{{32}, {32, 32, 32}, {64, 32, 96}, {16, 16, 16, 16, 16, 16}} {
		n := total(columns)
		for j := range 40 {
			const positions = tileMost + 3
			r, order := seeded(40*i+j), Order(j%2)
			values := row(r, positions*n)
			for k := range values { // most groups hold one odd value, some nothing else
				switch {
				case j%4 == 3:
					values[k] = odd[k/(Block/2)%3]
				case r.IntN(2*Block) == 0:
					values[k] = odd[r.IntN(len(odd))]
				}
			}
			eachForm(t, func(t *testing.T) {
				var got, want StoredInputs
				got.Reset(positions, columns, order)
				want.Reset(positions, columns, order)
				for p := range positions {
					rest, at := values[p*n:][:n], 0
					got.RoundGroups(p, rest)
					for k, c := range columns {
						scale, inverse := GroupScale(rest[:c])
						want.Round(p, k, at, rest[:c], scale, inverse)
						rest, at = rest[c:], at+int(c)
					}
				}
				same(t, "scales", got.scales, want.scales)
				same(t, "mins", got.mins, want.mins)
				if !slices.Equal(got.codes, want.codes) || !slices.Equal(got.sums, want.sums) {
					t.Errorf("columns %d, case %d: codes or their sums differ", columns, j)
				}
			})
		}
	}
}

// Each code meets the activation of its column.
func TestMulStoredSingle(t *testing.T) {
	r := seeded(1)
	for bits := 2; bits <= 8; bits++ {
		for i := range 50 {
			const n = 3 * Block
			segments := [][]int32{{n}, equalSegments(6, 16)}[i%2]
			column, lane, code, a := r.IntN(n), r.IntN(lanesMost), r.IntN(1<<bits), r.IntN(255)-127
			c := newStoredCase(r, bits, segments, false, 0, 1)
			clear(c.w.Codes)
			clear(c.w.Scales)
			clear(c.values)
			at, shift := c.w.Codes[lane*c.w.Stride:], 0
			for _, b := range Planes(bits) {
				at[column*b/8] |= byte(code >> shift & (1<<b - 1) << (column * b % 8))
				at, shift = at[n*b/8:], shift+b
			}
			k := column * len(segments) / n
			c.w.Scales[k*lanesMost+lane], c.scales[k], c.values[column] = 1, 1, float32(a)
			want := float32((code - int(c.w.Zero)) * a)
			eachForm(t, func(t *testing.T) {
				var got [lanesMost]float32
				MulStored(got[:], 0, c.weights(), c.inputs(), 0, 1, StoredLanes())
				if lane < StoredLanes() && got[lane] != want {
					t.Errorf("%d bits, column %d, row %d: %d times %d is %v, want %v", bits, column, lane, code, a, got[lane], want)
				}
			})
		}
	}
}
