package gradient

import (
	"context"
	"math"
	"math/rand/v2"

	"thimble/internal/kernel"
	"thimble/internal/model"
	"thimble/internal/parallel"
)

// Powers are the second moments of the gradients of linear layers' outputs: for each layer by
// name, (Rows), the sum over the positions of some texts.
type Powers map[string][]float64

// Add runs texts through m and adds squares of gradients by the outputs of m's linear layers.
// They have the mean of those of the log-probability of a token that m draws. Near m, an error e of
// output r at a random position then costs half of powers[r] e^2 in the sum of KL(m || m with
// error) over the positions, if the errors of outputs are independent (Fisher information). m
// must have passed Check, no text may be empty. seed is that of random signs.
func (powers Powers) Add(ctx context.Context, m *model.Model, texts [][]int, seed uint64) error {
	p, err := newPass(ctx, m, texts, nil)
	if err != nil {
		return err
	}
	for _, slot := range m.Spec.Slots() {
		if slot.Role == model.Linear && powers[slot.Name] == nil {
			powers[slot.Name] = make([]float64, slot.Rows)
		}
	}
	p.powers = powers
	streams, err := p.forward()
	if err != nil {
		return err
	}
	if err := p.draw(seed); err != nil {
		return err
	}
	return p.back(streams)
}

// draw sets the gradient of the residual stream after the last step for random gradients of the
// logits, with the second moment of those of a token's log-probability if the model draws it:
// diag p - p p^T at probabilities p. A sum of the square roots of p with random signs has it, and
// its squares vary less than those of drawn tokens.
func (p *pass) draw(seed uint64) error {
	roots := make([][]float64, len(p.workers))
	return p.fromLogits(nil, func(worker, t int, dz, logits []float32) {
		copy(dz, logits)
		kernel.Softmax(dz)
		if roots[worker] == nil {
			roots[worker] = make([]float64, len(dz))
		}
		x := roots[worker]
		signs, bits, sum := rand.NewPCG(seed, uint64(t)), uint64(0), 0.0
		for i, v := range dz {
			if i%64 == 0 {
				bits = signs.Uint64()
			}
			x[i] = math.Sqrt(float64(v))
			if bits&1 > 0 {
				x[i] = -x[i]
			}
			bits >>= 1
			sum += x[i]
		}
		for i, v := range dz {
			dz[i] = float32(x[i] - float64(sum*float64(v)))
		}
		p.beforeCap(dz, logits)
	})
}

// addSquares adds the sum of the squares of each column of x to sums.
func addSquares(ctx context.Context, sums []float64, x rows) error {
	return parallel.Ranges(ctx, x.width, 64, func(_, from, to int) error {
		for t := range x.n {
			for i, v := range x.row(t)[from:to] {
				sums[from+i] += float64(float64(v) * float64(v))
			}
		}
		return nil
	})
}

// Bytes returns about the memory that a pass over so many positions takes.
func Bytes(s *model.Spec, positions int) int64 {
	padded := func(n int) int64 { return 4 * int64(kernel.Padded(n)) }
	step := 16*padded(s.Hidden) + 10*padded(s.Heads*s.HeadDim) + 8*padded(s.KVHeads*s.HeadDim) + 8*padded(s.FFN)
	return int64(positions) * (padded(s.Vocab) + step + int64(len(s.Schedule))*padded(s.Hidden))
}
