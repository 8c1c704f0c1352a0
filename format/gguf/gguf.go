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
	"encoding/binary"
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
	{10, "Q2_K", qtensor.Q2_K.Foreign(), 10},
	{11, "Q3_K", qtensor.Q3_K.Foreign(), 12},
	{16, "IQ2_XXS", qtensor.IQ2_XXS.Foreign(), 19},
	{17, "IQ2_XS", qtensor.IQ2_XS.Foreign(), 20},
	{18, "IQ3_XXS", qtensor.IQ3_XXS.Foreign(), 23},
	{19, "IQ1_S", qtensor.IQ1_S.Foreign(), 24},
	{20, "IQ4_NL", qtensor.IQ4_NL.Foreign(), 25},
	{21, "IQ3_S", qtensor.IQ3_S.Foreign(), 26},
	{22, "IQ2_S", qtensor.IQ2_S.Foreign(), 28},
	{23, "IQ4_XS", qtensor.IQ4_XS.Foreign(), 30},
	{29, "IQ1_M", qtensor.IQ1_M.Foreign(), 31},
	{34, "TQ1_0", qtensor.TQ1_0.Foreign(), 36},
	{35, "TQ2_0", qtensor.TQ2_0.Foreign(), 37},
	{39, "MXFP4", qtensor.MXFP4.Foreign(), 38},
	{40, "NVFP4", qtensor.NVFP4.Foreign(), 39},
	{41, "Q1_0", qtensor.Q1_0.Foreign(), 40},
	{42, "Q2_0", qtensor.Q2_0.Foreign(), 41},
}

var le = binary.LittleEndian

// typeF32 is the type of vectors.
var typeF32 = types[0]

// typeOf returns the type that stores scheme s exactly. For an integer scheme that is the
// type with the same codes and scales in a different order.
func typeOf(s qtensor.Scheme) (ggmlType, bool) {
	for _, t := range types {
		if own, ok := t.scheme.Native(); t.scheme == s || ok && own == s && t.scheme.Layout.Packs {
			return t, true
		}
	}
	return ggmlType{}, false
}

// unreadTypes lists the valid types that this package does not read: those of activations
// and of tensors that are not weights.
var unreadTypes = map[uint32]string{
	9: "Q8_1", 15: "Q8_K", 24: "I8", 25: "I16", 26: "I32", 27: "I64", 28: "F64",
}

// typeNumbered returns the type with the given id. name is the tensor's, for errors.
func typeNumbered(path, name string, id uint32) (ggmlType, error) {
	for _, t := range types {
		if t.id == id {
			return t, nil
		}
	}
	if known, ok := unreadTypes[id]; ok {
		return ggmlType{}, fmt.Errorf("%s: %w; ggml has it for activations and counts; convert the original checkpoint again",
			defect.Printable(path), defect.Unsupported(name, "type %s", known))
	}
	return ggmlType{}, defect.Corrupt(path, name, "its type is %d, which does not exist in ggml", id)
}
