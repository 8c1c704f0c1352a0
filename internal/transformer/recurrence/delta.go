package recurrence

import (
	"math"

	"thimble/internal/kernel"
	"thimble/internal/model"
)

// A Delta is the gated delta rule; see model.DeltaIn. The inputs of a position are the outputs of
// DeltaIn, DeltaA and DeltaB.
type Delta struct {
	model.Delta
	conv  CausalConv
	decay []float64 // (ValueHeads), exp(DeltaDecay)
	dt    []float64 // (ValueHeads)
	gain  []float32 // (ValueDim)
	eps   float32
	ones  []float32 // (Mixed)
}

// NewDelta returns the rule with the vectors DeltaDecay, DeltaDT and DeltaNorm.
func NewDelta(d model.Delta, conv CausalConv, decay, dt, gain []float32, eps float64) *Delta {
	return &Delta{d, conv, rates(decay), widened(dt), gain, float32(eps), ones(d.Mixed())}
}

// Channels implements Layer.
func (w *Delta) Channels() int { return w.Mixed() }

// Heads implements Layer.
func (w *Delta) Heads() int { return w.ValueHeads }

// HeadState implements Layer: (ValueDim, KeyDim).
func (w *Delta) HeadState() int { return w.ValueDim * w.KeyDim }

// HeadWidth implements Layer.
func (w *Delta) HeadWidth() int { return w.ValueDim }

// Convolve computes q, k and v of position t: SiLU of the convolution, and each head of q and k
// with length 1, q also divided by sqrt(KeyDim).
func (w *Delta) Convolve(dst, inputs []float32, t int) {
	w.conv.At(dst, inputs, w.Inputs(), t)
	kernel.SiLUMul(dst, dst, w.ones)
	for h := range 2 * w.KeyHeads {
		head, scale := dst[h*w.KeyDim:][:w.KeyDim], 1.0
		if h < w.KeyHeads {
			scale = 1 / math.Sqrt(float64(w.KeyDim))
		}
		sum := 0.0
		for _, x := range head {
			sum += float64(float64(x) * float64(x))
		}
		scale /= math.Sqrt(sum + 1e-6)
		for i, x := range head {
			head[i] = float32(float64(x) * scale)
		}
	}
}

// Update sets out to S q.
func (w *Delta) Update(s, qkv, inputs []float32, h int, out []float32) {
	gates := inputs[w.Mixed():]
	a, b := gates[h], gates[w.ValueHeads+h]
	of := h / (w.ValueHeads / w.KeyHeads)
	q, k := qkv[of*w.KeyDim:][:w.KeyDim], qkv[(w.KeyHeads+of)*w.KeyDim:][:w.KeyDim]
	v := qkv[2*w.KeyHeads*w.KeyDim+h*w.ValueDim:][:w.ValueDim]
	decay := float32(kernel.Exp64(-w.decay[h] * softplus(float64(a)+w.dt[h])))
	rate := float32(1 / (1 + kernel.Exp64(-float64(b))))
	for j := range w.ValueDim {
		row := s[j*w.KeyDim:][:w.KeyDim]
		for i := range row {
			row[i] *= decay
		}
		delta := (v[j] - kernel.Dot(row, k)) * rate
		for i, x := range k {
			row[i] += float32(x * delta)
		}
		if out != nil {
			out[j] = kernel.Dot(row, q)
		}
	}
}

// Gate normalizes each head of x, the outputs of a position, and multiplies it by its gate.
func (w *Delta) Gate(x, gate []float32) {
	for h := range w.ValueHeads {
		head := x[h*w.ValueDim:][:w.ValueDim]
		kernel.RMSNorm(head, head, w.gain, w.eps)
	}
	kernel.SiLUMul(x, gate, x)
}

var _ Layer = (*Delta)(nil)
