//go:build !purego && (amd64 || arm64)

package kernel

// A storing covers MulStored with one function for each number of bits, for a tile of
// positions. offset is added to codes that are signed bytes, d and scale are the factors of
// rows and of positions. min is nil unless the weights have minimums. Those of NEON take one
// position.
type storing [9]func(tile *float32, codes *byte, stride, blocks int, a *int8, columns *int32, segments int, sums *int32, offset int32, scale, d, minScale, min *float32, positions int)

func (s *storing) stored(w *StoredRows, x *StoredInputs, from, n int) {
	at := x.factor(from, 0)
	var minScale, mins *float32
	if len(w.Mins) > 0 {
		minScale, mins = &x.mins[at], &w.Mins[0]
	}
	s[w.Bits](&w.room.aligned()[0], &w.Codes[0], w.Stride, x.width, &x.block(from, 0)[0], &x.columns[0], len(x.columns), &x.sums[at], signed(w.Bits)-w.Zero, &x.scales[at], &w.Scales[0], minScale, mins, n)
}

// A vectoring covers MulVector with one function for each number of bits, for at least one set
// of StoredLanes rows. d and min are factors if scales and mins are nil, and otherwise memory for
// those that they store: float16 numbers without a table, and short scales with one.
type vectoring [9]func(dst *float32, sets int, codes *byte, stride, blocks int, a *int8, columns *int32, segments int, sums *int32, offset int32, scale, minScale, d, min *float32, scales, mins *byte, scaleTable, minTable *float32)

func (v *vectoring) vector(dst []float32, sets int, w *StoredRows, scales, mins Factors, x *StoredInputs) {
	d, stored, table := scales.pointers(w.Scales)
	var minScale, min, minTable *float32
	var least *byte
	if !mins.empty() {
		minScale = &x.mins[0]
		min, least, minTable = mins.pointers(w.Mins)
	}
	v[w.Bits](&dst[0], sets, &w.Codes[0], w.Stride, x.width, &x.codes[0], &x.columns[0], len(x.columns), &x.sums[0], signed(w.Bits)-w.Zero, &x.scales[0], minScale, d, min, stored, least, table, minTable)
}

// pointers returns where the factors are or, if they are stored in another form, room for them,
// that form and its table.
func (f *Factors) pointers(room []float32) (factors *float32, stored *byte, table *float32) {
	switch {
	case len(f.F32) > 0:
		return &f.F32[0], nil, nil
	case len(f.Short) > 0:
		return &room[0], &f.Short[0], &f.Table[0]
	}
	return &room[0], &f.F16[0], nil
}
