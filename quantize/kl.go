package quantize

import (
	"context"

	"thimble/internal/divergence"
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
	each, err := divergence.Of(ctx, func(from, n int) ([]float32, error) { return k.logits[from*k.vocab:][:n*k.vocab], nil }, h, k.vocab)
	if err != nil {
		return 0, err
	}
	sum := 0.0
	for _, kl := range each {
		sum += kl
	}
	return sum / float64(len(each)), nil
}
