package gguf

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"thimble/format/gguf/kv"
	"thimble/internal/defect"
)

// decodeKeys decodes into m the keys of its table that pick accepts. A key with a type
// that the table does not list for it is an error.
func (f *file) decodeKeys(m *metadata, pick func(name string) bool) error {
	wanted := make(map[string]string) // by name: the types of the table that do not match
	decoded := make(map[string]bool)
	for _, k := range m.keys() {
		v := f.keys[k.name]
		if v == nil || !pick(k.name) || decoded[k.name] {
			continue
		}
		e := kv.EncodingOf(k.place)
		if one, ok := f.oneForAll(m, k, v); ok {
			v = one
		}
		if v.Kind != e.Kind || v.Item != e.Item {
			name := kv.TypeName(e.Kind, e.Item)
			if wanted[k.name] != "" {
				name = wanted[k.name] + " or " + name
			}
			wanted[k.name] = name
			continue
		}
		if err := e.Decode(k.place, v); err != nil {
			return &defect.CorruptError{File: f.path, Off: v.At, Field: k.name, Why: err.Error()}
		}
		decoded[k.name] = true
	}
	for _, name := range f.names { // in the order of the file
		if want := wanted[name]; want != "" && !decoded[name] {
			v := f.keys[name]
			return &defect.CorruptError{File: f.path, Off: v.At, Field: name, Why: fmt.Sprintf("is of type %v, want %s", v, want)}
		}
	}
	return nil
}

// inert lists the keys outside the table that do not affect the model's results: complete
// names, and prefixes that end in a dot.
var inert = []string{
	"general.", "quantize.imatrix.", "split.no", "split.count", "split.tensors.count",
	"ARCH.tensor_data_layout", // identifies the converter
}

// unknownKeys returns the names of the keys that are neither in the table nor inert, or an
// error for one that may affect the model's results.
func (f *file) unknownKeys(m *metadata) (unknown []string, err error) {
	known := make(map[string]bool)
	for _, k := range m.keys() {
		known[k.name] = true
	}
	arch := m.architecture + "."
	var refused []string
next:
	for _, name := range f.names {
		if known[name] || strings.HasPrefix(name, "tokenizer.") { // see otherTokenizerKeys
			continue
		}
		if rest, ok := strings.CutPrefix(name, arch); ok && f.keys[name].Neutral(rest) {
			continue
		}
		for _, prefix := range inert {
			prefix = strings.Replace(prefix, "ARCH.", arch, 1)
			if name == prefix || strings.HasSuffix(prefix, ".") && strings.HasPrefix(name, prefix) {
				continue next
			}
		}
		if strings.HasPrefix(name, arch) || strings.HasPrefix(name, "thimble.") || strings.HasPrefix(name, "adapter.") {
			refused = append(refused, name)
			continue
		}
		unknown = append(unknown, name)
	}
	return unknown, f.refuse(refused)
}

// refuse returns an error that names all of the keys, or nil if there are none.
func (f *file) refuse(names []string) error {
	switch len(names) {
	case 0:
		return nil
	case 1:
		return f.unsupported(names[0], "the key, of type %v,", f.keys[names[0]])
	}
	var all []string
	for _, name := range names {
		all = append(all, fmt.Sprintf("%s (%v)", defect.Printable(name), f.keys[name]))
	}
	return defect.Replace(defect.ErrUnsupported, fmt.Sprintf("%s: %d keys are not supported: %s", defect.Printable(f.path), len(names), strings.Join(all, ", ")))
}

// perBlock lists the keys of an architecture that may hold a value for each block, in place
// of one for all (llama.cpp, get_key_or_arr).
var perBlock = []string{"attention.head_count", "attention.head_count_kv", "feed_forward_length"}

// oneForAll returns the value for all blocks of a key that lists the same value for each.
func (f *file) oneForAll(m *metadata, k key, v *kv.Value) (one *kv.Value, ok bool) {
	if _, scalar := k.place.(**uint32); !scalar || v.Kind != kv.Array || v.Item != kv.U32 && v.Item != kv.I32 {
		return nil, false
	}
	if !slices.Contains(perBlock, strings.TrimPrefix(k.name, m.architecture+".")) || m.blocks == nil || v.N != int(*m.blocks) || v.N == 0 {
		return nil, false
	}
	first := v.Raw[:4]
	for i := range v.N {
		if !bytes.Equal(v.Raw[4*i:4*i+4], first) {
			return nil, false
		}
	}
	return &kv.Value{Kind: kv.U32, Item: kv.U32, N: 1, Raw: first, At: v.At}, true
}
