package hf

import (
	"fmt"
	"io"

	"thimble/internal/qtensor"
)

// groupSizes lists the sizes of groups that programs have kernels for, the largest first.
var groupSizes = []int{128, 64, 32}

// groupNear returns the largest of groupSizes that divides the columns and is not larger than size,
// or the smallest of them if all are larger; 0 if it does not divide the columns.
func groupNear(size, cols int) int {
	for i, group := range groupSizes {
		if cols%group == 0 && (group <= size || i == len(groupSizes)-1) {
			return group
		}
	}
	return 0
}

// writeCodes writes the codes of x as a stream for each row, and returns the scales. It calls
// each with the scale and the minimum of each group.
func writeCodes(w io.Writer, x *qtensor.Matrix, each func(scale, min uint16) error) (scales []byte, err error) {
	s, _ := x.Scheme.Native()
	s = s.Even()
	var reader qtensor.Reader
	row := make([]byte, 4*words(x.Cols, s.Bits))
	for r := range x.Rows {
		codes, scale, mins := reader.Codes(x, r)
		stream(row, codes[:x.Cols], s.Bits)
		if _, err := w.Write(row); err != nil {
			return nil, err
		}
		for g, v := range scale {
			min := uint16(0)
			if s.Asym {
				min = mins[g]
			}
			if err := each(v, min); err != nil {
				return nil, fmt.Errorf("row %d: %w", r, err)
			}
			scales = le.AppendUint16(scales, v)
		}
	}
	return scales, nil
}

// stream writes codes of a number of bits one after another, from the lowest bit of the first
// byte on. dst has room for all of them.
func stream(dst []byte, codes []uint8, bits int) {
	var held uint64
	n, at := 0, 0
	for _, c := range codes {
		held |= uint64(c) << n
		for n += bits; n >= 8; n -= 8 {
			dst[at] = byte(held)
			held >>= 8
			at++
		}
	}
	if n > 0 {
		dst[at] = byte(held)
		at++
	}
	clear(dst[at:])
}

// words returns the number of 32-bit words that n codes take.
func words(n, bits int) int { return (n*bits + 31) / 32 }
