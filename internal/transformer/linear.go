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

// multiply multiplies x by a number.
func multiply(x []float32, scale float32) {
	for i := range x {
		x[i] *= scale
	}
}

// A linear layer maps rows of w.Cols inputs to w.Rows outputs.
type linear struct {
	w     *qtensor.Matrix
	bias  []float32 // (w.Rows), or nil
	scale float32   // of the outputs; 0 means 1
}

// A product is a linear layer together with the rows that receive its output.
type product struct {
	y rows // (n, w.Rows)
	linear
}

// A share is a product that apply divides into tasks.
type share struct {
	product
	in   *quantizedInput // the rounded input, or nil
	step int             // weight rows of a task
}

func (s *share) tasks() int { return (s.w.Rows + s.step - 1) / s.step }

// panelRows is the number of weight rows that are widened at a time. A panel
// takes 110 KB for MobileLLM's rows, which fits the L2 cache, and 2.7 MB for rows
// of 14336 columns, the widest that common models have.
const panelRows = 48

// apply computes y = (x W^T + bias) scale for each product. All products read the same x,
// (n, w.Cols). apply distributes the weight rows of all products over the cores.
func (d *Decoder) apply(ctx context.Context, x rows, ps ...product) error {
	a := &d.application
	a.x, a.n = x, len(ps)
	tasks, floats := 0, 0
	for i, p := range ps {
		in := a.inputFor(d, p.w, i)
		a.shares[i] = share{p, in, stepOf(p.w, x, in)}
		tasks += a.shares[i].tasks()
		if a.shares[i].in == nil {
			floats++
		}
	}
	var err error
	for from, n := 0, bandOf(x, floats == len(ps)); from < x.n && err == nil; from += n {
		a.from, a.band = from, x.slice(from, min(n, x.n-from))
		if floats > 0 {
			a.left.Set(a.band.data, x.stride, a.band.n, x.stride)
		}
		err = parallel.Do(ctx, tasks, d.applyTask)
	}
	for _, p := range ps {
		if d.bounded || x.n >= releaseRows && p.w.Bytes() >= releaseBytes {
			p.w.Release()
		}
	}
	return err
}

// bandOf returns the number of rows of x that are multiplied at a time, so that they fit
// a cache if all weights are multiplied as floats. Integers take all rows.
func bandOf(x rows, floats bool) int {
	const (
		bytes = 4 << 20
		least = 240 // for which widening a panel takes little of the time
	)
	if !floats {
		return x.n
	}
	return max(least, bytes/(4*x.stride))
}

// An application holds the arguments of apply for its tasks.
type application struct {
	x      rows
	band   rows // of x, from its row from on
	from   int
	left   kernel.Left // band, unless all products round their input
	shares [4]share
	n      int               // of shares
	room   [4]quantizedInput // of their inputs
}

// inputFor returns x, rounded as weights w of share i require, or nil if d does not round
// it. Shares before i may have rounded it already.
func (a *application) inputFor(d *Decoder, w *qtensor.Matrix, i int) *quantizedInput {
	if !d.quantizesInput(w) {
		return nil
	}
	key := d.inputKeyOf(w, a.x.n)
	for _, s := range a.shares[:i] {
		if s.in != nil && s.in.inputKey == key {
			return s.in
		}
	}
	d.quantizeInput(&a.room[i], a.x, key)
	return &a.room[i]
}

// stepOf returns how many rows of w a task multiplies by x, or by in if it is not nil.
// Reading rows from memory is slow at the start of a task, until prefetching is ahead of it.
// It takes most of the time of a few positions, whose tasks are therefore large.
func stepOf(w *qtensor.Matrix, x rows, in *quantizedInput) int {
	const (
		few   = 8
		bytes = 96 << 10 // about what a task reads
	)
	stored := in == nil && readsStored(w, x) || in != nil && in.inputKey.stored
	if !stored || x.n > few {
		return panelRows
	}
	cores := parallel.Workers()
	tasks := cores * max(1, int(w.Bytes())/(cores*bytes))
	rows := (w.Rows + tasks - 1) / tasks
	lanes := kernel.StoredLanes()
	return max(panelRows, (rows+lanes-1)/lanes*lanes)
}

// applyPanel is a task of apply.
func (d *Decoder) applyPanel(worker, i int) error {
	a := &d.application
	for j := range a.n {
		s := &a.shares[j]
		if n := s.tasks(); i >= n {
			i -= n
			continue
		}
		if d.bounded && a.x.n >= releaseRows {
			s.w.ReleaseBehind(i*s.step, s.step)
		}
		d.workers[worker].panelProduct(a, s, i*s.step)
		break
	}
	return nil
}

// After a product with at least releaseRows rows, apply releases weights of at
// least releaseBytes, so that a prompt can run through a model that is larger than
// memory. Reading them again costs a few percent of such a product. If memory is
// bounded, it releases all weights, as it goes.
const (
	releaseBytes = 4 << 20
	releaseRows  = 32
)

// quantizesInput reports whether d rounds the input of a layer with weights w.
func (d *Decoder) quantizesInput(w *qtensor.Matrix) bool {
	return d.arithmetic.Activations.Int8 && !w.Scheme.Float()
}

// panelProduct computes the outputs of s for the rows of a band, from weight row r on.
func (w *worker) panelProduct(a *application, s *share, r int) {
	n := min(s.step, s.w.Rows-r)
	if s.in != nil {
		w.integerProduct(s.in, s.product, r, n)
	} else {
		w.floatProduct(a, s.product, r, n)
	}
	for t := a.from; t < a.from+a.band.n && (s.bias != nil || s.scale != 0); t++ {
		y := s.y.row(t)[r : r+n]
		if s.bias != nil {
			kernel.Add(y, s.bias[r:r+n])
		}
		if s.scale != 0 {
			multiply(y, s.scale)
		}
	}
}

// storedFloats are the types that kernel.DotRows reads.
var storedFloats = map[qtensor.Kind]kernel.Float{qtensor.F32: kernel.F32, qtensor.F16: kernel.F16, qtensor.BF16: kernel.BF16}

// readsStored reports whether a product of w and x reads stored floats as they are.
func readsStored(w *qtensor.Matrix, x rows) bool {
	_, ok := storedFloats[w.Scheme.Kind]
	return ok && x.n == 1 && w.Source == nil && x.stride == x.width
}

// floatProduct computes the outputs [r, r+n) of p without its bias. A single position
// reads stored floats as they are, because widening them to a panel would take longer
// than multiplying them.
func (w *worker) floatProduct(a *application, p product, r, n int) {
	x := a.band
	if readsStored(p.w, x) {
		bytes := p.w.RowBytes()
		kernel.DotRows(p.y.data[r:r+n], x.data[:x.width], p.w.Codes[r*bytes:(r+n)*bytes], storedFloats[p.w.Scheme.Kind])
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
