package tuning

import (
	"context"

	"thimble/internal/divergence"
	"thimble/internal/model"
	"thimble/internal/transformer"
)

// partBytes bounds the logits of all positions that run together, if they are of more than
// one text.
const partBytes = 256 << 20

// parts cuts texts into parts that run together.
func parts(texts [][]int, vocab int) (all [][][]int) {
	at, n := 0, 0
	for i, ids := range texts {
		if n > 0 && int64(n+len(ids))*int64(vocab)*4 > partBytes {
			all = append(all, texts[at:i])
			at, n = i, 0
		}
		n += len(ids)
	}
	return append(all, texts[at:])
}

// hidden returns the final hidden states of m for texts.
func hidden(ctx context.Context, m *model.Model, texts [][]int) (*transformer.Hidden, error) {
	d, err := transformer.New(m)
	if err != nil {
		return nil, err
	}
	t, err := d.NewTrace(texts)
	if err != nil {
		return nil, err
	}
	if err := t.Finish(ctx); err != nil {
		return nil, err
	}
	return t.Hidden()
}

// held is a part of the held-out texts, with the states of the original model.
type held struct {
	texts  [][]int
	states *transformer.Hidden
}

func heldOut(ctx context.Context, original *model.Model, texts [][]int) (all []held, err error) {
	for _, part := range parts(texts, original.Spec.Vocab) {
		h, err := hidden(ctx, original, part)
		if err != nil {
			return nil, err
		}
		all = append(all, held{part, h})
	}
	return all, nil
}

// measure returns the mean divergence of the tuned model on the held-out texts.
func (t *tuner) measure(ctx context.Context) (float64, error) {
	sum, n := 0.0, 0
	for _, h := range t.held {
		states, err := hidden(ctx, t.m, h.texts)
		if err != nil {
			return 0, err
		}
		vocab := t.m.Spec.Vocab
		want := make([]float32, min(divergence.Batch, states.Len())*vocab)
		kl, err := divergence.Of(ctx, func(from, n int) ([]float32, error) { return want, h.states.Logits(ctx, want, from, n) }, states, vocab)
		if err != nil {
			return 0, err
		}
		for _, v := range kl {
			sum += v
		}
		n += len(kl)
		t.report(len(kl))
	}
	return sum / float64(n), nil
}
