package kernel

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

// panelCase returns random codes of the given bits, weights with an empty panel for
// them, and activations.
func panelCase(r *rand.Rand, bits int, columns []int32, mins bool, positions int) (codes []uint8, w *IntegerPanel, x *PanelInputs) {
	n := 0
	for _, c := range columns {
		n += int(c)
	}
	extreme := r.IntN(3) == 0 // the largest sums
	codes = make([]uint8, PanelRows*n)
	for i := range codes {
		codes[i] = uint8(r.Uint32() >> (32 - bits))
		if extreme {
			codes[i] = uint8(1<<bits - 1)
		}
	}
	k := len(columns)
	w = &IntegerPanel{Codes: make([]int16, n*PanelRows), Zero: int32(r.IntN(2) << (bits - 1)), Scales: row(r, k*PanelRows)}
	if mins {
		w.Mins = row(r, k*PanelRows)
	}
	x = &PanelInputs{Columns: columns, Codes: make([]int16, positions*n), Sums: make([]int32, positions*k), Scales: row(r, positions*k), Mins: row(r, positions*k)}
	for i := range x.Codes {
		x.Codes[i] = int16(r.IntN(255) - 127)
		if extreme {
			x.Codes[i] = 127
		}
	}
	at := 0
	for i := range x.Sums {
		for range x.Columns[i%k] {
			x.Sums[i] += int32(x.Codes[at])
			at++
		}
	}
	return codes, w, x
}

// fill interleaves codes into the panel of w.
func (w *IntegerPanel) fill(codes []uint8) {
	n := len(codes) / PanelRows
	for first := 0; first < PanelRows; first += Lanes {
		Interleave(w, first, codes[first*n:], n, n)
	}
}

// Every form computes the bits of a plain loop over the codes.
func TestMulPanel(t *testing.T) {
	for i, columns := range [][]int32{{8}, {16, 16}, {32, 32, 32}, {24, 8, 40, 56, 16}, {200}} {
		for _, n := range []int{1, 3, 4, 5, 9} {
			for _, bits := range []int{3, 8} {
				codes, w, x := panelCase(seeded(i*100+n*10+bits), bits, columns, n%2 == 1, n+2)
				want := row(seeded(1), (n-1)*19+PanelRows)
				got := append([]float32(nil), want...)
				slowPanel(want, 19, codes, w, x, 2, n)
				eachForm(t, func(t *testing.T) {
					clear(w.Codes)
					w.fill(codes)
					MulPanel(got, 19, w, x, 2, n)
					same(t, fmt.Sprintf("%d bits, columns %d, %d positions", bits, columns, n), got, want)
				})
			}
		}
	}
}

func slowPanel(dst []float32, ldd int, codes []uint8, w *IntegerPanel, x *PanelInputs, from, n int) {
	columns, segments := len(codes)/PanelRows, len(x.Columns)
	for t := range n {
		for r := range PanelRows {
			y, at := float32(0), 0
			for k, c := range x.Columns {
				p, i := int32(0), (from+t)*segments+k
				for range c {
					p += (int32(codes[r*columns+at]) - w.Zero) * int32(x.Codes[(from+t)*columns+at])
					at++
				}
				y = slowFMA(x.Scales[i], float32(w.Scales[k*PanelRows+r]*float32(p)), y)
				if len(w.Mins) > 0 {
					y = slowFMA(x.Mins[i], w.Mins[k*PanelRows+r], y)
				}
			}
			dst[t*ldd+r] = y
		}
	}
}

// Each code meets the activation of its column, for every column and row.
func TestInterleave(t *testing.T) {
	for _, n := range []int{8, 16, 24, 64, 88} {
		eachForm(t, func(t *testing.T) {
			for at := range n * PanelRows {
				column, r := at%n, at/n
				codes := make([]uint8, n*PanelRows)
				codes[at] = uint8(1 + at%255)
				w := &IntegerPanel{Codes: make([]int16, n*PanelRows), Scales: make([]float32, PanelRows)}
				w.Scales[r] = 1
				w.fill(codes)
				x := &PanelInputs{Columns: []int32{int32(n)}, Codes: make([]int16, n), Sums: []int32{-3}, Scales: []float32{1}, Mins: []float32{0}}
				x.Codes[column] = -3
				var got [PanelRows]float32
				MulPanel(got[:], 0, w, x, 0, 1)
				if want := -3 * float32(codes[at]); got[r] != want {
					t.Fatalf("%d columns: column %d of row %d gives %v, want %v", n, column, r, got[r], want)
				}
			}
		})
	}
}

