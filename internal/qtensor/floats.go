package qtensor

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/bits"

	"github.com/x448/float16"
)

// MaxFloat16 is the largest finite float16, and MinNormal16 the smallest that has all 11 bits.
const (
	MaxFloat16  = 65504
	MinNormal16 = 1.0 / (1 << 14)
)

// ToFloat16 rounds x to float16, ties to even, and returns the bits. ok is false
// if x is not finite or rounds to more than MaxFloat16.
func ToFloat16(x float32) (half uint16, ok bool) {
	h := float16.Fromfloat32(x)
	return h.Bits(), h.IsFinite()
}

// FromFloat16 widens float16 bits exactly.
func FromFloat16(bits uint16) float32 { return float16.Frombits(bits).Float32() }

// ToBFloat16 rounds x to bfloat16, ties to even, and returns the bits. ok is
// false if x is not finite or rounds to infinity.
func ToBFloat16(x float32) (bits uint16, ok bool) {
	u := math.Float32bits(x)
	u += 0x7fff + u>>16&1
	return uint16(u >> 16), u>>23&0xff != 0xff
}

// SetFloats stores x as row r of a float matrix and rounds to nearest, ties to
// even. A value that the type cannot hold is an error that names its column.
func (m *Matrix) SetFloats(r int, x []float32) error {
	row, _, _ := m.planeRows(r)
	for i, v := range x[:m.Cols] {
		var stored uint16
		ok := true
		switch m.Scheme.Kind {
		case F16:
			stored, ok = ToFloat16(v)
		case BF16:
			stored, ok = ToBFloat16(v)
		default:
			binary.LittleEndian.PutUint32(row[4*i:], math.Float32bits(v))
			continue
		}
		if !ok {
			return fmt.Errorf("row %d, column %d: %g does not fit %v", r, i, v, m.Scheme)
		}
		binary.LittleEndian.PutUint16(row[2*i:], stored)
	}
	return nil
}

// NonFinite returns the first column of row r of a float or Foreign matrix that
// is NaN or infinite, or whose block has a NaN or infinite scale or minimum. It
// returns -1 if there is none.
func (d *Reader) NonFinite(m *Matrix, r int) int {
	row := d.Stored(m, r)
	if m.Scheme.Kind == Foreign {
		return m.Scheme.Layout.nonFinite(row)
	}
	return m.Scheme.nonFinite(row)
}

// nonFinite is Reader.NonFinite for a row of a float kind. It examines 8 bytes
// at a time.
func (s Scheme) nonFinite(row []byte) int {
	size := s.valueBytes()
	// A value is not finite if all its exponent bits are set. Adding the lowest of
	// them then carries into the sign bit, which the mask has cleared.
	exponent, lowest := uint64(0x7f800000), uint64(0x00800000)
	switch s.Kind {
	case F16:
		exponent, lowest = 0x7c00, 0x0400
	case BF16:
		exponent, lowest = 0x7f80, 0x0080
	}
	for width := 8 * size; width < 64; width *= 2 { // repeat the masks for every value of a word
		exponent |= exponent << width
		lowest |= lowest << width
	}
	sign := (exponent + lowest) &^ exponent
	column := func(i int, word uint64) int { // first bad column in the word at byte i, or -1
		if bad := (word&exponent + lowest) & sign; bad != 0 {
			return (i + bits.TrailingZeros64(bad)/8) / size
		}
		return -1
	}
	i := 0
	for ; i+8 <= len(row); i += 8 {
		if c := column(i, binary.LittleEndian.Uint64(row[i:])); c >= 0 {
			return c
		}
	}
	var rest [8]byte
	copy(rest[:], row[i:])
	return column(i, binary.LittleEndian.Uint64(rest[:]))
}
