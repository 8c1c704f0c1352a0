package recurrence

import (
	"cmp"
	"math"

	"thimble/internal/kernel"
	"thimble/internal/model"
)

// A Scan is a state space layer; see model.ScanIn. The inputs of a position are the outputs of
// ScanIn and ScanStep.
type Scan struct {
	model.Scan
	conv  CausalConv
	decay []float64 // (Heads), exp(ScanDecay)
	dt    []float64 // (Heads)
	skip  []float32 // (Heads)
	gain  []float32 // (Values), or nil
	least float64   // bounds of a step
	most  float64
	eps   float32
	ones  []float32 // (Mixed)
}

// ScanVectors are the vectors of a state space layer, by their kinds. Norm may be nil.
type ScanVectors struct{ Decay, Skip, DT, Norm []float32 }

// NewScan returns the layer with these vectors.
func NewScan(c model.Scan, conv CausalConv, v ScanVectors, eps float64) *Scan {
	return &Scan{
		Scan: c, conv: conv, decay: rates(v.Decay), dt: widened(v.DT), skip: v.Skip, gain: v.Norm,
		least: c.MinStep, most: cmp.Or(c.MaxStep, math.Inf(1)), eps: float32(eps), ones: ones(c.Mixed()),
	}
}

// Channels implements Layer.
func (w *Scan) Channels() int { return w.Mixed() }

// Heads implements Layer.
func (w *Scan) Heads() int { return w.Scan.Heads }

// HeadState implements Layer: (HeadDim, State).
func (w *Scan) HeadState() int { return w.HeadDim * w.State }

// HeadWidth implements Layer.
func (w *Scan) HeadWidth() int { return w.HeadDim }

// Convolve computes x, b and c of position t: SiLU of the convolution.
func (w *Scan) Convolve(dst, inputs []float32, t int) {
	w.conv.At(dst, inputs, w.Inputs(), t)
	kernel.SiLUMul(dst, dst, w.ones)
}

// Update sets out to S c plus the skipped x. It computes equation 16 of section 3.4 (arXiv
// 2405.21060) with the decay exp(-exp(ScanDecay) t) of the head and the input t x.
func (w *Scan) Update(s, xbc, inputs []float32, h int, out []float32) {
	n, group := w.State, h/(w.Scan.Heads/w.Groups)
	x := xbc[h*w.HeadDim:][:w.HeadDim]
	b := xbc[w.Values()+group*n:][:n]
	c := xbc[w.Values()+(w.Groups+group)*n:][:n]
	step := min(max(softplus(float64(inputs[w.Mixed()+h])+w.dt[h]), w.least), w.most)
	decay, rate := float32(kernel.Exp64(-w.decay[h]*step)), float32(step)
	for j, v := range x {
		row, add := s[j*n:][:len(b)], v*rate
		for i, y := range b {
			row[i] = float32(row[i]*decay) + float32(y*add)
		}
		if out != nil {
			out[j] = kernel.Dot(row, c) + float32(v*w.skip[h])
		}
	}
}

// Gate gates x, the outputs of a position, and normalizes the outputs of each group.
func (w *Scan) Gate(x, gate []float32) {
	if w.Norm != model.ScanNormed {
		kernel.SiLUMul(x, gate, x)
	}
	if w.Norm == model.ScanUnnormed {
		return
	}
	width := len(x) / w.Groups
	for at := 0; at < len(x); at += width {
		kernel.RMSNorm(x[at:][:width], x[at:][:width], w.gain[at:][:width], w.eps)
	}
	if w.Norm == model.ScanNormed {
		kernel.SiLUMul(x, gate, x)
	}
}

var _ Layer = (*Scan)(nil)
