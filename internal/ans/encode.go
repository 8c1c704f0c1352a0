package ans

import (
	"context"
	"encoding/binary"
	"slices"

	"thimble/internal/kernel"
	"thimble/internal/parallel"
)

// A Rows is a matrix of elements to be coded.
type Rows struct {
	Rows, Cols int // neither is 0
	// Zero is the element from which the size of others is measured: that of a weight of 0.
	Zero uint8
	// Row writes row r to dst, (Cols). It is called several times for a row, by several
	// goroutines.
	Row func(dst []uint8, r int)
}

// Encode codes m on all cores. The first result is the head, and the others are the pieces.
// They depend only on m.
func (m *Rows) Encode(ctx context.Context) ([][]byte, error) {
	c, err := m.code(ctx)
	if err != nil {
		return nil, err
	}
	encoders := make([]*encodeTable, len(c.freq))
	for i, f := range c.freq {
		encoders[i] = f.encoder()
	}
	n := PieceRows(m.Cols)
	out := make([][]byte, 1+Pieces(m.Rows, m.Cols))
	out[0] = c.write()
	workers := make([]encoder, parallel.Workers())
	return out, parallel.Ranges(ctx, m.Rows, n, func(worker, from, to int) error {
		out[1+from/n] = workers[worker].piece(m, c, encoders, from, to)
		return nil
	})
}

// An encoder is the scratch memory of one worker.
type encoder struct {
	codes []uint8
	words []uint16 // of a piece, the last first
}

// piece codes the rows [from, to), the last element first.
func (e *encoder) piece(m *Rows, c *code, tables []*encodeTable, from, to int) []byte {
	if e.codes == nil {
		e.codes = make([]uint8, m.Cols)
	}
	e.words = e.words[:0]
	state := make([]uint32, states(m.Rows, m.Cols))
	for k := range state {
		state[k] = kernel.LowState
	}
	for r := to - 1; r >= from; r-- {
		m.Row(e.codes, r)
		for i := m.Cols - 1; i >= 0; i-- {
			x := &state[i%len(state)]
			before, full := tables[c.table[c.row[r]+c.column[i]]].put(*x, e.codes[i])
			if full {
				e.words = append(e.words, uint16(*x))
			}
			*x = before
		}
	}
	n := 4*len(state) + 2*len(e.words)
	piece := make([]byte, 0, max(n, leastBytes((to-from)*m.Cols)))
	for _, x := range state {
		piece = binary.LittleEndian.AppendUint32(piece, x)
	}
	for _, w := range slices.Backward(e.words) {
		piece = binary.LittleEndian.AppendUint16(piece, w)
	}
	return piece[:cap(piece)]
}

// code chooses classes and tables.
func (m *Rows) code(ctx context.Context) (best *code, err error) {
	perRow, perColumn, err := m.squares(ctx)
	if err != nil {
		return nil, err
	}
	// Classes of rows or columns that hardly differ take more bits than they save.
	sameRow, sameColumn := make([]uint8, m.Rows), make([]uint8, m.Cols)
	byRow, byColumn := classes(perRow, m.Cols), classes(perColumn, m.Rows)
	least := 0.0
	for _, c := range []*code{{row: byRow, column: byColumn}, {row: sameRow, column: byColumn}, {row: byRow, column: sameColumn}, {row: sameRow, column: sameColumn}} {
		counts, err := m.count(ctx, c)
		if err != nil {
			return nil, err
		}
		if bits := c.share(counts); best == nil || bits < least {
			best, least = c, bits
		}
	}
	return best, nil
}

// each calls f with every row, on all cores.
func (m *Rows) each(ctx context.Context, f func(worker, r int, codes []uint8)) error {
	const rowsPerTask = 64
	codes := make([][]uint8, parallel.Workers())
	return parallel.Ranges(ctx, m.Rows, rowsPerTask, func(worker, from, to int) error {
		if codes[worker] == nil {
			codes[worker] = make([]uint8, m.Cols)
		}
		for r := from; r < to; r++ {
			m.Row(codes[worker], r)
			f(worker, r, codes[worker])
		}
		return nil
	})
}

// squares returns the sum of squares of each row and of each column.
func (m *Rows) squares(ctx context.Context) (rows, columns []uint64, err error) {
	rows = make([]uint64, m.Rows)
	parts := make([][]uint64, parallel.Workers()) // of columns
	err = m.each(ctx, func(worker, r int, codes []uint8) {
		if parts[worker] == nil {
			parts[worker] = make([]uint64, m.Cols)
		}
		for i, s := range codes {
			d := int64(s) - int64(m.Zero)
			rows[r] += uint64(d * d)
			parts[worker][i] += uint64(d * d)
		}
	})
	columns = make([]uint64, m.Cols)
	for _, part := range parts {
		for i, n := range part {
			columns[i] += n
		}
	}
	return rows, columns, err
}

// count returns the number of each element for each sum of two classes.
func (m *Rows) count(ctx context.Context, c *code) ([][symbols]uint64, error) {
	sums := c.sums()
	parts := make([][][symbols]uint64, parallel.Workers())
	err := m.each(ctx, func(worker, r int, codes []uint8) {
		if parts[worker] == nil {
			parts[worker] = make([][symbols]uint64, sums)
		}
		for i, s := range codes {
			parts[worker][c.row[r]+c.column[i]][s]++
		}
	})
	counts := make([][symbols]uint64, sums)
	for _, part := range parts {
		for i := range part {
			for s, n := range part[i] {
				counts[i][s] += n
			}
		}
	}
	return counts, err
}
