//go:build unix

package kernel

import (
	"runtime/debug"
	"slices"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// guarded returns n bytes that end at the start of an inaccessible page.
func guarded(t *testing.T, n int) []byte {
	page := unix.Getpagesize()
	size := (n + page - 1) / page * page
	m, err := unix.Mmap(-1, 0, size+page, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Munmap(m) })
	if err := unix.Mprotect(m[size:], unix.PROT_NONE); err != nil {
		t.Fatal(err)
	}
	return m[size-n : size : size]
}

// guardedRow is guarded for n float32 numbers.
func guardedRow(t *testing.T, n int) []float32 {
	x := unsafe.Slice((*float32)(unsafe.Pointer(unsafe.SliceData(guarded(t, 4*n)))), n)
	copy(x, row(seeded(n), n))
	return x
}

// guardedCopy returns a copy of x that ends at the start of an inaccessible page.
func guardedCopy[T any](t *testing.T, x []T) []T {
	if len(x) == 0 {
		return x
	}
	y := unsafe.Slice((*T)(unsafe.Pointer(unsafe.SliceData(guarded(t, len(x)*int(unsafe.Sizeof(x[0])))))), len(x))
	copy(y, x)
	return y
}

// TestBounds checks that no form accesses memory past the end of a row: each row
// ends at an inaccessible page.
func TestBounds(t *testing.T) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	eachForm(t, func(t *testing.T) {
		for _, n := range lengths {
			if n == 0 {
				continue
			}
			a, b, c := guardedRow(t, n), guardedRow(t, n), guardedRow(t, n)
			Dot(a, b)
			Compare(a, b, guardedCopy(t, make([]float64, n)))
			Sum(a)
			Add(a, b)
			RMSNorm(a, b, c, 1e-5)
			SiLUMul(a, b, c)
			Rotate(guardedRow(t, 2*n), b, c)
			Mix(a, b[:min(n, 3)], guardedRow(t, min(n, 3)*n), n)
			MixRows(guardedRow(t, 4*n), n, guardedRow(t, 3*5+5), 5, 4, 2, guardedRow(t, 5*n), n, n)
			Softmax(a)
			MaxAbs(a)
			Bounds(a)
			GridCodes(guarded(t, n), a, 0, 1, 0, 1, 0)
			four := new([Ranges]float32)
			RangeErrors(four, a, b, four, four, four, 1)
			RangeSums(new([5][Ranges]float32), a, b, four, four, 1)
			for _, n := range []int{levels, Candidates} {
				GridErrors(guardedRow(t, n), a, b, guardedRow(t, n), guardedRow(t, n), 0, 1)
			}
			if n < 100 {
				lanes := make([][Descents]float32, n)
				one := (*[Descents]float32)(guardedRow(t, Descents))
				GridDescents(one, guardedCopy(t, lanes), guardedCopy(t, lanes), a, b, guardedRow(t, n*n), n, one, one, 0, 1)
			}
			round8(guardedCopy(t, make([]int8, n)), a, 1, Natural)
			Round16(guardedCopy(t, make([]int16, n)), a, 1)
			lanes := StoredLanes()
			TransposeF16(guardedRow(t, n*lanes), lanes, guarded(t, lanes*2*n), 2*n, n)
			short := ShortBytes(n)
			TransposeShort(guardedRow(t, n*lanes), lanes, guarded(t, lanes*short), short, n, (*[16]float32)(guardedRow(t, 16)))
			FromF16(a, guarded(t, 2*n))
			FromBF16(a, guarded(t, 2*n))
			FromF32(a, guarded(t, 4*n))
			codes := guarded(t, n)
			for _, bits := range []int{1, 2, 4, 8} {
				Unpack(codes, guarded(t, (n*bits+7)/8), bits, 0, true)
			}
			for _, group := range []int{n, 16, 32, 5} {
				groups := (n + group - 1) / group
				Affine(a, codes, guardedRow(t, groups), guardedRow(t, groups), group)
			}
			for _, k := range []int{16, 64} {
				for _, m := range []int{1, 2, 5, 12} {
					r := min(n, 65)
					for _, f := range []Float{F32, F16, BF16} {
						DotRows(guardedRow(t, m), guardedRow(t, k), guarded(t, m*k*f.size()), f)
					}
					Gemm(guardedRow(t, m*r), r, guardedRow(t, m*k), k, guardedRow(t, r*k), k, m, r, k)
				}
			}
		}
	})
}

