package gguf

import (
	"thimble/internal/mmap"
	"thimble/internal/model"
	"thimble/internal/qtensor"
)

// deinterleave returns m with its rows, or the values of its one row, in half-split order.
// m is the matrix or the bias of queries or keys as stored in a file, in interleaved heads
// of dim rows.
func deinterleave(m *qtensor.Matrix, dim int) *qtensor.Matrix {
	n := m.Rows
	if n == 1 {
		n = m.Cols
	}
	return &qtensor.Matrix{Scheme: m.Scheme, Rows: m.Rows, Cols: m.Cols, Source: &heads{m.Codes, len(m.Codes) / n, dim}}
}

// heads reads interleaved rows in half-split order.
type heads struct {
	stored []byte
	size   int // of a row, or of a value of a bias, in bytes
	dim    int // rows or values in a head
}

func (h *heads) Row(dst []byte, r int) {
	for r *= len(dst) / h.size; len(dst) > 0; r++ {
		copy(dst, h.stored[model.Interleave(r, h.dim)*h.size:][:h.size])
		dst = dst[h.size:]
	}
}

func (h *heads) Release() { mmap.Release(h.stored) }
