package onnx

import (
	"fmt"

	"thimble/internal/model"
	"thimble/internal/qtensor"
)

// maxBlock is the largest block for which onnxruntime has fast kernels (mlas, qnbitgemm.cpp,
// GetQNBitGemmVariant), minBlock the smallest that MatMulNBits accepts.
const (
	minBlock = 16
	maxBlock = 256
)

// blockOf returns the block size with which MatMulNBits stores s in rows of cols columns: the
// largest power of two that divides the columns that share a scale. It returns 0 if there is
// none, or if the last group of a row would be shorter.
func blockOf(s qtensor.Scheme, cols int) int {
	group := s.Columns(cols)
	block := min(group&-group, maxBlock)
	if cols%group != 0 || block < minBlock {
		return 0
	}
	return block
}

// stores reports whether the format stores a matrix of cols columns in s as it is.
func stores(s qtensor.Scheme, cols int) bool {
	switch {
	case s.Float():
		return true
	case s.Kind != qtensor.Int:
		return false
	}
	return (s.Bits == 2 || s.Bits == 4 || s.Bits == 8) && !s.Uneven && !s.Short && blockOf(s, cols) > 0
}

// Nearest returns s if the format stores it, and otherwise a scheme with at least as many
// bits: 4 or 8 bits in groups of 32 or 16, with a minimum if s has one (8 bits never do), or
// float16 if neither divides the columns.
func (Exporter) Nearest(s qtensor.Scheme, cols int, _ model.Role) qtensor.Scheme {
	if stores(s, cols) {
		return s
	}
	s = s.Rounding()
	near := qtensor.Scheme{Kind: qtensor.Int, Bits: 8, Group: 32}
	if s.Bits <= 4 {
		near.Bits, near.Asym = 4, s.Asym
	}
	if cols%near.Group != 0 {
		near.Group = 16
	}
	if cols%near.Group != 0 {
		return qtensor.Scheme{Kind: qtensor.F16}
	}
	return near
}

// floatTypes lists ONNX's types of the float kinds.
var floatTypes = map[qtensor.Kind]struct {
	name string
	id   dataType
}{qtensor.F32: {"float32", typeFloat}, qtensor.F16: {"float16", typeFloat16}, qtensor.BF16: {"bfloat16", typeBFloat16}}

// Kernel returns the name of the type that stores s, and whether onnxruntime multiplies its
// codes as they are: it widens matrices of 2 bits for each product (matmul_nbits.cc,
// ComputeBUnpacked).
func (Exporter) Kernel(s qtensor.Scheme, _ int) (typ string, fast bool) {
	if s.Float() {
		return floatTypes[s.Kind].name, false
	}
	typ = fmt.Sprintf("uint%d", s.Bits)
	if s.Asym {
		typ += "+min"
	}
	return typ, s.Bits != 2
}
