package transformer

import (
	"context"

	"thimble/internal/kernel"
	"thimble/internal/parallel"
	"thimble/internal/qtensor"
)

// rows is a (n, width) block of activations. Each row is followed by zeros up
// to stride, the multiple of 16 that kernel.Gemm reads.
type rows struct {
	n, width, stride int
	data             []float32
}

func newRows(n, width int) rows {
	stride := kernel.Padded(width)
	return rows{n, width, stride, make([]float32, n*stride)}
}

func (x rows) row(t int) []float32 { return x.data[t*x.stride:][:x.width] }

// part is n of the positions, from the given one on.
func (x rows) part(from, n int) rows {
	return rows{n, x.width, x.stride, x.data[from*x.stride : (from+n)*x.stride]}
}

// add adds y to x, position by position.
func (x rows) add(y rows) {
	for t := range x.n {
		kernel.Add(x.row(t), y.row(t))
	}
}

// A linear layer maps rows of w.Cols inputs to w.Rows outputs.
type linear struct {
	w    *qtensor.Matrix
	bias []float32 // (w.Rows), or nil
}

// A product is a linear layer and where its output goes.
type product struct {
	y rows // (n, w.Rows)
	linear
}

// panelRows is how many weight rows are widened at a time: a panel of the
// widest rows we meet (14336) is 2.7 MB, of MobileLLM's 110 KB, inside L2.
const panelRows = 48

// apply computes y = x W^T + bias for each product. All of them read the same
// x (n, w.Cols); the weight rows of all are shared out among the cores.
func (d *Decoder) apply(ctx context.Context, x rows, ps ...product) error {
	panels := 0
	inputs := make([]*rounded, len(ps))
	for i, p := range ps {
		panels += (p.w.Rows + panelRows - 1) / panelRows
		switch {
		case !d.rounds(p.w):
		case i > 0 && inputs[i-1] != nil && p.w.Scheme == ps[i-1].w.Scheme:
			inputs[i] = inputs[i-1]
		default:
			inputs[i] = d.round(x, p.w.Scheme)
		}
	}
	err := parallel.Do(ctx, panels, func(worker, i int) error {
		for j, p := range ps {
			if n := (p.w.Rows + panelRows - 1) / panelRows; i >= n {
				i -= n
				continue
			}
			d.lanes[worker].panelProduct(x, inputs[j], p, i*panelRows)
			break
		}
		return nil
	})
	for _, p := range ps {
		if x.n >= manyRows && p.w.Bytes() >= largeWeights {
			p.w.Release()
		}
	}
	return err
}

// Weights of so many bytes are not kept resident behind a product with so many rows,
// so that a prompt may go through a model that is larger than memory. To map them
// again costs a few percent of such a product.
const (
	largeWeights = 4 << 20
	manyRows     = 32
)

// rounds reports whether the inputs of a layer with weights w are rounded.
func (d *Decoder) rounds(w *qtensor.Matrix) bool {
	return d.arithmetic.Activations.Int8 && !w.Scheme.Float()
}

// panelProduct computes the outputs [r, r+panelRows) of p, from in if that is
// not nil.
func (l *lane) panelProduct(x rows, in *rounded, p product, r int) {
	n := min(panelRows, p.w.Rows-r)
	if in != nil {
		l.integerProduct(in, p, r, n)
	} else {
		l.floatProduct(x, p, r, n)
	}
	if p.bias == nil {
		return
	}
	for t := range x.n {
		kernel.Add(p.y.row(t)[r:r+n], p.bias[r:r+n])
	}
}

// floatProduct computes the outputs [r, r+n) of p without its bias.
func (l *lane) floatProduct(x rows, p product, r, n int) {
	l.panel = sized(l.panel, panelRows*x.stride)
	for i := range n {
		row := l.panel[i*x.stride:][:x.stride]
		l.reader.Row(row, p.w, r+i)
		clear(row[p.w.Cols:])
	}
	kernel.Gemm(p.y.data[r:], p.y.stride, x.data, x.stride, l.panel, x.stride, x.n, n, x.stride)
}
