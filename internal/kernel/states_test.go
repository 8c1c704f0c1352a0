package kernel

import (
	"bytes"
	"encoding/binary"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// normalSlots returns the frequencies of rounded normal variables of a deviation.
func normalSlots(deviation float64) (f [256]uint16) {
	left := 1 << SlotBits
	for s := range f {
		z := (float64(s) - 128) / deviation
		f[s] = uint16(4000 * math.Exp(-z*z/2) / math.Sqrt(2*math.Pi) / deviation)
		left -= int(f[s])
	}
	f[128] += uint16(left)
	return f
}

// A stateRow is a test case: a row, and its code. The tables differ from column to column.
type stateRow struct {
	slots RowSlots
	codes []uint8
	state []uint32
	data  []byte
}

// stateTables holds the frequencies of the tables of test cases, and slots the tables.
var stateTables = [][256]uint16{
	normalSlots(0.5), normalSlots(1), normalSlots(3), normalSlots(10), normalSlots(60), {7: TableSlots - 1, 6: 1},
}

func stateSlots() []Slot {
	slots := make([]Slot, len(stateTables)*TableSlots)
	for i, f := range stateTables {
		FillSlots(slots[i*TableSlots:][:TableSlots], &f)
	}
	return slots
}

func newStateRow(r *rand.Rand, n, states int, slots []Slot) *stateRow {
	of := make([]uint8, n)
	row := &stateRow{codes: make([]uint8, n), state: make([]uint32, states)}
	for i := range of {
		of[i] = uint8(r.IntN(len(stateTables)))
		row.codes[i] = slots[int(of[i])*TableSlots+r.IntN(TableSlots)].Element()
	}
	row.slots.Set(slots, of, []uint8{0, 1, 2, 3, 4, 5})
	for i := range row.state {
		row.state[i] = LowState + r.Uint32N(1<<20)
	}
	var words []uint16 // the last first
	for i := n - 1; i >= 0; i-- {
		x, f := &row.state[i%states], stateTables[of[i]]
		s := row.codes[i]
		if *x >= uint32(f[s])<<19 {
			words = append(words, uint16(*x))
			*x >>= 16
		}
		before := uint32(0)
		for _, g := range f[:s] {
			before += uint32(g)
		}
		*x = *x/uint32(f[s])<<SlotBits + *x%uint32(f[s]) + before
	}
	for _, w := range slices.Backward(words) {
		row.data = binary.LittleEndian.AppendUint16(row.data, w)
	}
	return row
}

func TestDecodeStates(t *testing.T) {
	slots := stateSlots()
	eachForm(t, func(t *testing.T) {
		for i, n := range lengths {
			row := newStateRow(seeded(n), n, [...]int{States, States, 1, 4}[i%4], slots)
			for _, spare := range []int{0, 1, 2, 63, 71, 72, 73} {
				got, state := make([]uint8, n+1), slices.Clone(row.state)
				rest, ok := row.slots.Decode(got[:n], state, append(slices.Clip(row.data), make([]byte, spare)...))
				if !ok || len(rest) != spare || !bytes.Equal(got[:n], row.codes) || got[n] != 0 {
					t.Fatalf("%d elements and %d bytes more: %v, %d bytes left, %v, want %v", n, spare, ok, len(rest), got, row.codes)
				}
			}
			for short := 1; short <= len(row.data); short += 7 {
				if _, ok := row.slots.Decode(make([]uint8, n), slices.Clone(row.state), row.data[:len(row.data)-short]); ok {
					t.Fatalf("%d elements decode from %d bytes less", n, short)
				}
			}
		}
	})
}

// Whatever the stream is, every form gives the same, and reads nothing else.
func TestDecodeStatesHostile(t *testing.T) {
	type result struct {
		codes []uint8
		state []uint32
		rest  int
		ok    bool
	}
	var want []result // of the first form
	slots := stateSlots()
	eachForm(t, func(t *testing.T) {
		r, first := seeded(1), want == nil
		for n := range 300 {
			row := newStateRow(r, n, States, slots)
			for i := range row.state {
				row.state[i] = LowState + r.Uint32N(LowState<<16-LowState)
			}
			data := make([]byte, r.IntN(2*n+2*groupBytes))
			for i := range data {
				data[i] = uint8(r.Uint32())
			}
			got := result{codes: make([]uint8, n), state: row.state}
			rest, ok := row.slots.Decode(got.codes, got.state, data)
			got.rest, got.ok = len(rest), ok
			if first {
				want = append(want, got)
			} else if w := want[n]; !bytes.Equal(got.codes, w.codes) || !slices.Equal(got.state, w.state) || got.rest != w.rest || got.ok != w.ok {
				t.Fatalf("%d elements: %v, want %v", n, got, w)
			}
		}
	})
}

func BenchmarkDecodeStates(b *testing.B) {
	rows := make([]*stateRow, 16)
	n, r, slots := 576, seeded(1), stateSlots()
	for i := range rows {
		rows[i] = newStateRow(r, n, States, slots)
		rows[i].data = append(rows[i].data, make([]byte, groupBytes)...)
	}
	dst, state := make([]uint8, n), make([]uint32, States)
	for _, f := range forms {
		b.Run(f.name, func(b *testing.B) {
			defer func(f *form) { best = f }(best)
			best = f
			i := 0
			for b.Loop() {
				row := rows[i%len(rows)]
				copy(state, row.state)
				if _, ok := row.slots.Decode(dst, state, row.data); !ok {
					b.Fatal("the row ends early")
				}
				i++
			}
			b.ReportMetric(float64(b.N*n)/float64(b.Elapsed().Nanoseconds()), "Gcodes/s")
		})
	}
}
