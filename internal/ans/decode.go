package ans

import (
	"encoding/binary"
	"errors"
	"fmt"

	"thimble/internal/kernel"
)

// A Decoder decodes the pieces of one matrix, several at once if need be.
type Decoder struct {
	rows, cols int
	code       *code
	slots      []*kernel.RowSlots // by class of a row
}

// NewDecoder reads the head of a (rows, cols) matrix whose elements are below limit. It takes
// memory in proportion to rows and cols, whatever the head is.
func NewDecoder(head []byte, rows, cols, limit int) (*Decoder, error) {
	c, err := readCode(head, rows, cols)
	if err != nil {
		return nil, err
	}
	for _, f := range c.freq {
		for s := limit; s < symbols; s++ {
			if f.of[s] > 0 {
				return nil, fmt.Errorf("its code has the number %d, want less than %d", s, limit)
			}
		}
	}
	slots := make([]kernel.Slot, len(c.freq)*tableSize)
	for i, f := range c.freq {
		kernel.FillSlots(slots[i*tableSize:][:tableSize], &f.of)
	}
	d := &Decoder{rows: rows, cols: cols, code: c}
	of := make([]uint8, cols)
	for _, class := range c.row {
		for int(class) >= len(d.slots) {
			d.slots = append(d.slots, nil)
		}
		if d.slots[class] == nil {
			for i, x := range c.column {
				of[i] = c.table[class+x]
			}
			d.slots[class] = kernel.NewRowSlots(slots, of)
		}
	}
	return d, nil
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
