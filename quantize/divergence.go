package quantize

import (
	"context"

	"thimble/internal/kernel"
	"thimble/internal/parallel"
	"thimble/internal/transformer"
)

// A judge knows what the float model says after some positions and measures
// how far another model is from it.
type judge struct {
	vocab     int
	positions []int
	logits    []float32 // (positions, vocab)
	p         []float32 // their softmax
}

// newJudge listens to h at every stride-th position.
func newJudge(ctx context.Context, h *transformer.Hidden, vocab, stride int) (*judge, error) {
	j := &judge{vocab: vocab}
	for t := 0; t < h.Len(); t += stride {
		j.positions = append(j.positions, t)
	}
	j.logits = make([]float32, len(j.positions)*vocab)
	if err := j.read(ctx, h, j.logits); err != nil {
		return nil, err
	}
	j.p = append([]float32(nil), j.logits...)
	return j, parallel.Do(ctx, len(j.positions), func(_, i int) error {
		kernel.Softmax(j.p[i*vocab : (i+1)*vocab])
		return nil
	})
}

func (j *judge) read(ctx context.Context, h *transformer.Hidden, logits []float32) error {
	return h.Select(j.positions).Logits(ctx, logits, 0, len(j.positions))
}

// kl returns the mean KL(float || h's model) in nats per token.
func (j *judge) kl(ctx context.Context, h *transformer.Hidden) (float64, error) {
	logits := make([]float32, len(j.logits))
	if err := j.read(ctx, h, logits); err != nil {
		return 0, err
	}
	each := make([]float64, len(j.positions))
	err := parallel.Do(ctx, len(each), func(_, i int) error {
		at := i * j.vocab
		each[i] = divergence(j.p[at:at+j.vocab], j.logits[at:at+j.vocab], logits[at:at+j.vocab])
		return nil
	})
	sum := 0.0
	for _, k := range each {
		sum += k
	}
	return sum / float64(len(each)), err
}

// divergence is KL(p || q), p being the softmax of a and q that of b: with d =
// b - a it is log of the mean of exp(d) less the mean of d, over p.
func divergence(p, a, b []float32) float64 {
	var all, exp, mean float64
	for i, v := range p {
		w, d := float64(v), float64(b[i])-float64(a[i])
		all += w
		mean += float64(w * d)
		exp += float64(w * kernel.Exp64(d))
	}
	return max(0, kernel.Log64(exp/all)-mean/all)
}
