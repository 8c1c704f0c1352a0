package rounding

import (
	"encoding/binary"
	"math"
	"math/bits"
	"sync"

	"thimble/internal/qtensor"
)

// A Rotation multiplies runs of channels by a Hadamard matrix with fixed signs. It makes rows
// on demand.
type Rotation struct {
	size   int
	recent *recentHeads
}

// NewRotation returns a rotation of runs of size channels, a power of two.
func NewRotation(size int) *Rotation { return &Rotation{size, &recentHeads{size: size}} }

// Rows returns t with each run of columns rotated, in float32.
func (x *Rotation) Rows(t *qtensor.Matrix) *qtensor.Matrix {
	return onDemand(t, &rotatedRows{t, x.size})
}

// Columns returns t with each run of rows rotated, in float32.
func (x *Rotation) Columns(t *qtensor.Matrix) *qtensor.Matrix {
	return onDemand(t, &rotatedColumns{t, x.recent})
}

// onDemand returns a float32 matrix of t's shape whose rows come from source.
func onDemand(t *qtensor.Matrix, source qtensor.Source) *qtensor.Matrix {
	return &qtensor.Matrix{Scheme: qtensor.Scheme{Kind: qtensor.F32}, Rows: t.Rows, Cols: t.Cols, Source: source}
}

// rotatedRows rotates each run of size columns in every row of src.
type rotatedRows struct {
	src  *qtensor.Matrix
	size int
}

func (t *rotatedRows) Row(dst []byte, r int) {
	x := make([]float32, t.src.Cols)
	new(qtensor.Reader).Row(x, t.src, r)
	for at := 0; at < len(x); at += t.size {
		hadamard(t.size, func(i int) []float32 { return x[at+i : at+i+1] })
	}
	putFloats(dst, x)
}

func (t *rotatedRows) Release() { t.src.Release() }

// rotatedColumns rotates each run of size rows in every column of src.
type rotatedColumns struct {
	src    *qtensor.Matrix
	recent *recentHeads
}

func (t *rotatedColumns) Row(dst []byte, r int) {
	putFloats(dst, t.recent.rows(t.src, r/t.recent.size)[r%t.recent.size])
}

func (t *rotatedColumns) Release() { t.src.Release() }

// recentHeads computes runs of size rows, rotated together, and caches the latest: to
// compute one row takes all rows of its head.
type recentHeads struct {
	size int
	mu   sync.Mutex
	kept [8]rotatedHead
	next int
}

type rotatedHead struct {
	src  *qtensor.Matrix
	head int
	rows [][]float32
}

// rows returns the rotated rows of one head of src.
func (h *recentHeads) rows(src *qtensor.Matrix, head int) [][]float32 {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, k := range h.kept {
		if k.src == src && k.head == head {
			return k.rows
		}
	}
	rows := make([][]float32, h.size)
	var reader qtensor.Reader
	for i := range rows {
		rows[i] = make([]float32, src.Cols)
		reader.Row(rows[i], src, head*h.size+i)
	}
	hadamard(h.size, func(i int) []float32 { return rows[i] })
	h.kept[h.next%len(h.kept)] = rotatedHead{src, head, rows}
	h.next++
	return rows
}

// hadamard changes the sign of half of n equally long vectors, n a power of two,
// and multiplies them by a Hadamard matrix over the root of n.
func hadamard(n int, vector func(i int) []float32) {
	root := float32(1 / math.Sqrt(float64(n)))
	for i := range n {
		sign := root
		if bits.OnesCount32(uint32(i)*2654435761>>7)%2 == 1 { // a hash: any fixed half works
			sign = -root
		}
		for j, v := range vector(i) {
			vector(i)[j] = v * sign
		}
	}
	for half := 1; half < n; half *= 2 {
		for i := range n {
			if i&half != 0 {
				continue
			}
			a, b := vector(i), vector(i+half)
			for j, v := range a {
				a[j], b[j] = v+b[j], v-b[j]
			}
		}
	}
}

// putFloats writes x to dst as little-endian float32.
func putFloats(dst []byte, x []float32) {
	for i, v := range x {
		binary.LittleEndian.PutUint32(dst[4*i:], math.Float32bits(v))
	}
}
