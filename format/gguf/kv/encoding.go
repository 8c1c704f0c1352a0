// Package kv encodes the values of GGUF's keys.
package kv

import (
	"encoding/binary"
	"fmt"
	"math"
	"reflect"
	"slices"
	"unicode/utf8"

	"thimble/internal/defect"
)

// A Value is the encoded value of a key.
type Value struct {
	Kind, Item uint32 // Item is the type of an array's items, otherwise equal to Kind
	N          int    // number of items; 1 unless an array
	Raw        []byte // bytes of the items, with valid lengths
	At         int64  // offset of Raw in the file
}

func (v *Value) String() string { return TypeName(v.Kind, v.Item) }

// Types of a key's value (ggml, docs/gguf.md, gguf_metadata_value_type).
const (
	U32    = 4
	I32    = 5
	F32    = 6
	Bool   = 7
	String = 8
	Array  = 9
	U64    = 10
)

// Kinds lists each type's name and its size in bytes. The size of a string is that of its
// length prefix, and that of an array is unknown.
var Kinds = []struct {
	Name string
	Size uint64
}{
	{"u8", 1}, {"i8", 1}, {"u16", 2}, {"i16", 2}, {"u32", 4}, {"i32", 4}, {"f32", 4}, {"bool", 1}, {"string", 8}, {"array", 0},
	{"u64", 8}, {"i64", 8}, {"f64", 8},
}

// TypeName returns the name of a value's type; item is the type of an array's items.
func TypeName(kind, item uint32) string {
	if kind == Array {
		return "array of " + Kinds[item].Name
	}
	return Kinds[kind].Name
}

// neutralNames lists the keys of an architecture that have no effect if they are 1 or true.
var neutralNames = []string{"attention.causal"}

// Neutral reports whether v has no effect as the value of a key that the table lacks: it is
// zero, which llama.cpp takes for absent, or 1 where that is the factor of nothing.
func (v *Value) Neutral(name string) bool {
	if v.Kind == String || v.Kind == Array {
		return v.N == 0 || v.Kind == String && le.Uint64(v.Raw) == 0
	}
	if slices.Contains(neutralNames, name) {
		switch v.Kind {
		case Bool:
			return v.Raw[0] == 1
		case F32:
			return math.Float32frombits(le.Uint32(v.Raw)) == 1
		}
	}
	return name != "attention.causal" && !slices.ContainsFunc(v.Raw, func(b byte) bool { return b != 0 })
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
	u32s = codec[uint32]{U32, le.AppendUint32, func(b []byte) (uint32, int, error) { return le.Uint32(b), 4, nil }}
	u64s = codec[uint64]{U64, le.AppendUint64, func(b []byte) (uint64, int, error) { return le.Uint64(b), 8, nil }}
	i32s = codec[int32]{
		I32,
		func(b []byte, v int32) []byte { return le.AppendUint32(b, uint32(v)) },
		func(b []byte) (int32, int, error) { return int32(le.Uint32(b)), 4, nil },
	}
	f32s = codec[float32]{
		F32,
		func(b []byte, v float32) []byte { return le.AppendUint32(b, math.Float32bits(v)) },
		func(b []byte) (float32, int, error) { return math.Float32frombits(le.Uint32(b)), 4, nil },
	}
	bools = codec[bool]{Bool, appendBool, readBool}
	texts = codec[string]{String, AppendString, readString}
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

func AppendString(b []byte, s string) []byte {
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
func (c *codec[T]) readAll(v *Value) ([]T, error) {
	all, b := make([]T, v.N), v.Raw
	for i := range all {
		x, n, err := c.read(b)
		if err != nil {
			return nil, fmt.Errorf("%s %d %w", Kinds[c.kind].Name, i, err)
		}
		all[i], b = x, b[n:]
	}
	return all, nil
}

// An Encoding describes how GGUF stores the value of a field of metadata.
type Encoding struct {
	Kind, Item uint32 // item of an array, otherwise kind again
	encode     func(place any) []byte
	Decode     func(place any, v *Value) error
}

// encodings lists the encoding of each type of place, a pointer to a field of metadata.
var encodings = map[reflect.Type]Encoding{
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

// EncodingOf returns the encoding of a place in metadata.
func EncodingOf(place any) Encoding {
	e, ok := encodings[reflect.TypeOf(place)]
	if !ok {
		panic(fmt.Sprintf("kv: no encoding for %T", place)) // metadata.keys is wrong
	}
	return e
}

// text returns the encoding of a string, which is absent if it is empty.
func text() Encoding {
	return Encoding{
		Kind: String, Item: String,
		encode: func(place any) []byte { return AppendString(le.AppendUint32(nil, String), *place.(*string)) },
		Decode: func(place any, v *Value) error {
			all, err := texts.readAll(v)
			if err == nil {
				*place.(*string) = all[0]
			}
			return err
		},
	}
}

func scalar[T any](c codec[T]) Encoding {
	return Encoding{
		Kind: c.kind, Item: c.kind,
		encode: func(place any) []byte { return c.append(le.AppendUint32(nil, c.kind), **place.(**T)) },
		Decode: func(place any, v *Value) error {
			all, err := c.readAll(v)
			if err == nil {
				*place.(**T) = &all[0]
			}
			return err
		},
	}
}

func array[T any](c codec[T]) Encoding {
	return Encoding{
		Kind: Array, Item: c.kind,
		encode: func(place any) []byte {
			all := *place.(*[]T)
			b := le.AppendUint32(le.AppendUint32(nil, Array), c.kind)
			b = le.AppendUint64(b, uint64(len(all)))
			for _, x := range all {
				b = c.append(b, x)
			}
			return b
		},
		Decode: func(place any, v *Value) (err error) {
			*place.(*[]T), err = c.readAll(v)
			return err
		},
	}
}

// Encode returns the encoded type and value at a place in metadata, or nil if it is
// absent.
func Encode(place any) []byte {
	if Absent(place) {
		return nil
	}
	return EncodingOf(place).encode(place)
}

// Absent reports whether a place in metadata is empty.
func Absent(place any) bool { return reflect.ValueOf(place).Elem().IsZero() }
