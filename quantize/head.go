package quantize

import (
	"cmp"
	"context"
	"math"
	"slices"

	"thimble/internal/kernel"
	"thimble/internal/parallel"
	"thimble/internal/qtensor"
	"thimble/internal/transformer"
)

// The output head has a Hessian in closed form. Near the float logits z
//
//	KL = 1/2 dz^T (diag p - p p^T) dz
//
// so an error e in the row of token v costs about 1/2 p_v (1-p_v) (e h)^2 at a
// position with final hidden state h: the row's second moment is that of h
// weighted by p_v (1-p_v). Rows are put into bins of similar mean weight, which
// share one second moment (in the units of each row it is the shape that counts).
const (
	binFirst  = 128 // rows of the first bin, those that are predicted most
	binGrowth = 4   // each bin has so many times the rows of the last
	headBatch = 128 // positions whose logits are held at a time
)

// A bin is rows of the head that share second moments.
type bin struct {
	rows    []int
	weights []float32 // by position: mean over rows of p (1-p)
}

// headBins runs the positions of h through the head of d, (vocab, width).
func headBins(ctx context.Context, h *transformer.Hidden, vocab int) ([]bin, error) {
	mean := make([]float64, vocab)
	err := eachPosition(ctx, h, vocab, func(_ int, p []float32) {
		for v, x := range p {
			mean[v] += float64(float64(x) * (1 - float64(x)))
		}
	})
	if err != nil {
		return nil, err
	}
	order := make([]int, vocab)
	for v := range order {
		order[v] = v
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(mean[b], mean[a]) })
	var bins []bin
	place := make([]int, vocab)
	for size := binFirst; len(order) > 0; size *= binGrowth {
		n := min(size, len(order))
		if len(order)-n < n { // no small rest
			n = len(order)
		}
		for _, v := range order[:n] {
			place[v] = len(bins)
		}
		bins = append(bins, bin{slices.Sorted(slices.Values(order[:n])), make([]float32, h.Len())})
		order = order[n:]
	}
	return bins, eachPosition(ctx, h, vocab, func(t int, p []float32) {
		sums := make([]float64, len(bins))
		for v, x := range p {
			sums[place[v]] += float64(float64(x) * (1 - float64(x)))
		}
		for i := range bins {
			bins[i].weights[t] = float32(sums[i] / float64(len(bins[i].rows)))
		}
	})
}

// eachPosition calls f with the probabilities after each position, in order.
func eachPosition(ctx context.Context, h *transformer.Hidden, vocab int, f func(t int, p []float32)) error {
	p := make([]float32, headBatch*vocab)
	for from := 0; from < h.Len(); from += headBatch {
		n := min(headBatch, h.Len()-from)
		if err := h.Logits(ctx, p, from, n); err != nil {
			return err
		}
		err := parallel.Do(ctx, n, func(_, i int) error {
			kernel.Softmax(p[i*vocab : (i+1)*vocab])
			return nil
		})
		if err != nil {
			return err
		}
		for i := range n {
			f(from+i, p[i*vocab:(i+1)*vocab])
		}
	}
	return nil
}

// relative scales weights to a mean of 1, since a bin's rows differ among
// themselves anyway. Weights that say nothing become 1.
func relative(weights []float32) []float32 {
	sum := 0.0
	for _, w := range weights {
		sum += float64(w)
	}
	mean := sum / float64(len(weights))
	out := make([]float32, len(weights))
	for i, w := range weights {
		out[i] = 1
		if mean > 0 && !math.IsInf(mean, 0) {
			out[i] = float32(float64(w) / mean)
		}
	}
	return out
}

// headInput is what bin b knows of the final hidden states h.
func (b *bin) input(ctx context.Context, h *transformer.Hidden) (*Input, error) {
	m, err := momentsOf(ctx, positionRows{h.Len(), h.Row}, relative(b.weights))
	if err != nil {
		return nil, err
	}
	return newInput(ctx, m, damping)
}

// roundHead fills dst from src, the head of a model, bin by bin, given final
// hidden states of the float model.
func roundHead(ctx context.Context, method Method, dst, src *qtensor.Matrix, h *transformer.Hidden) error {
	bins, err := headBins(ctx, h, src.Rows)
	if err != nil {
		return err
	}
	for _, b := range bins {
		in, err := b.input(ctx, h)
		if err != nil {
			return err
		}
		rows, err := pick(ctx, src, b.rows)
		if err != nil {
			return err
		}
		part, err := qtensor.New(dst.Scheme, len(b.rows), dst.Cols)
		if err != nil {
			return err
		}
		if err := method.Quantize(ctx, part, rows, in); err != nil {
			return err
		}
		for i, r := range b.rows {
			dst.CopyRow(r, part, i)
		}
	}
	return nil
}

// pick returns some rows of src in float32.
func pick(ctx context.Context, src *qtensor.Matrix, rows []int) (*qtensor.Matrix, error) {
	dst, err := qtensor.New(qtensor.Scheme{Kind: qtensor.F32}, len(rows), src.Cols)
	if err != nil {
		return nil, err
	}
	const rowsPerTask = 256
	return dst, parallel.Do(ctx, (len(rows)+rowsPerTask-1)/rowsPerTask, func(_, task int) error {
		var reader qtensor.Reader
		x := make([]float32, src.Cols)
		for i := task * rowsPerTask; i < min(len(rows), (task+1)*rowsPerTask); i++ {
			reader.Row(x, src, rows[i])
			if err := dst.SetFloats(i, x); err != nil {
				return err
			}
		}
		return nil
	})
}
