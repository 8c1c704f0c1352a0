package tuning

import (
	"context"

	"thimble/internal/kernel"
	"thimble/internal/logits"
	"thimble/internal/model"
	"thimble/internal/parallel"
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

// logitsAtOnce is the number of positions whose logits are in memory at a time.
const logitsAtOnce = 64

// measure returns the mean divergence of the tuned model on the held-out texts.
func (t *tuner) measure(ctx context.Context) (float64, error) {
	sum, n := 0.0, 0
	for _, h := range t.held {
		states, err := hidden(ctx, t.m, h.texts)
		if err != nil {
			return 0, err
		}
		kl, err := divergence(ctx, h.states, states, t.m.Spec.Vocab)
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

// divergence returns KL(want || got) at each position, to within a percent.
func divergence(ctx context.Context, want, got *transformer.Hidden, vocab int) ([]float64, error) {
	kl := make([]float64, want.Len())
	a, b := make([]float32, min(logitsAtOnce, len(kl))*vocab), make([]float32, min(logitsAtOnce, len(kl))*vocab)
	p := make([][]float32, parallel.Workers())
	for from := 0; from < len(kl); from += logitsAtOnce {
		n := min(logitsAtOnce, len(kl)-from)
		if err := want.Logits(ctx, a, from, n); err != nil {
			return nil, err
		}
		if err := got.Logits(ctx, b, from, n); err != nil {
			return nil, err
		}
		err := parallel.Do(ctx, n, func(worker, i int) error {
			x := a[i*vocab:][:vocab]
			p[worker] = append(p[worker][:0], x...)
			kernel.Softmax(p[worker])
			kl[from+i] = logits.QuickKL(p[worker], x, b[i*vocab:][:vocab])
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return kl, nil
}
