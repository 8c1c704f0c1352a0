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

// binSample: every so many positions rank the rows for their bins.
const binSample = 4

// headBins runs the positions of h through the head of d, (vocab, width).
func headBins(ctx context.Context, h *transformer.Hidden, vocab int) ([]bin, error) {
	var some []int
	for t := 0; t < h.Len(); t += binSample {
		some = append(some, t)
	}
	mean := make([]float64, vocab)
	err := eachBatch(ctx, h.Select(some), vocab, func(_, n int, p []float32) error {
		return eachPart(ctx, vocab, func(from, to int) {
			for i := range n {
				addSpread(mean[from:to], p[i*vocab+from:i*vocab+to])
			}
		})
	})
	if err != nil {
		return nil, err
	}
	bins, place := rankRows(mean, h.Len())
	return bins, eachBatch(ctx, h, vocab, func(first, n int, p []float32) error {
		return parallel.Do(ctx, n, func(_, i int) error {
			sums := make([]float64, len(bins))
			for v, x := range p[i*vocab : (i+1)*vocab] {
				sums[place[v]] += float64(float64(x) * (1 - float64(x)))
			}
			for b := range bins {
				bins[b].weights[first+i] = float32(sums[b] / float64(len(bins[b].rows)))
			}
			return nil
		})
	})
}

// addSpread adds p (1-p) to sum.
func addSpread(sum []float64, p []float32) {
	for v, x := range p {
		sum[v] += float64(float64(x) * (1 - float64(x)))
	}
}

// rankRows puts rows into bins by their mean p (1-p); place is the bin of each.
func rankRows(mean []float64, positions int) (bins []bin, place []uint8) {
	order := make([]int, len(mean))
	for v := range order {
		order[v] = v
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(mean[b], mean[a]) })
	place = make([]uint8, len(mean))
	for size := binFirst; len(order) > 0; size *= binGrowth {
		n := min(size, len(order))
		if len(order)-n < n { // no small rest
			n = len(order)
		}
		for _, v := range order[:n] {
			place[v] = uint8(len(bins))
		}
		bins = append(bins, bin{slices.Sorted(slices.Values(order[:n])), make([]float32, positions)})
		order = order[n:]
	}
	return bins, place
}

// eachBatch calls f with the probabilities after n positions from first on,
// (n, vocab), in order.
func eachBatch(ctx context.Context, h *transformer.Hidden, vocab int, f func(first, n int, p []float32) error) error {
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
		if err == nil {
			err = f(from, n, p)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// eachPart calls f for stretches of n things on all cores.
func eachPart(ctx context.Context, n int, f func(from, to int)) error {
	const part = 1 << 12
	return parallel.Do(ctx, (n+part-1)/part, func(_, i int) error {
		f(i*part, min(n, (i+1)*part))
		return nil
	})
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

// roundHead fills dst from src, the head of a model, bin by bin, given the float
// model's end.
func roundHead(ctx context.Context, method Method, dst, src *qtensor.Matrix, end *ending) error {
	for _, b := range end.bins {
		in, err := b.input(ctx, end.hidden)
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
