package checkpoint

import (
	"slices"

	"thimble/internal/mmap"
)

// A Source makes the rows of a tensor whose bytes do not lie one row after the
// other in one place. Row writes row r to dst, of the length of a row; Release
// gives back the memory that was mapped for it. Goroutines may share a Source.
type Source interface {
	Row(dst []byte, r int)
	Release()
}

// Rows is the product of all dimensions of t but the last.
func (t *Tensor) Rows() int {
	n := 1
	for i := 0; i < len(t.Shape)-1; i++ {
		n *= t.Shape[i]
	}
	return n
}

// RowBytes is the length of a row: t's last dimension, or its one element.
func (t *Tensor) RowBytes() int {
	n := uint64(1)
	if len(t.Shape) > 0 {
		n = uint64(t.Shape[len(t.Shape)-1])
	}
	return int(n * bits[t.DType] / 8)
}

// Row returns row r of t, read-only: part of Data, or dst, of RowBytes, filled.
func (t *Tensor) Row(dst []byte, r int) []byte {
	n := t.RowBytes()
	if t.Source == nil {
		return t.Data[r*n:][:n]
	}
	t.Source.Row(dst[:n], r)
	return dst[:n]
}

// Release gives back the memory of t, which costs a read when it is used again.
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
		copy(dst, v.of.data[at*size:][:size])
		at += v.strides[last]
	}
}

func (v *view) Release() { mmap.Release(v.of.data) }

// stack is tensors one below the other: their rows in turn.
type stack []*Tensor

func (s stack) Row(dst []byte, r int) {
	for _, t := range s {
		if n := t.Rows(); r >= n {
			r -= n
			continue
		}
		copy(dst, t.Row(dst, r))
		return
	}
}

func (s stack) Release() { each(s) }

// beside is tensors side by side: each row is made of a row of each.
type beside []*Tensor

func (s beside) Row(dst []byte, r int) {
	for _, t := range s {
		n := t.RowBytes()
		copy(dst, t.Row(dst[:n], r))
		dst = dst[n:]
	}
}

func (s beside) Release() { each(s) }

func each(parts []*Tensor) {
	for _, t := range parts {
		t.Release()
	}
}

// Same reports whether two tensors have the same type, shape and bytes.
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
