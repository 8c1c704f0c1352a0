// Package divergence measures how far a model's logits are from given ones.
package divergence

import (
	"context"

	"thimble/internal/kernel"
	"thimble/internal/logits"
	"thimble/internal/parallel"
	"thimble/internal/transformer"
)

// Batch is the number of positions whose logits are in memory at a time.
const Batch = 128

// Of returns KL(want || got) at each position of got, in nats, to within a percent. want
// returns the logits of the positions [from, from+n), (n, vocab), until its next call; n is at
// most Batch.
func Of(ctx context.Context, want func(from, n int) ([]float32, error), got *transformer.Hidden, vocab int) ([]float64, error) {
	kl := make([]float64, got.Len())
	rows := make([]float32, min(Batch, len(kl))*vocab)
	p := make([][]float32, parallel.Workers())
	for from := 0; from < len(kl); from += Batch {
		n := min(Batch, len(kl)-from)
		wanted, err := want(from, n)
		if err != nil {
			return nil, err
		}
		if err := got.Logits(ctx, rows, from, n); err != nil {
			return nil, err
		}
		err = parallel.Do(ctx, n, func(worker, i int) error {
			x := wanted[i*vocab:][:vocab]
			p[worker] = append(p[worker][:0], x...)
			kernel.Softmax(p[worker])
			kl[from+i] = logits.QuickKL(p[worker], x, rows[i*vocab:][:vocab])
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return kl, nil
}
