package gguf

import (
	"encoding/binary"
	"fmt"
	"math"
	"strings"
	"unicode/utf8"

	"thimble/internal/defect"
)

// take stores in m the values of the keys of its table, of those that pick
// wants. A key of another type than the table's is an error.
func (f *file) take(m *metadata, pick func(name string) bool) error {
	wanted := make(map[string]string) // by name, the types that did not fit
	fits := make(map[string]bool)
	for _, k := range m.keys() {
		v := f.keys[k.name]
		if v == nil || !pick(k.name) {
			continue
		}
		kind, item := kindOf(k.value)
		name := kinds[item].name
		if kind == kindArray {
			name = "array of " + name
		}
		if v.kind != kind || v.item != item {
			if wanted[k.name] != "" {
				name = wanted[k.name] + " or " + name
			}
			wanted[k.name] = name
			continue
		}
		if err := v.store(k.value); err != nil {
			return &defect.CorruptError{File: f.path, Off: v.at, Field: k.name, Why: err.Error()}
		}
		fits[k.name] = true
	}
	for _, name := range f.names { // in the order of the file
		if want := wanted[name]; want != "" && !fits[name] {
			v := f.keys[name]
			return &defect.CorruptError{File: f.path, Off: v.at, Field: name, Why: fmt.Sprintf("is of type %v, want %s", v, want)}
		}
	}
	return nil
}

// kindOf returns the type that a place in metadata takes.
func kindOf(place any) (kind, item uint32) {
	switch place.(type) {
	case *string:
		return kindString, kindString
	case **uint32:
		return kindU32, kindU32
	case **int32:
		return kindI32, kindI32
	case **float32:
		return kindF32, kindF32
	case **bool:
		return kindBool, kindBool
	case *[]string:
		return kindArray, kindString
	case *[]int32:
		return kindArray, kindI32
	case *[]uint64:
		return kindArray, kindU64
	case *[]float32:
		return kindArray, kindF32
	case *[]bool:
		return kindArray, kindBool
	}
	panic(fmt.Sprintf("gguf: no type for %T", place)) // a slip in the table
}

// store puts v, whose type fits, in its place.
func (v *value) store(place any) error {
	le, b := binary.LittleEndian, v.raw
	switch place := place.(type) {
	case *string:
		text, err := v.strings()
		if err != nil {
			return err
		}
		*place = text[0]
	case **uint32:
		*place = ptr(le.Uint32(b))
	case **int32:
		*place = ptr(int32(le.Uint32(b)))
	case **float32:
		*place = ptr(math.Float32frombits(le.Uint32(b)))
	case **bool:
		all, err := v.bools()
		if err != nil {
			return err
		}
		*place = &all[0]
	case *[]bool:
		all, err := v.bools()
		*place = all
		return err
	case *[]string:
		all, err := v.strings()
		*place = all
		return err
	case *[]int32:
		*place = make([]int32, v.n)
		for i := range *place {
			(*place)[i] = int32(le.Uint32(b[4*i:]))
		}
	case *[]float32:
		*place = make([]float32, v.n)
		for i := range *place {
			(*place)[i] = math.Float32frombits(le.Uint32(b[4*i:]))
		}
	case *[]uint64:
		*place = make([]uint64, v.n)
		for i := range *place {
			(*place)[i] = le.Uint64(b[8*i:])
		}
	}
	return nil
}

// strings returns the strings of v, whose lengths were checked.
func (v *value) strings() ([]string, error) {
	all := make([]string, v.n)
	b := v.raw
	for i := range all {
		n := binary.LittleEndian.Uint64(b)
		if all[i] = string(b[8 : 8+n]); !utf8.ValidString(all[i]) {
			return nil, fmt.Errorf("string %d, %s, is not UTF-8", i, defect.Printable(all[i]))
		}
		b = b[8+n:]
	}
	return all, nil
}

func (v *value) bools() ([]bool, error) {
	all := make([]bool, v.n)
	for i, b := range v.raw {
		if all[i] = b == 1; b > 1 {
			return nil, fmt.Errorf("bool %d is the byte %d, want 0 or 1", i, b)
		}
	}
	return all, nil
}

// inert lists, by how they begin or whole, the keys that change nothing that is
// computed, beside those of the table.
var inert = []string{
	"general.", "quantize.imatrix.", "split.no", "split.count", "split.tensors.count",
	"ARCH.tensor_data_layout",                   // which converter wrote the file
	"ARCH.rope.scaling.finetuned",               // how it was trained
	"ARCH.rope.scaling.original_context_length", // of yarn, which is refused
}

// others sorts the keys that the table does not have: an error for one that may
// change what is computed, else the names of those that nobody knows.
func (f *file) others(m *metadata) (unknown []string, err error) {
	known := make(map[string]bool)
	for _, k := range m.keys() {
		known[k.name] = true
	}
	arch := m.architecture + "."
next:
	for _, name := range f.names {
		if known[name] || strings.HasPrefix(name, "tokenizer.") { // those are the tokenizer's
			continue
		}
		for _, start := range inert {
			start = strings.Replace(start, "ARCH.", arch, 1)
			if name == start || strings.HasSuffix(start, ".") && strings.HasPrefix(name, start) {
				continue next
			}
		}
		if strings.HasPrefix(name, arch) || strings.HasPrefix(name, "thimble.") || strings.HasPrefix(name, "adapter.") {
			return nil, fmt.Errorf("%s: %w", defect.Printable(f.path), defect.Unsupported(name, "the key, of type %v,", f.keys[name]))
		}
		unknown = append(unknown, name)
	}
	return unknown, nil
}