func TestTransposeF16(t *testing.T) {
	for _, n := range []int{0, 1, 7, 8, 9, 18, 48} {
		src, stride, ldd := make([]byte, lanesMost*(2*n+6)), 2*n+6, lanesMost+n%3
		r := seeded(n)
		for i := range src {
			src[i] = byte(r.IntN(120) | r.IntN(2)<<7) // no NaN
		}
		eachForm(t, func(t *testing.T) {
			dst, row := make([]float32, n*ldd+lanesMost), make([]float32, n)
			TransposeF16(dst, ldd, src, stride, n)
			for l := range StoredLanes() {
				FromF16(row, src[l*stride:][:2*n])
				for k, want := range row {
					if got := dst[k*ldd+l]; got != want {
						t.Fatalf("%d numbers: number %d of row %d is %v, want %v", n, k, l, got, want)
					}
				}
			}
		})
	}
}

// Rounding and the largest magnitude equal plain loops, for every length and order.
func TestRoundCodes(t *testing.T) {
	for _, n := range lengths {
		x := row(seeded(n), n)
		largest := float32(0)
		for _, v := range x {
			largest = max(largest, v, -v)
		}
		inverse := float32(0)
		if largest > 0 {
			inverse = 127 / largest
		}
		if n > 2 && max(x[n/2], -x[n/2]) < largest { // a tie
			x[n/2] = 2.5 / inverse
		}
		eachForm(t, func(t *testing.T) {
			if got := MaxAbs(x); got != largest {
				t.Errorf("%d elements: the largest magnitude is %v, want %v", n, got, largest)
			}
			for _, order := range []Order{Natural, Split} {
				narrow, wide, sum := make([]int8, (n+Block)&^(Block-1)), make([]int16, n), int32(0)
				sum8, sum16 := round8(narrow, x, inverse, order), Round16(wide, x, inverse)
				for i, v := range x {
					want := int32(RoundToEven(float32(v * inverse)))
					sum += want
					if int32(wide[i]) != want || int32(narrow[order.column(i)]) != want {
						t.Fatalf("%d elements, order %d: element %d is %d and %d, want %d", n, order, i, narrow[order.column(i)], wide[i], want)
					}
				}
				if sum8 != sum || sum16 != sum {
					t.Errorf("%d elements: the sums are %d and %d, want %d", n, sum8, sum16, sum)
				}
			}
		})
	}
}

// A NaN is larger than any number, wherever it is.
func TestMaxAbsNaN(t *testing.T) {
	eachForm(t, func(t *testing.T) {
		for i := range 40 {
			x := row(seeded(i), 40)
			x[(i+1)%40] = float32(math.Inf(-1))
			if got := MaxAbs(x); got != float32(math.Inf(1)) {
				t.Errorf("element %d is -Inf: the largest magnitude is %v", (i+1)%40, got)
			}
			x[i] = float32(math.Copysign(math.NaN(), float64(i%2)-0.5))
			if got := MaxAbs(x); got == got {
				t.Errorf("element %d is NaN: the largest magnitude is %v", i, got)
			}
		}
	})
}

// BenchmarkIntegers multiplies rows of 1536 columns in groups of 32 and of 16: stored rows by
// one position and by 64, and a panel by 64.
func BenchmarkIntegers(b *testing.B) {
	const n, positions = 1536, 64
	run := func(name string, products float64, prepare, body func()) {
		for _, f := range forms {
			b.Run(name+"/"+f.name, func(b *testing.B) {
				defer func(f *form) { best = f }(best)
				best = f
				prepare()
				start := time.Now()
				for b.Loop() {
					body()
				}
				b.ReportMetric(2*products*float64(b.N)/float64(time.Since(start).Nanoseconds()), "GOP/s")
			})
		}
	}
	out := make([]float32, positions*PanelRows)
	for _, group := range []int32{32, 16} {
		columns := equalSegments(n/int(group), group)
		for bits := 2; bits <= 8; bits++ {
			for _, m := range []int{1, positions} {
				c := newStoredCase(seeded(0), bits, columns, false, 0, m)
				var w *StoredRows
				var x *StoredInputs
				run(fmt.Sprintf("stored%dx%d/g%d", bits, m, group), float64(n*lanesMost*m), func() { w, x = c.weights(), c.inputs() }, func() {
					for range lanesMost / StoredLanes() {
						MulStored(out, lanesMost, w, x, 0, m, StoredLanes())
					}
				})
			}
		}
		codes, w, x := panelCase(seeded(0), 8, columns, false, positions)
		run(fmt.Sprintf("panel/g%d", group), n*PanelRows*positions, func() { w.fill(codes) }, func() { MulPanel(out, PanelRows, w, x, 0, positions) })
		if group == 32 {
			run("interleave", n*Lanes, func() {}, func() { Interleave(w, 0, codes, n, n) })
		}
		var rounded StoredInputs
		values := row(seeded(0), n)
		run(fmt.Sprintf("round/g%d", group), n, func() { rounded.Reset(1, columns, Split) }, func() { rounded.RoundGroups(0, values) })
	}
}
