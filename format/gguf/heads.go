package gguf

import (
	"thimble/internal/mmap"
	"thimble/internal/model"
	"thimble/internal/qtensor"
)

// halves returns m, which is queries, keys or the bias of either as a file has
// them in interleaved heads of dim rows, with its rows in our order, or the
// values of its one row.
func halves(m *qtensor.Matrix, dim int) *qtensor.Matrix {
	n := m.Rows
	if n == 1 {
		n = m.Cols
	}
	return &qtensor.Matrix{Scheme: m.Scheme, Rows: m.Rows, Cols: m.Cols, Source: &heads{m.Codes, len(m.Codes) / n, dim}}
}

// heads makes rows in our order of the bytes in a file.
type heads struct {
	stored []byte
	size   int // bytes of what changes places: a row, or a value of a bias
	dim    int // how many of them are a head
}

func (h *heads) Row(dst []byte, r int) {
	for r *= len(dst) / h.size; len(dst) > 0; r++ {
		copy(dst, h.stored[model.Interleaved(r, h.dim)*h.size:][:h.size])
		dst = dst[h.size:]
	}
}

func (h *heads) Release() { mmap.Release(h.stored) }
