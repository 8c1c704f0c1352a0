package ans

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"thimble/internal/kernel"
)

// A Decoder decodes the pieces of one matrix, several at once if need be.
type Decoder struct {
	rows, cols int
	code       *code
	tables     []kernel.Slot
	slots      []*kernel.RowSlots // by class of a row; nil for a class of no row
	spare      []*kernel.RowSlots
}

// NewDecoder returns a Decoder, see Reset.
func NewDecoder(head []byte, rows, cols, limit int) (*Decoder, error) {
	d := &Decoder{}
	return d, d.Reset(head, rows, cols, limit)
}

// Reset makes d the Decoder of another matrix, and uses its memory again. It reads the head of a
// (rows, cols) matrix whose elements are below limit. It takes memory in proportion to rows and
// cols, whatever the head is.
func (d *Decoder) Reset(head []byte, rows, cols, limit int) error {
	c, err := readCode(head, rows, cols)
	if err != nil {
		return err
	}
	for _, f := range c.freq {
		for s := limit; s < symbols; s++ {
			if f.of[s] > 0 {
				return fmt.Errorf("its code has the number %d, want less than %d", s, limit)
			}
		}
	}
	n := len(c.freq) * tableSize
	d.tables = slices.Grow(d.tables[:0], n)[:n]
	for i, f := range c.freq {
		kernel.FillSlots(d.tables[i*tableSize:][:tableSize], &f.of)
	}
	for _, s := range d.slots {
		if s != nil {
			d.spare = append(d.spare, s)
		}
	}
	d.rows, d.cols, d.code, d.slots = rows, cols, c, make([]*kernel.RowSlots, maxClass+1)
	most := slices.Max(c.column)
	for _, class := range c.row {
		if d.slots[class] == nil {
			s := &kernel.RowSlots{}
			if n := len(d.spare); n > 0 {
				s, d.spare = d.spare[n-1], d.spare[:n-1]
			}
			s.Set(d.tables, c.column, c.table[class:][:most+1])
			d.slots[class] = s
		}
	}
	return nil
}

var (
	errShort = errors.New("the code ends early")
	errLong  = errors.New("the code does not end where its last row does")
	errState = errors.New("a state of the code is out of range")
)

// Piece decodes piece i from its bytes into dst, which has room for its elements. Whatever the
// bytes are, it reads and writes nothing else, and takes time in proportion to the elements.
func (d *Decoder) Piece(dst []uint8, i int, data []byte) error {
	from := i * PieceRows(d.cols)
	to := min(from+PieceRows(d.cols), d.rows)
	least := leastBytes((to - from) * d.cols)
	padded := len(data) == least
	state := make([]uint32, states(d.rows, d.cols))
	if len(data) < max(least, 4*len(state)) {
		return errShort
	}
	for k := range state {
		state[k] = binary.LittleEndian.Uint32(data[4*k:])
		if state[k] < kernel.LowState || state[k] >= kernel.LowState<<16 {
			return errState
		}
	}
	data = data[4*len(state):]
	for r := from; r < to; r++ {
		var ok bool
		if data, ok = d.slots[d.code.row[r]].Decode(dst[:d.cols], state, data); !ok {
			return errShort
		}
		dst = dst[d.cols:]
	}
	for _, x := range state {
		if x != kernel.LowState {
			return errLong
		}
	}
	for _, b := range data {
		if b != 0 || !padded {
			return errLong
		}
	}
	return nil
}
