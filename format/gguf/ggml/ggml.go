// Package ggml lists the types in which GGUF files store the rows of tensors.
package ggml

import (
	"fmt"

	"thimble/internal/defect"
	"thimble/internal/qtensor"
)

// A Type describes how a tensor's rows are stored.
type Type struct {
	ID       uint32
	Name     string
	Scheme   qtensor.Scheme // a float kind, or Foreign
	FileType uint32         // general.file_type of a file that mostly has this type
}

// Types lists the types that files are read and written with (ggml.h, enum ggml_type;
// llama.h, enum llama_ftype, where each K type has that of the mix named after it).
var Types = []Type{
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

// F32 is the type of vectors.
var F32 = Types[0]

// Of returns the type that stores scheme s exactly. For an integer scheme that is the
// type with the same codes and scales in a different order.
func Of(s qtensor.Scheme) (Type, bool) {
	for _, t := range Types {
		if t.Scheme == s || t.Scheme.Layout != nil && t.Scheme.Layout.Writes(s) {
			return t, true
		}
	}
	return Type{}, false
}

// unread lists the valid types that files of weights do not have: those of activations
// and of tensors that are not weights.
var unread = map[uint32]string{
	9: "Q8_1", 15: "Q8_K", 24: "I8", 25: "I16", 26: "I32", 27: "I64", 28: "F64",
}

// Numbered returns the type with the given id. name is the tensor's, for errors.
func Numbered(path, name string, id uint32) (Type, error) {
	for _, t := range Types {
		if t.ID == id {
			return t, nil
		}
	}
	if known, ok := unread[id]; ok {
		return Type{}, fmt.Errorf("%s: %w; ggml has it for activations and counts; convert the original checkpoint again",
			defect.Printable(path), defect.Unsupported(name, "type %s", known))
	}
	return Type{}, defect.Corrupt(path, name, "its type is %d, which does not exist in ggml", id)
}
