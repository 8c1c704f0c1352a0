// Package gguf reads and writes GGUF, the container of llama.cpp, for models that
// llama.cpp's architectures represent. docs/GGUF.md lists the mappings.
//
//	magic "GGUF", version u32, number of tensors u64, number of keys u64
//	keys: name, type u32, value
//	tensors: name, number of dimensions u32, each u64 innermost first, type u32, offset u64
//	tensor data: each tensor at a multiple of general.alignment, zeros between
//
// Everything is little endian; a string is its length in u64 and its bytes
// (ggml, docs/gguf.md, version 3).
package gguf

import (
	"fmt"

	"thimble/internal/defect"
	"thimble/internal/qtensor"
)

// Magic is the first bytes of every GGUF file.
const Magic = "GGUF"

// Name is the name of the format.
const Name = "GGUF"

const (
	version   = 3
	alignment = 32 // of tensor data that the writer uses, and the default if a file has no key for it

	// Limits of the reader; llama.cpp's are no higher.
	maxString  = 16 << 20 // bytes
	maxItems   = 1 << 24  // of an array
	maxTensors = 1 << 16
	maxKeys    = 1 << 16
	maxKey     = 65535 // bytes of a key's name
	maxName    = 63    // bytes of a tensor's name
)

// A ggmlType describes how a tensor's rows are stored.
type ggmlType struct {
	id       uint32
	name     string
	scheme   qtensor.Scheme // a float kind, or Foreign
	fileType uint32         // general.file_type of a file that mostly has this type
}

// types lists the types that this package reads and writes (ggml.h, enum ggml_type;
// llama.h, enum llama_ftype, where each K type has that of the mix named after it).
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

// typeF32 is the type of vectors.
var typeF32 = types[0]

// typeOf returns the type that stores scheme s exactly. For an integer scheme that is the
// type with the same codes and scales in a different order.
func typeOf(s qtensor.Scheme) (ggmlType, bool) {
	for _, t := range types {
		own, ok := t.scheme.Native()
		if t.scheme == s || ok && own == s {
			return t, true
		}
	}
	return ggmlType{}, false
}

// unreadTypes lists the valid types that this package does not read.
var unreadTypes = map[uint32]string{
	9: "Q8_1", 10: "Q2_K", 11: "Q3_K", 15: "Q8_K", 16: "IQ2_XXS", 17: "IQ2_XS", 18: "IQ3_XXS", 19: "IQ1_S", 20: "IQ4_NL", 21: "IQ3_S",
	22: "IQ2_S", 23: "IQ4_XS", 24: "I8", 25: "I16", 26: "I32", 27: "I64", 28: "F64", 29: "IQ1_M", 34: "TQ1_0", 35: "TQ2_0", 39: "MXFP4",
	40: "NVFP4", 41: "Q1_0", 42: "Q2_0",
}

// typeNumbered returns the type with the given id. name is the tensor's, for errors.
func typeNumbered(path, name string, id uint32) (ggmlType, error) {
	for _, t := range types {
		if t.id == id {
			return t, nil
		}
	}
	if known, ok := unreadTypes[id]; ok {
		return ggmlType{}, fmt.Errorf("%s: %w; a file of F16, BF16, Q8_0, Q6_K, Q5_K, Q4_K, Q5_0, Q5_1, Q4_0 or Q4_1 is",
			defect.Printable(path), defect.Unsupported(name, "type %s", known))
	}
	return ggmlType{}, defect.Corrupt(path, name, "its type is %d, which does not exist in ggml", id)
}
