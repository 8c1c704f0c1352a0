package gguf

import (
	"fmt"
	"strings"

	"thimble/internal/defect"
)

// take stores in m the values of the keys of its table that pick accepts. A key
// with a type that the table does not list for it is an error.
func (f *file) take(m *metadata, pick func(name string) bool) error {
	wanted := make(map[string]string) // by name: the types of the table, if none has fitted yet
	fits := make(map[string]bool)
	for _, k := range m.keys() {
		v := f.keys[k.name]
		if v == nil || !pick(k.name) {
			continue
		}
		e := encodingOf(k.place)
		if v.kind != e.kind || v.item != e.item {
			name := typeName(e.kind, e.item)
			if wanted[k.name] != "" {
				name = wanted[k.name] + " or " + name
			}
			wanted[k.name] = name
			continue
		}
		if err := e.decode(k.place, v); err != nil {
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

// inert lists the keys outside the table that do not change what the model
// computes: whole names, and beginnings that end in a dot.
var inert = []string{
	"general.", "quantize.imatrix.", "split.no", "split.count", "split.tensors.count",
	"ARCH.tensor_data_layout",                   // which converter wrote the file
	"ARCH.rope.scaling.finetuned",               // how the model was trained
	"ARCH.rope.scaling.original_context_length", // only yarn uses it, which is refused
}

// unknownKeys returns the names of the keys that are neither in the table nor
// inert, or an error for one that may change what the model computes.
func (f *file) unknownKeys(m *metadata) (unknown []string, err error) {
	known := make(map[string]bool)
	for _, k := range m.keys() {
		known[k.name] = true
	}
	arch := m.architecture + "."
next:
	for _, name := range f.names {
		if known[name] || strings.HasPrefix(name, "tokenizer.") { // see otherTokenizerKeys
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
