package gradient

import (
	"context"

	"thimble/internal/kernel"
	"thimble/internal/parallel"
)

// rows is an (n, width) matrix. Zeros pad each row to stride, a multiple of 16.
type rows struct {
	n, width, stride int
	data             []float32
}

func newRows(n, width int) rows {
	stride := kernel.Padded(width)
	return rows{n, width, stride, make([]float32, n*stride)}
}

func (x rows) row(t int) []float32 { return x.data[t*x.stride:][:x.width] }

// add adds y to x.
func (x rows) add(y rows) { kernel.Add(x.data, y.data) }

// rowsAtOnce is the number of rows of a task.
const rowsAtOnce = 16

// columnSums adds the sum of each column of x to sums. Column i belongs to
// sums[i%len(sums)].
func columnSums(ctx context.Context, sums []float32, x rows) error {
	each := make([]float64, x.width)
	err := parallel.Ranges(ctx, x.width, 64, func(_, from, to int) error {
		for t := range x.n {
			for i, v := range x.row(t)[from:to] {
				each[from+i] += float64(v)
			}
		}
		return nil
	})
	for i, v := range each {
		sums[i%len(sums)] += float32(v)
	}
	return err
}

// transpose writes columns [from, from+n) of the given rows of x, from row first on, to the
// rows of dst, which are ld elements apart.
func transpose(dst []float32, ld int, x rows, from, n int) {
	const block = 16
	for t0 := 0; t0 < x.n; t0 += block {
		t1 := min(t0+block, x.n)
		for c := range n {
			to := dst[c*ld:]
			for t := t0; t < t1; t++ {
				to[t] = x.data[t*x.stride+from+c]
			}
		}
	}
}

// sized returns s with n elements, in its own memory if that is large enough.
func sized(s []float32, n int) []float32 {
	if cap(s) < n {
		return make([]float32, n)
	}
	return s[:n]
}