// TestStatesBounds is TestBounds for entropy decoding: from too many bytes, from exactly what a row
// takes, and from too few.
func TestStatesBounds(t *testing.T) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	slots := guardedCopy(t, stateSlots())
	eachForm(t, func(t *testing.T) {
		for _, n := range lengths {
			row := newStateRow(seeded(n), n, States, slots)
			row.slots.first = guardedCopy(t, row.slots.first)
			for _, size := range []int{len(row.data) + 5, len(row.data), len(row.data) / 2} {
				row.slots.Decode(guardedCopy(t, row.codes), slices.Clone(row.state), guardedCopy(t, append(row.data, 1, 2, 3, 4, 5)[:size]))
			}
		}
	})
}

// TestIntegerBounds is TestBounds for integer products.
func TestIntegerBounds(t *testing.T) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	eachForm(t, func(t *testing.T) {
		for i := range 2 * 7 {
			bits := 2 + i/2
			segments := [][]int32{{32, 64, 32}, equalSegments(8, 16)}[i%2]
			c := newStoredCase(seeded(bits), bits, segments, true, bits%3, 1+bits)
			w, x, lanes := c.weights(), c.inputs(), StoredLanes()
			w.Codes, w.Scales, w.Mins = guardedCopy(t, w.Codes), guardedCopy(t, w.Scales), guardedCopy(t, w.Mins)
			x.columns, x.codes, x.sums = guardedCopy(t, x.columns), guardedCopy(t, x.codes), guardedCopy(t, x.sums)
			x.scales, x.mins = guardedCopy(t, x.scales), guardedCopy(t, x.mins)
			for p := range c.positions {
				x.RoundGroups(p, guardedRow(t, 4*Block))
			}
			MulStored(guardedRow(t, c.positions*lanes), lanes, w, x, 0, c.positions, lanes)
		}
		for i := range 3 * 7 {
			bits, form := 2+i/3, i%3
			r, columns := seeded(bits), []int32{32, 64, 32, 32, 96, 32, 32, 32, 32 * int32(bits%4+1)}
			if (bits+i)%2 == 0 {
				columns = equalSegments(8+2*(bits%4), 16)
			}
			c := newStoredCase(r, bits, columns, true, 0, 1)
			w, x, rows := c.weights(), c.inputs(), 2*lanesMost
			w.Codes = guardedCopy(t, make([]byte, rows*w.Stride))
			room := (len(columns) + 7) / 8 * 8 * lanesMost
			w.Scales, w.Mins = guardedRow(t, room), guardedRow(t, room)
			x.columns, x.codes, x.sums = guardedCopy(t, x.columns), guardedCopy(t, x.codes), guardedCopy(t, x.sums)
			x.scales, x.mins = guardedCopy(t, x.scales), guardedCopy(t, x.mins)
			factors := func() Factors {
				f := newFactorCase(r, form, rows, len(columns)).Factors
				f.F16, f.F32, f.Short = guardedCopy(t, f.F16), guardedCopy(t, f.F32), guardedCopy(t, f.Short)
				return f
			}
			MulVector(guardedRow(t, rows), w, factors(), factors(), x)
		}
		for _, positions := range []int{1, 4, 7} {
			codes, w, x := panelCase(seeded(positions), 8, []int32{8, 24, 16}, true, positions)
			w.Codes, w.Scales, w.Mins = guardedCopy(t, w.Codes), guardedCopy(t, w.Scales), guardedCopy(t, w.Mins)
			x.Columns, x.Codes, x.Sums = guardedCopy(t, x.Columns), guardedCopy(t, x.Codes), guardedCopy(t, x.Sums)
			x.Scales, x.Mins = guardedCopy(t, x.Scales), guardedCopy(t, x.Mins)
			w.fill(guardedCopy(t, codes))
			MulPanel(guardedRow(t, positions*PanelRows), PanelRows, w, x, 0, positions)
		}
	})
}
