package quantize

import (
	"context"

	"thimble/internal/kernel"
	"thimble/internal/logits"
	"thimble/internal/parallel"
	"thimble/internal/transformer"
)

// A klEvaluator holds the float model's logits at some positions and measures the
// divergence of other models from them.
type klEvaluator struct {
	positions, vocab int
	logits           []float32 // (positions, vocab)
}

// newKLEvaluator computes the logits for h, the float model's final hidden states.
func newKLEvaluator(ctx context.Context, h *transformer.Hidden, vocab int) (*klEvaluator, error) {
	k := &klEvaluator{h.Len(), vocab, make([]float32, h.Len()*vocab)}
	return k, h.Logits(ctx, k.logits, 0, h.Len())
}

// mean returns the mean of KL(float model || model of h) in nats per token, to within a
// percent. h must have the same positions as the float model's states.
func (k *klEvaluator) mean(ctx context.Context, h *transformer.Hidden) (float64, error) {
	rows := make([]float32, min(headBatch, k.positions)*k.vocab)
	p := make([][]float32, parallel.Workers())
	each := make([]float64, k.positions)
	for from := 0; from < k.positions; from += headBatch {
		n := min(headBatch, k.positions-from)
		if err := h.Logits(ctx, rows, from, n); err != nil {
			return 0, err
		}
		err := parallel.Do(ctx, n, func(worker, i int) error {
			want := k.logits[(from+i)*k.vocab:][:k.vocab]
			p[worker] = append(p[worker][:0], want...)
			kernel.Softmax(p[worker])
			each[from+i] = logits.QuickKL(p[worker], want, rows[i*k.vocab:][:k.vocab])
			return nil
		})
		if err != nil {
			return 0, err
		}
	}
	sum := 0.0
	for _, kl := range each {
		sum += kl
	}
	return sum / float64(len(each)), nil
}
