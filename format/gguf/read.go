package gguf

import (
	"fmt"
	"strings"

	"thimble/internal/defect"
)

// decodeKeys decodes into m the keys of its table that pick accepts. A key with a type
// that the table does not list for it is an error.
func (f *file) decodeKeys(m *metadata, pick func(name string) bool) error {
	wanted := make(map[string]string) // by name: the types of the table that do not match
	decoded := make(map[string]bool)
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
		decoded[k.name] = true
	}
	for _, name := range f.names { // in the order of the file
		if want := wanted[name]; want != "" && !decoded[name] {
			v := f.keys[name]
			return &defect.CorruptError{File: f.path, Off: v.at, Field: name, Why: fmt.Sprintf("is of type %v, want %s", v, want)}
		}
	}
	return nil
}

// inert lists the keys outside the table that do not affect the model's results: complete
// names, and prefixes that end in a dot.
var inert = []string{
	"general.", "quantize.imatrix.", "split.no", "split.count", "split.tensors.count",
	"ARCH.tensor_data_layout",                   // identifies the converter
	"ARCH.rope.scaling.finetuned",               // concerns training
	"ARCH.rope.scaling.original_context_length", // only yarn uses it, which the reader refuses
}

// unknownKeys returns the names of the keys that are neither in the table nor inert, or an
// error for one that may affect the model's results.
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
		for _, prefix := range inert {
			prefix = strings.Replace(prefix, "ARCH.", arch, 1)
			if name == prefix || strings.HasSuffix(prefix, ".") && strings.HasPrefix(name, prefix) {
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
