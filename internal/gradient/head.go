package gradient

import (
	"thimble/internal/kernel"
	"thimble/internal/logits"
	"thimble/internal/model"
	"thimble/internal/parallel"
)

// logitsAtOnce is the number of positions whose target is in memory at a time.
const logitsAtOnce = 64

// head computes the logits of all positions and their divergence from the target, and goes
// back to the residual stream after the last step, whose gradient it leaves in p.grads.
func (p *pass) head(target Target) ([]float64, error) {
	hidden, err := p.t.Hidden()
	if err != nil {
		return nil, err
	}
	kl := make([]float64, p.n)
	h, dh, dz := newRows(p.n, p.s.Hidden), newRows(p.n, p.s.Hidden), newRows(p.n, p.s.Vocab)
	for t := range p.n {
		copy(h.row(t), hidden.Row(t))
	}
	want := make([]float32, min(logitsAtOnce, p.n)*p.s.Vocab)
	got := make([]float32, len(want))
	probabilities := make([][]float32, len(p.workers))
	for first := 0; first < p.n; first += logitsAtOnce {
		n := min(logitsAtOnce, p.n-first)
		if err := target(p.ctx, want, first, n); err != nil {
			return nil, err
		}
		if err := hidden.Logits(p.ctx, got, first, n); err != nil {
			return nil, err
		}
		err := parallel.Do(p.ctx, n, func(worker, i int) error {
			probabilities[worker] = append(probabilities[worker][:0], want[i*p.s.Vocab:][:p.s.Vocab]...)
			kl[first+i] = p.difference(dz.row(first+i), probabilities[worker], want[i*p.s.Vocab:][:p.s.Vocab], got[i*p.s.Vocab:][:p.s.Vocab])
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	fresh := false
	if err := p.layer(p.m.HeadName(), dz, h, dh, &fresh); err != nil {
		return nil, err
	}
	if g := p.g[model.Head+model.BiasSuffix]; g != nil && p.s.Tied {
		if err := columnSums(p.ctx, g.Values, dz); err != nil {
			return nil, err
		}
	}
	return kl, p.normalized(p.norm(model.Norm), dh, p.acts[model.FFNResidual], p.gradient(model.FFNResidual))
}

// difference sets dz to the gradient of KL(want || got), in nats, by got before its scale and
// cap, and returns that divergence. probabilities holds want, and then their softmax.
func (p *pass) difference(dz, probabilities, want, got []float32) float64 {
	kernel.Softmax(probabilities)
	kl := logits.QuickKL(probabilities, want, got)
	copy(dz, got)
	kernel.Softmax(dz)
	for i, v := range probabilities {
		dz[i] -= v
	}
	if limit := float32(p.s.LogitCap); limit != 0 {
		for i, y := range got {
			dz[i] *= capSlope(y, limit)
		}
	}
	if scale := float32(p.s.LogitScale); scale != 0 {
		for i := range dz {
			dz[i] *= scale
		}
	}
	return kl
}

// lookup adds the gradients of the embedding, given that of the residual stream before the
// first step.
func (p *pass) lookup(texts [][]int) error {
	g, dx := p.g[model.Embed], p.grads[model.FFNResidual]
	if g == nil {
		return nil
	}
	return parallel.Guard(func() error {
		t := 0
		for _, ids := range texts {
			for _, id := range ids {
				if scale := float32(p.s.EmbedScale); scale != 0 {
					for i := range dx.row(t) {
						dx.row(t)[i] *= scale
					}
				}
				p.workers[0].reduce(g, p.m.Tensors[model.Embed], id, dx.row(t))
				t++
			}
		}
		return nil
	})
}
