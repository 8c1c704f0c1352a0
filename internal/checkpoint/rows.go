package checkpoint

import (
	"slices"

	"thimble/internal/mmap"
)

// A Source supplies the rows of a tensor that is not stored in row-major order in one
// place. Row writes row r to dst, which has the length of a row. Release tells the
// system that it may reclaim the mapped memory. A Source is safe for concurrent use.
type Source interface {
	Row(dst []byte, r int)
	Release()
}

// Rows returns the product of all dimensions of t except the last.
func (t *Tensor) Rows() int {
	n := 1
	for i := 0; i < len(t.Shape)-1; i++ {
		n *= t.Shape[i]
	}
	return n
}

// RowBytes returns the length in bytes of a row, which spans the last dimension of t. A
// scalar is one row.
func (t *Tensor) RowBytes() int {
	n := uint64(1)
	if len(t.Shape) > 0 {
		n = uint64(t.Shape[len(t.Shape)-1])
	}
	return int(n * bits[t.DType] / 8)
}

// Row returns row r of t, read-only. It may fill dst, of at least RowBytes bytes, and
// return it.
func (t *Tensor) Row(dst []byte, r int) []byte {
	n := t.RowBytes()
	if t.Source == nil {
		return t.Data[r*n:][:n]
	}
	t.Source.Row(dst[:n], r)
	return dst[:n]
}

// Release tells the system that it may reclaim the memory of t. The system reads it
// again when it is used again.
func (t *Tensor) Release() {
	if t.Source != nil {
		t.Source.Release()
	}
	mmap.Release(t.Data)
}

// Row gathers row r of a tensor that is not stored in row-major order.
func (v *view) Row(dst []byte, r int) {
	last := len(v.shape) - 1
	at := v.offset
	for i := last - 1; i >= 0; i-- {
		at += uint64(r%v.shape[i]) * v.strides[i]
		r /= v.shape[i]
	}
	size := bits[v.dtype] / 8
	for ; len(dst) > 0; dst = dst[size:] {
		copy(dst, v.storage.data[at*size:][:size])
		at += v.strides[last]
	}
}

func (v *view) Release() { mmap.Release(v.storage.data) }

// stacked is a Source for the concatenation of tensors along the rows.
type stacked []*Tensor

func (s stacked) Row(dst []byte, r int) {
	for _, t := range s {
		if n := t.Rows(); r >= n {
			r -= n
			continue
		}
		copy(dst, t.Row(dst, r))
		return
	}
}

func (s stacked) Release() { releaseAll(s) }

// sideBySide is a Source for the concatenation of tensors along the columns.
type sideBySide []*Tensor

func (s sideBySide) Row(dst []byte, r int) {
	for _, t := range s {
		n := t.RowBytes()
		copy(dst, t.Row(dst[:n], r))
		dst = dst[n:]
	}
}

func (s sideBySide) Release() { releaseAll(s) }

func releaseAll(parts []*Tensor) {
	for _, t := range parts {
		t.Release()
	}
}

// Same reports whether a and b have the same type, shape and bytes.
func Same(a, b *Tensor) bool {
	if a.DType != b.DType || !slices.Equal(a.Shape, b.Shape) {
		return false
	}
	n := a.RowBytes()
	x, y := make([]byte, n), make([]byte, n)
	for r := range a.Rows() {
		if string(a.Row(x, r)) != string(b.Row(y, r)) {
			return false
		}
	}
	return true
}
