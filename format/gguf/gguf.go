// Package gguf writes GGUF, the container of llama.cpp, for what its
// architecture "llama" can say. docs/GGUF.md lists what maps to what.
//
//	magic "GGUF", version u32, tensors u64, keys u64
//	keys: name, type u32, value
//	tensors: name, dims u32, each u64 innermost first, type u32, offset u64
//	tensor data: each tensor at a multiple of general.alignment, zeros between
//
// Little endian throughout; a string is its length in u64 and its bytes
// (ggml, docs/gguf.md, version 3).
package gguf

import "thimble/internal/qtensor"

// Magic begins every GGUF file.
const Magic = "GGUF"

const (
	version   = 3
	alignment = 32 // of the data that is written, and where no key says otherwise

	// What llama.cpp and we read at most.
	maxString  = 16 << 20 // bytes
	maxItems   = 1 << 24  // of an array
	maxTensors = 1 << 16
	maxName    = 63 // bytes of a tensor's name
)

// A ggmlType is how a tensor's rows are stored.
type ggmlType struct {
	id       uint32
	name     string
	scheme   qtensor.Scheme // a float kind, or Foreign
	fileType uint32
}

// types lists what can be read and stored (ggml.h, enum ggml_type; llama.h, enum
// llama_ftype, of the K types that of the mix named after them).
var types = []ggmlType{
	{0, "F32", qtensor.Scheme{Kind: qtensor.F32}, 0},
	{1, "F16", qtensor.Scheme{Kind: qtensor.F16}, 1},
	{30, "BF16", qtensor.Scheme{Kind: qtensor.BF16}, 32},
	{2, "Q4_0", qtensor.Q4_0.Foreign(), 2},
	{3, "Q4_1", qtensor.Q4_1.Foreign(), 3},
	{6, "Q5_0", qtensor.Q5_0.Foreign(), 8},
	{7, "Q5_1", qtensor.Q5_1.Foreign(), 9},
	{8, "Q8_0", qtensor.Q8_0.Foreign(), 7},
	{12, "Q4_K", qtensor.Q4_K.Foreign(), 15},
	{13, "Q5_K", qtensor.Q5_K.Foreign(), 17},
	{14, "Q6_K", qtensor.Q6_K.Foreign(), 18},
}

// typeOf returns the type that stores scheme s as it is: of an integer scheme
// the one whose codes and scales are the same in another order.
func typeOf(s qtensor.Scheme) (ggmlType, bool) {
	for _, t := range types {
		own, ok := t.scheme.Own()
		if t.scheme == s || ok && own == s {
			return t, true
		}
	}
	return ggmlType{}, false
}
