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
// back to the residual stream after the last step.
func (p *pass) head(target Target) ([]float64, error) {
	kl := make([]float64, p.n)
	want, start := make([]float32, min(logitsAtOnce, p.n)*p.s.Vocab), 0
	probabilities := make([][]float32, len(p.workers))
	prepare := func(first, n int) error {
		start = first
		return target(p.ctx, want, first, n)
	}
	return kl, p.fromLogits(prepare, func(worker, t int, dz, got []float32) {
		row := want[(t-start)*p.s.Vocab:][:p.s.Vocab]
		probabilities[worker] = append(probabilities[worker][:0], row...)
		kl[t] = p.difference(dz, probabilities[worker], row, got)
	})
}

// fromLogits goes back from the logits of all positions to the residual stream after the last
// step, whose gradient it leaves in p.grads. It calls prepare, if that is not nil, before some
// positions, and then difference for each of them, which sets dz, (Vocab), to the gradient by
// the logits before their scale and cap.
func (p *pass) fromLogits(prepare func(first, n int) error, difference func(worker, t int, dz, logits []float32)) error {
	hidden, err := p.t.Hidden()
	if err != nil {
		return err
	}
	h, dh, dz := newRows(p.n, p.s.Hidden), newRows(p.n, p.s.Hidden), newRows(p.n, p.s.Vocab)
	for t := range p.n {
		copy(h.row(t), hidden.Row(t))
	}
	got := make([]float32, min(logitsAtOnce, p.n)*p.s.Vocab)
	for first := 0; first < p.n; first += logitsAtOnce {
		n := min(logitsAtOnce, p.n-first)
		if prepare != nil {
			if err := prepare(first, n); err != nil {
				return err
			}
		}
		if err := hidden.Logits(p.ctx, got, first, n); err != nil {
			return err
		}
		err := parallel.Do(p.ctx, n, func(worker, i int) error {
			difference(worker, first+i, dz.row(first+i), got[i*p.s.Vocab:][:p.s.Vocab])
			return nil
		})
		if err != nil {
			return err
		}
	}
	fresh := false
	if err := p.layer(p.m.HeadName(), dz, h, dh, &fresh); err != nil {
		return err
	}
	if g := p.g[model.Head+model.BiasSuffix]; g != nil && p.s.Tied {
		if err := columnSums(p.ctx, g.Values, dz); err != nil {
			return err
		}
	}
	return p.normalized(p.norm(model.Norm), dh, p.acts[model.FFNResidual], p.gradient(model.FFNResidual))
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
	p.beforeCap(dz, got)
	return kl
}

// beforeCap turns dz from a gradient by the logits got into one by what they are before their
// scale and cap.
func (p *pass) beforeCap(dz, got []float32) {
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
