package quantize

import (
	"context"

	"thimble/internal/kernel"
	"thimble/internal/logits"
	"thimble/internal/parallel"
	"thimble/internal/transformer"
)

// A judge knows what the float model says after some positions and measures
// how far another model is from it.
type judge struct {
	positions, vocab int
	logits           []float32 // (positions, vocab)
}

// newJudge listens to h.
func newJudge(ctx context.Context, h *transformer.Hidden, vocab int) (*judge, error) {
	j := &judge{h.Len(), vocab, make([]float32, h.Len()*vocab)}
	return j, h.Logits(ctx, j.logits, 0, h.Len())
}

// kl returns the mean KL(float || h's model) in nats per token.
func (j *judge) kl(ctx context.Context, h *transformer.Hidden) (float64, error) {
	rows := make([]float32, min(headBatch, j.positions)*j.vocab)
	p := make([][]float32, parallel.Workers())
	each := make([]float64, j.positions)
	for from := 0; from < j.positions; from += headBatch {
		n := min(headBatch, j.positions-from)
		if err := h.Logits(ctx, rows, from, n); err != nil {
			return 0, err
		}
		err := parallel.Do(ctx, n, func(worker, i int) error {
			want := j.logits[(from+i)*j.vocab:][:j.vocab]
			p[worker] = append(p[worker][:0], want...)
			kernel.Softmax(p[worker])
			each[from+i] = logits.QuickKL(p[worker], want, rows[i*j.vocab:][:j.vocab])
			return nil
		})
		if err != nil {
			return 0, err
		}
	}
	sum := 0.0
	for _, k := range each {
		sum += k
	}
	return sum / float64(len(each)), nil
}
