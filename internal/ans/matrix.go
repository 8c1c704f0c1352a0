package ans

import (
	"context"
	"sync"

	"thimble/internal/qtensor"
)

// Planes returns the planes of an integer matrix for coding: its codes one by one, whatever
// their width, and its scales and minimums as bytes.
func Planes(m *qtensor.Matrix) []*Rows {
	readers := sync.Pool{New: func() any { return new(qtensor.Reader) }}
	planes := []*Rows{{m.Rows, m.Cols, uint8(m.Scheme.Zero()), func(dst []uint8, r int) {
		reader := readers.Get().(*qtensor.Reader)
		defer readers.Put(reader)
		codes, _, _ := reader.Codes(m, r)
		copy(dst, codes)
	}}}
	factors := [][]byte{m.Scales}
	if m.Scheme.Asym {
		factors = append(factors, m.Mins)
	}
	cols := m.Scheme.ScaleBytes(m.Cols)
	for _, plane := range factors {
		planes = append(planes, &Rows{m.Rows, cols, 0, func(dst []uint8, r int) { copy(dst, plane[r*cols:]) }})
	}
	return planes
}

// Size returns the bytes that an integer matrix takes when it is coded.
func Size(ctx context.Context, m *qtensor.Matrix) (n int64, err error) {
	for _, p := range Planes(m) {
		pieces, err := p.Encode(ctx)
		if err != nil {
			return 0, err
		}
		for _, b := range pieces {
			n += int64(len(b))
		}
	}
	return n, nil
}
