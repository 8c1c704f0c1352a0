package ans

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// A Decoder decodes the pieces of one matrix, several at once if need be.
type Decoder struct {
	rows, cols int
	code       *code
	tables     [][]*decodeTable // by class of a row: the table of each column
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
	all := make([]*decodeTable, len(c.freq))
	for i, f := range c.freq {
		all[i] = f.decoder()
	}
	d := &Decoder{rows: rows, cols: cols, code: c}
	for _, class := range c.row {
		for int(class) >= len(d.tables) {
			d.tables = append(d.tables, nil)
		}
		if d.tables[class] == nil {
			t := make([]*decodeTable, cols)
			for i, x := range c.column {
				t[i] = all[c.table[class+x]]
			}
			d.tables[class] = t
		}
	}
	return d, nil
}

var (
	errShort = errors.New("the code ends early")
	errLong  = errors.New("the code does not end where its last row does")
)

// Piece decodes piece i from its bytes and calls row with each row's elements, which are valid
// until row returns. Whatever the bytes are, it reads and writes nothing else, and takes time
// in proportion to the elements.
func (d *Decoder) Piece(i int, data []byte, row func(r int, codes []uint8)) error {
	from := i * PieceRows(d.cols)
	to := min(from+PieceRows(d.cols), d.rows)
	whole := len(data)
	if whole < leastBytes((to-from)*d.cols) {
		return errShort
	}
	codes := make([]uint8, d.cols)
	// A row reads at most this many bytes from where it begins, and the first also the states.
	most := (tableBits*(d.cols+lanes)+7)/8 + 16
	var state [lanes]uint32
	begin := bitReader{bytes: data}
	for k := range state {
		state[k] = begin.take(tableBits)
	}
	if begin.short {
		return errShort
	}
	at, end := uint(begin.at), uint(8*len(data))
	for r := from; r < to; r++ {
		if at > end {
			return errShort
		}
		if int(at/8)+most > len(data) {
			// The rest, and zeros for whatever a row reads beyond it.
			padded := make([]byte, len(data)-int(at/8)+2*most)
			copy(padded, data[at/8:])
			end -= at &^ 7
			at &= 7
			data = padded
		}
		at = decodeRow(codes, data, at, d.tables[d.code.row[r]], &state)
		row(r, codes)
	}
	if state != [lanes]uint32{} || at > end || end-at >= 8 && whole != leastBytes((to-from)*d.cols) {
		return errLong
	}
	for ; at < end; at++ {
		if data[at/8]>>(at%8)&1 != 0 {
			return errLong
		}
	}
	return nil
}

// decodeRow decodes a row, which begins at bit at of data, and returns where it ends. data has
// most bytes from there on, see Piece.
func decodeRow(codes []uint8, data []byte, at uint, tables []*decodeTable, state *[lanes]uint32) uint {
	const mask = tableSize - 1
	s0, s1, s2, s3 := state[0], state[1], state[2], state[3]
	tables = tables[:len(codes)]
	for len(codes) >= lanes && len(tables) >= lanes {
		buf := binary.LittleEndian.Uint64(data[at>>3:]) >> (at & 7) // at least 57 bits, and 4 symbols take at most 44
		e0, e1, e2, e3 := tables[0][s0&mask], tables[1][s1&mask], tables[2][s2&mask], tables[3][s3&mask]
		n0, n1, n2, n3 := uint(uint8(e0>>8)), uint(uint8(e1>>8)), uint(uint8(e2>>8)), uint(uint8(e3>>8))
		s0 = e0>>16 + uint32(buf)&^(^uint32(0)<<(n0&31))
		buf >>= n0 & 63
		s1 = e1>>16 + uint32(buf)&^(^uint32(0)<<(n1&31))
		buf >>= n1 & 63
		s2 = e2>>16 + uint32(buf)&^(^uint32(0)<<(n2&31))
		buf >>= n2 & 63
		s3 = e3>>16 + uint32(buf)&^(^uint32(0)<<(n3&31))
		at += n0 + n1 + n2 + n3
		binary.LittleEndian.PutUint32(codes, uint32(uint8(e0))|uint32(uint8(e1))<<8|uint32(uint8(e2))<<16|e3<<24)
		codes, tables = codes[lanes:], tables[lanes:]
	}
	*state = [lanes]uint32{s0, s1, s2, s3}
	for i := range codes { // fewer than lanes
		e := tables[i][state[i]&mask]
		buf := binary.LittleEndian.Uint64(data[at>>3:]) >> (at & 7)
		n := uint(uint8(e >> 8))
		state[i] = e>>16 + uint32(buf)&^(^uint32(0)<<(n&31))
		at += n
		codes[i] = uint8(e)
	}
	return at
}
