package gguf

import (
	"encoding/binary"
	"fmt"
	"math"
	"reflect"
	"unicode/utf8"

	"thimble/internal/defect"
)

// Types of a key's value (ggml, docs/gguf.md, gguf_metadata_value_type).
const (
	kindU32    = 4
	kindI32    = 5
	kindF32    = 6
	kindBool   = 7
	kindString = 8
	kindArray  = 9
	kindU64    = 10
)

// kinds lists each type's name and its size in bytes. The size of a string is that of its
// length prefix, and that of an array is unknown.
var kinds = []struct {
	name string
	size uint64
}{
	{"u8", 1}, {"i8", 1}, {"u16", 2}, {"i16", 2}, {"u32", 4}, {"i32", 4}, {"f32", 4}, {"bool", 1}, {"string", 8}, {"array", 0},
	{"u64", 8}, {"i64", 8}, {"f64", 8},
}

// typeName returns the name of a value's type; item is the type of an array's items.
func typeName(kind, item uint32) string {
	if kind == kindArray {
		return "array of " + kinds[item].name
	}
	return kinds[kind].name
}

var le = binary.LittleEndian

// A codec converts one value of a type to bytes and back.
type codec[T any] struct {
	kind   uint32
	append func(b []byte, v T) []byte
	// read returns the value at the start of b, which must contain one, and its length in
	// bytes.
	read func(b []byte) (v T, n int, err error)
}

var (
	u32s = codec[uint32]{kindU32, le.AppendUint32, func(b []byte) (uint32, int, error) { return le.Uint32(b), 4, nil }}
	u64s = codec[uint64]{kindU64, le.AppendUint64, func(b []byte) (uint64, int, error) { return le.Uint64(b), 8, nil }}
	i32s = codec[int32]{
		kindI32,
		func(b []byte, v int32) []byte { return le.AppendUint32(b, uint32(v)) },
		func(b []byte) (int32, int, error) { return int32(le.Uint32(b)), 4, nil },
	}
	f32s = codec[float32]{
		kindF32,
		func(b []byte, v float32) []byte { return le.AppendUint32(b, math.Float32bits(v)) },
		func(b []byte) (float32, int, error) { return math.Float32frombits(le.Uint32(b)), 4, nil },
	}
	bools = codec[bool]{kindBool, appendBool, readBool}
	texts = codec[string]{kindString, appendString, readString}
)

func appendBool(b []byte, v bool) []byte {
	if v {
		return append(b, 1)
	}
	return append(b, 0)
}

func readBool(b []byte) (bool, int, error) {
	if b[0] > 1 {
		return false, 0, fmt.Errorf("is %d, want 0 or 1", b[0])
	}
	return b[0] == 1, 1, nil
}

func appendString(b []byte, s string) []byte {
	return append(le.AppendUint64(b, uint64(len(s))), s...)
}

func readString(b []byte) (string, int, error) {
	end := 8 + int(le.Uint64(b)) // inside the file, see cursor.value
	s := string(b[8:end])
	if !utf8.ValidString(s) {
		return "", 0, fmt.Errorf("is not UTF-8: %s", defect.Printable(s))
	}
	return s, end, nil
}

// readAll returns the values of v.
func (c *codec[T]) readAll(v *value) ([]T, error) {
	all, b := make([]T, v.n), v.raw
	for i := range all {
		x, n, err := c.read(b)
		if err != nil {
			return nil, fmt.Errorf("%s %d %w", kinds[c.kind].name, i, err)
		}
		all[i], b = x, b[n:]
	}
	return all, nil
}

// An encoding describes how GGUF stores the value of a field of metadata.
type encoding struct {
	kind, item uint32 // item of an array, otherwise kind again
	encode     func(place any) []byte
	decode     func(place any, v *value) error
}

// encodings lists the encoding of each type of place, a pointer to a field of metadata.
var encodings = map[reflect.Type]encoding{
	reflect.TypeFor[*string]():    text(),
	reflect.TypeFor[**uint32]():   scalar(u32s),
	reflect.TypeFor[**int32]():    scalar(i32s),
	reflect.TypeFor[**float32]():  scalar(f32s),
	reflect.TypeFor[**bool]():     scalar(bools),
	reflect.TypeFor[*[]string]():  array(texts),
	reflect.TypeFor[*[]int32]():   array(i32s),
	reflect.TypeFor[*[]uint32]():  array(u32s),
	reflect.TypeFor[*[]uint64]():  array(u64s),
	reflect.TypeFor[*[]float32](): array(f32s),
	reflect.TypeFor[*[]bool]():    array(bools),
}

// encodingOf returns the encoding of a place in metadata.
func encodingOf(place any) encoding {
	e, ok := encodings[reflect.TypeOf(place)]
	if !ok {
		panic(fmt.Sprintf("gguf: no encoding for %T", place)) // metadata.keys is wrong
	}
	return e
}

// text returns the encoding of a string, which is absent if it is empty.
func text() encoding {
	return encoding{
		kind: kindString, item: kindString,
		encode: func(place any) []byte { return appendString(le.AppendUint32(nil, kindString), *place.(*string)) },
		decode: func(place any, v *value) error {
			all, err := texts.readAll(v)
			if err == nil {
				*place.(*string) = all[0]
			}
			return err
		},
	}
}

func scalar[T any](c codec[T]) encoding {
	return encoding{
		kind: c.kind, item: c.kind,
		encode: func(place any) []byte { return c.append(le.AppendUint32(nil, c.kind), **place.(**T)) },
		decode: func(place any, v *value) error {
			all, err := c.readAll(v)
			if err == nil {
				*place.(**T) = &all[0]
			}
			return err
		},
	}
}

func array[T any](c codec[T]) encoding {
	return encoding{
		kind: kindArray, item: c.kind,
		encode: func(place any) []byte {
			all := *place.(*[]T)
			b := le.AppendUint32(le.AppendUint32(nil, kindArray), c.kind)
			b = le.AppendUint64(b, uint64(len(all)))
			for _, x := range all {
				b = c.append(b, x)
			}
			return b
		},
		decode: func(place any, v *value) (err error) {
			*place.(*[]T), err = c.readAll(v)
			return err
		},
	}
}

// encodeValue returns the encoded type and value at a place in metadata, or nil if it is
// absent.
func encodeValue(place any) []byte {
	if absent(place) {
		return nil
	}
	return encodingOf(place).encode(place)
}

// absent reports whether a place in metadata is empty.
func absent(place any) bool { return reflect.ValueOf(place).Elem().IsZero() }
