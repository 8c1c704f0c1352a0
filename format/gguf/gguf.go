// Package gguf writes GGUF, the container of llama.cpp, for what one of its
// architectures can say. docs/GGUF.md lists what maps to what.
//
//	magic "GGUF", version u32, tensors u64, keys u64
//	keys: name, type u32, value
//	tensors: name, dims u32, each u64 innermost first, type u32, offset u64
//	tensor data: each tensor at a multiple of general.alignment, zeros between
//
// Little endian throughout; a string is its length in u64 and its bytes
// (ggml, docs/gguf.md, version 3).
package gguf

import (
	"encoding/binary"

	"thimble/internal/qtensor"
)

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

// A ggmlType is how a tensor's rows are stored. The integer types store blocks
// of 32 columns one after the other, scales and codes together; each is a
// scheme of ours in another order.
type ggmlType struct {
	id       uint32
	name     string
	scheme   qtensor.Scheme
	block    int // bytes of blockCols columns, or of one value of a float type
	fileType uint32
}

const blockCols = 32

func grouped(bits int, asym bool) qtensor.Scheme {
	return qtensor.Scheme{Kind: qtensor.Int, Bits: bits, Group: blockCols, Asym: asym}
}

// types lists what can be stored (ggml.h, enum ggml_type; llama.h, enum llama_ftype).
var types = []ggmlType{
	{0, "F32", qtensor.Scheme{Kind: qtensor.F32}, 4, 0},
	{1, "F16", qtensor.Scheme{Kind: qtensor.F16}, 2, 1},
	{30, "BF16", qtensor.Scheme{Kind: qtensor.BF16}, 2, 32},
	{2, "Q4_0", grouped(4, false), 18, 2},
	{3, "Q4_1", grouped(4, true), 20, 3},
	{6, "Q5_0", grouped(5, false), 22, 8},
	{7, "Q5_1", grouped(5, true), 24, 9},
	{8, "Q8_0", grouped(8, false), 34, 7},
}

// typeOf returns the type that stores scheme s as it is.
func typeOf(s qtensor.Scheme) (ggmlType, bool) {
	for _, t := range types {
		if t.scheme == s {
			return t, true
		}
	}
	return ggmlType{}, false
}

func (t ggmlType) float() bool { return t.scheme.Kind != qtensor.Int }

// rowBytes is the stored length of a row. Integer types need whole blocks.
func (t ggmlType) rowBytes(cols int) (n int64, ok bool) {
	if t.float() {
		return int64(cols) * int64(t.block), true
	}
	return int64(cols/blockCols) * int64(t.block), cols%blockCols == 0
}

// appendBlock appends one block: d, m if the type has one, the fifth bits of 5-bit
// codes, then code j below code j+16 in one byte, or 8-bit codes as signed.
func (t ggmlType) appendBlock(dst []byte, codes []uint8, d, m uint16) []byte {
	codes = codes[:blockCols]
	dst = binary.LittleEndian.AppendUint16(dst, d)
	if t.scheme.Asym {
		dst = binary.LittleEndian.AppendUint16(dst, m)
	}
	switch t.scheme.Bits {
	case 8:
		for _, c := range codes {
			dst = append(dst, c-128)
		}
		return dst
	case 5:
		high := uint32(0)
		for j, c := range codes {
			high |= uint32(c>>4) << j
		}
		dst = binary.LittleEndian.AppendUint32(dst, high)
	}
	for j, c := range codes[:blockCols/2] {
		dst = append(dst, c&15|codes[j+blockCols/2]<<4)
	}
	return dst
}
