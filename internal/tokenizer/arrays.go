package tokenizer

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

// byteStrings is an array of byte strings in CBOR. Its elements are parts of the encoding.
type byteStrings [][]byte

// UnmarshalCBOR decodes a well-formed array.
func (s *byteStrings) UnmarshalCBOR(data []byte) (err error) {
	*s, err = elements(data, majorBytes, func(length uint64, rest *items) ([]byte, error) {
		element := (*rest)[:length:length]
		*rest = (*rest)[length:]
		return element, nil
	})
	return err
}

// numbers is an array of integers from 0 to 1<<32 - 1 in CBOR.
type numbers []uint32

// UnmarshalCBOR decodes a well-formed array.
func (s *numbers) UnmarshalCBOR(data []byte) (err error) {
	*s, err = elements(data, majorUnsigned, func(value uint64, _ *items) (uint32, error) {
		if value > math.MaxUint32 {
			return 0, errors.New("a number exceeds 32 bits")
		}
		return uint32(value), nil
	})
	return err
}

// Major types (RFC 8949, section 3.1).
const (
	majorUnsigned = 0
	majorBytes    = 2
	majorArray    = 4
)

// items are well-formed CBOR items of definite length, one after the other.
type items []byte

// elements decodes an array of items of the given major type. take makes an element of the item's
// argument, and takes what belongs to it from the rest.
func elements[T any](data []byte, major byte, take func(argument uint64, rest *items) (T, error)) ([]T, error) {
	a := items(data)
	n, err := a.head(majorArray)
	if err == nil && n > uint64(len(a)) { // an element takes a byte at least
		err = errTruncated
	}
	if err != nil {
		return nil, err
	}
	all := make([]T, n)
	for i := range all {
		argument, err := a.head(major)
		if err == nil {
			all[i], err = take(argument, &a)
		}
		if err != nil {
			return nil, fmt.Errorf("element %d: %w", i, err)
		}
	}
	return all, nil
}

var errTruncated = errors.New("the array is longer than its encoding")

// head reads the head of the next item, which must be of the given major type, and returns
// its argument: the value of a number, the length of a byte string or of an array. The bytes of
// a byte string are there.
func (a *items) head(major byte) (uint64, error) {
	b := *a
	if len(b) == 0 {
		return 0, errTruncated
	}
	if b[0]>>5 != major {
		return 0, fmt.Errorf("the item has the major type %d, want %d", b[0]>>5, major)
	}
	value, rest := uint64(b[0]&31), b[1:]
	if value >= 24 { // it follows, in 1, 2, 4 or 8 bytes
		n := 1 << (value - 24)
		if value > 27 || len(rest) < n {
			return 0, errTruncated
		}
		var wide [8]byte
		copy(wide[8-n:], rest[:n])
		value, rest = binary.BigEndian.Uint64(wide[:]), rest[n:]
	}
	if major == majorBytes && value > uint64(len(rest)) {
		return 0, errTruncated
	}
	*a = rest
	return value, nil
}
