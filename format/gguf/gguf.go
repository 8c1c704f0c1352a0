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

import "encoding/binary"

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

var le = binary.LittleEndian
