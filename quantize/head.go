package quantize

import (
	"cmp"
	"context"
	"slices"

	"thimble/internal/kernel"
	"thimble/internal/parallel"
	"thimble/internal/qtensor"
	"thimble/internal/transformer"
	"thimble/quantize/rounding"
)

// The output head has a Hessian in closed form. Near the float logits z
//
//	KL = 1/2 dz^T (diag p - p p^T) dz
//
// so an error e in the row of token v costs about 1/2 p_v (1-p_v) (e h)^2 at a position
// with final hidden state h: the row's second moment is that of h weighted by p_v (1-p_v).
// Rows are sorted into bins of similar mean weight, and the rows of a bin share one second
// moment, whose scale does not matter.
const (
	binFirst  = 128 // rows of the first bin: those of the most likely tokens
	binGrowth = 4   // ratio of the sizes of consecutive bins
	headBatch = 128 // positions whose logits are in memory at a time
	binSample = 4   // every binSample-th position serves to rank the rows
)

// aheadPositions is the minimum number of positions for which the float model runs ahead,
// for a survey or for a tied head.
const aheadPositions = 8192

// finalStates holds the float model's hidden states after the last block, for the first
// texts.
type finalStates struct {
	m      *Model
	hidden *transformer.Hidden
	bins   []bin // of the rows of m's head
}

func newFinalStates(ctx context.Context, m *Model, h *transformer.Hidden) (*finalStates, error) {
	bins, err := headBins(ctx, h, m.Spec.Vocab)
	return &finalStates{m, h, bins}, err
}

// first returns the texts for which the float model runs ahead.
func (c *Calibration) first() [][]int {
	n, positions := 0, 0
	for n < len(c.Texts) && positions < aheadPositions {
		positions += len(c.Texts[n])
		n++
	}
	return c.Texts[:n]
}

// finalStates returns the final states of m. It runs m, unless a survey of m already has.
// It leaves room for work bytes.
func (c *Calibration) finalStates(ctx context.Context, m *Model, work int64) (*finalStates, error) {
	if c.final != nil && c.final.m == m {
		return c.final, nil
	}
	t, err := newTrace(m, c.first(), c.room(m, c.first(), 1, work))
	if err != nil {
		return nil, err
	}
	defer t.Close()
	final, err := runAhead(ctx, m, t, c.Ahead)
	if err != nil {
		return nil, err
	}
	c.final = final
	return c.final, nil
}

// A bin is a set of rows of the head that share second moments.
type bin struct {
	rows    []int
	weights []float32 // by position: mean over rows of p (1-p)
}

// headBins sorts the vocab rows of the head of h's model into bins, and computes the
// weights of the positions of h for each bin.
func headBins(ctx context.Context, h *transformer.Hidden, vocab int) ([]bin, error) {
	var some []int
	for t := 0; t < h.Len(); t += binSample {
		some = append(some, t)
	}
	const tokensPerTask = 1 << 12
	mean := make([]float64, vocab)
	err := eachBatch(ctx, h.Select(some), vocab, func(_, n int, p []float32) error {
		return parallel.Ranges(ctx, vocab, tokensPerTask, func(_, from, to int) error {
			for i := range n {
				addSpread(mean[from:to], p[i*vocab+from:i*vocab+to])
			}
			return nil
		})
	})
	if err != nil {
		return nil, err
	}
	bins, binOf := rankRows(mean, h.Len())
	return bins, eachBatch(ctx, h, vocab, func(first, n int, p []float32) error {
		return parallel.Do(ctx, n, func(_, i int) error {
			sums := make([]float64, len(bins))
			for v, x := range p[i*vocab : (i+1)*vocab] {
				sums[binOf[v]] += float64(float64(x) * (1 - float64(x)))
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

// rankRows sorts rows into bins by their mean p (1-p), the largest first. binOf holds the
// bin of each row.
func rankRows(mean []float64, positions int) (bins []bin, binOf []uint8) {
	order := make([]int, len(mean))
	for v := range order {
		order[v] = v
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(mean[b], mean[a]) })
	binOf = make([]uint8, len(mean))
	for size := binFirst; len(order) > 0; size *= binGrowth {
		n := min(size, len(order))
		if len(order)-n < n { // a small remainder joins the bin
			n = len(order)
		}
		for _, v := range order[:n] {
			binOf[v] = uint8(len(bins))
		}
		bins = append(bins, bin{slices.Sorted(slices.Values(order[:n])), make([]float32, positions)})
		order = order[n:]
	}
	return bins, binOf
}

// eachBatch calls f for each batch of positions, with the token probabilities p,
// (n, vocab), after the n positions from first on.
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

// input returns the input of b's rows, given the final hidden states h.
func (b *bin) input(ctx context.Context, h *transformer.Hidden) (*rounding.Input, error) {
	m, err := rounding.MomentsOf(ctx, rounding.Positions{N: h.Len(), Row: h.Row}, rounding.Relative(b.weights))
	if err != nil {
		return nil, err
	}
	return rounding.NewInput(ctx, m, rounding.Damping)
}

// roundHead fills dst from src, the head of a model, bin by bin. final holds the float
// model's states.
func roundHead(ctx context.Context, method rounding.Variant, dst, src *Matrix, final *finalStates) error {
	return roundBins(ctx, method, dst, src, final, func(in *rounding.Input, _ *bin) *rounding.Input { return in })
}

// roundBins rounds each bin of src, a head, with the input that adapt makes of the bin's.
func roundBins(ctx context.Context, method rounding.Variant, dst, src *Matrix, final *finalStates, adapt func(*rounding.Input, *bin) *rounding.Input) error {
	for i := range final.bins {
		b := &final.bins[i]
		in, err := b.input(ctx, final.hidden)
		if err != nil {
			return err
		}
		in = adapt(in, b)
		for some := range slices.Chunk(b.rows, headRows) {
			if err := roundRows(ctx, method, dst, src, some, in); err != nil {
				return err
			}
			src.Release()
		}
	}
	return nil
}

// headRows is the number of rows of the head that are in memory in float32 at a time. It is a
// multiple of the rows that a method rounds together, so it does not change the result.
const headRows = 128 * rounding.PanelRows

// roundRows fills some rows of dst from those of src.
func roundRows(ctx context.Context, method rounding.Variant, dst, src *Matrix, some []int, in *rounding.Input) error {
	rows, err := selectRows(ctx, src, some)
	if err != nil {
		return err
	}
	rounded, err := qtensor.New(dst.Scheme, len(some), dst.Cols)
	if err != nil {
		return err
	}
	if err := method.Round(ctx, rounded, rows, in); err != nil {
		return err
	}
	for i, r := range some {
		dst.CopyRow(r, rounded, i)
	}
	return nil
}

// selectRows returns some rows of src in float32.
func selectRows(ctx context.Context, src *qtensor.Matrix, rows []int) (*qtensor.Matrix, error) {
	dst, err := qtensor.New(Scheme{Kind: qtensor.F32}, len(rows), src.Cols)
	if err != nil {
		return nil, err
	}
	const rowsPerTask = 256
	return dst, parallel.Ranges(ctx, len(rows), rowsPerTask, func(_, from, to int) error {
		var reader qtensor.Reader
		x := make([]float32, src.Cols)
		for i := from; i < to; i++ {
			reader.Row(x, src, rows[i])
			if err := dst.SetFloats(i, x); err != nil {
				return err
			}
		}
		return nil
	})
}
