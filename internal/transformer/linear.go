package transformer

import (
	"context"

	"thimble/internal/kernel"
	"thimble/internal/parallel"
	"thimble/internal/qtensor"
)

// rows is an (n, width) matrix of activations. Zeros pad each row to stride, a
// multiple of 16, as kernel.Gemm requires.
type rows struct {
	n, width, stride int
	data             []float32
}

func newRows(n, width int) rows {
	stride := kernel.Padded(width)
	return rows{n, width, stride, make([]float32, n*stride)}
}

func (x rows) row(t int) []float32 { return x.data[t*x.stride:][:x.width] }

// slice returns n of the rows, starting at from.
func (x rows) slice(from, n int) rows {
	return rows{n, x.width, x.stride, x.data[from*x.stride : (from+n)*x.stride]}
}

// add adds y to x.
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

// A product is a linear layer together with the rows that receive its output.
type product struct {
	y rows // (n, w.Rows)
	linear
}

// panelRows is the number of weight rows that are widened at a time. A panel
// takes 110 KB for MobileLLM's rows, which fits the L2 cache, and 2.7 MB for rows
// of 14336 columns, the widest that common models have.
const panelRows = 48

// apply computes y = x W^T + bias for each product. All products read the same x,
// (n, w.Cols). apply distributes the weight rows of all products over the cores.
func (d *Decoder) apply(ctx context.Context, x rows, ps ...product) error {
	a := &d.application
	a.x, a.n = x, copy(a.products[:], ps)
	panels, floats := 0, 0
	for i, p := range ps {
		panels += (p.w.Rows + panelRows - 1) / panelRows
		a.inputs[i] = nil
		if !d.quantizesInput(p.w) {
			floats++
			continue
		}
		key := d.inputKeyOf(p.w, x.n)
		for _, in := range a.inputs[:i] {
			if in != nil && in.inputKey == key {
				a.inputs[i] = in
			}
		}
		if a.inputs[i] == nil {
			a.inputs[i] = &a.room[i]
			d.quantizeInput(a.inputs[i], x, key)
		}
	}
	var err error
	for from, n := 0, bandOf(x, floats == len(ps)); from < x.n && err == nil; from += n {
		a.from, a.band = from, x.slice(from, min(n, x.n-from))
		if floats > 0 {
			a.left.Set(a.band.data, x.stride, a.band.n, x.stride)
		}
		err = parallel.Do(ctx, panels, d.applyTask)
	}
	for _, p := range ps {
		if x.n >= releaseRows && p.w.Bytes() >= releaseBytes {
			p.w.Release()
		}
	}
	return err
}

// bandOf returns the number of rows of x that are multiplied at a time, so that they fit
// a cache if all weights are multiplied as floats. Integers take all rows.
func bandOf(x rows, floats bool) int {
	const (
		bytes = 2 << 20
		least = 240 // for which widening a panel takes little of the time
	)
	if !floats {
		return x.n
	}
	return max(least, bytes/(4*x.stride))
}

// An application holds the arguments of apply for its tasks.
type application struct {
	x        rows
	band     rows // of x, from its row from on
	from     int
	left     kernel.Left // band, unless all products round their input
	products [3]product
	n        int                // of products
	inputs   [3]*quantizedInput // of products, or nil
	room     [3]quantizedInput  // of inputs
}

// applyPanel is a task of apply.
func (d *Decoder) applyPanel(worker, i int) error {
	a := &d.application
	for j := range a.n {
		p := &a.products[j]
		if n := (p.w.Rows + panelRows - 1) / panelRows; i >= n {
			i -= n
			continue
		}
		d.workers[worker].panelProduct(a, a.inputs[j], *p, i*panelRows)
		break
	}
	return nil
}

// After a product with at least releaseRows rows, apply releases weights of at
// least releaseBytes, so that a prompt can run through a model that is larger than
// memory. Reading them again costs a few percent of such a product.
const (
	releaseBytes = 4 << 20
	releaseRows  = 32
)

// quantizesInput reports whether d rounds the input of a layer with weights w.
func (d *Decoder) quantizesInput(w *qtensor.Matrix) bool {
	return d.arithmetic.Activations.Int8 && !w.Scheme.Float()
}

// panelProduct computes the outputs [r, r+panelRows) of p for the rows of a band, from in
// if it is not nil and from the band otherwise.
func (w *worker) panelProduct(a *application, in *quantizedInput, p product, r int) {
	n := min(panelRows, p.w.Rows-r)
	if in != nil {
		w.integerProduct(in, p, r, n)
	} else {
		w.floatProduct(a, p, r, n)
	}
	if p.bias == nil {
		return
	}
	for t := a.from; t < a.from+a.band.n; t++ {
		kernel.Add(p.y.row(t)[r:r+n], p.bias[r:r+n])
	}
}

// storedFloats are the types that kernel.DotRows reads.
var storedFloats = map[qtensor.Kind]kernel.Float{qtensor.F32: kernel.F32, qtensor.F16: kernel.F16, qtensor.BF16: kernel.BF16}

// floatProduct computes the outputs [r, r+n) of p without its bias. A single position
// reads stored floats as they are, because widening them to a panel would take longer
// than multiplying them.
func (w *worker) floatProduct(a *application, p product, r, n int) {
	x := a.band
	if t, ok := storedFloats[p.w.Scheme.Kind]; ok && x.n == 1 && p.w.Source == nil && x.stride == x.width {
		bytes := p.w.RowBytes()
		kernel.DotRows(p.y.data[r:r+n], x.data[:x.width], p.w.Codes[r*bytes:(r+n)*bytes], t)
		return
	}
	w.panel = sized(w.panel, panelRows*x.stride)
	for i := range n {
		row := w.panel[i*x.stride:][:x.stride]
		w.reader.Row(row, p.w, r+i)
		clear(row[p.w.Cols:])
	}
	a.left.Gemm(p.y.data[a.from*p.y.stride+r:], p.y.stride, w.panel, x.stride, n)
}
