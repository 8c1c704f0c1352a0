package gradient

import (
	"math"
	"slices"

	"thimble/internal/kernel"
	"thimble/internal/model"
	"thimble/internal/parallel"
	"thimble/internal/qtensor"
	"thimble/internal/transformer"
)

// A norm is one that was applied to rows: to each width columns apart, if centered after
// subtracting their mean. Column i has the factor gain[i%len(gain)].
type norm struct {
	gain     []float32
	width    int
	centered bool
	name     string // of the tensor of gains, "" if there is none
}

// norm returns the norm of the residual stream called name.
func (p *pass) norm(name string) norm {
	return norm{p.gain(name), p.s.Hidden, p.s.Centers(), name}
}

// gain returns the factors of a norm.
func (p *pass) gain(name string) []float32 {
	w := p.m.Tensors[name]
	x := make([]float32, w.Cols)
	new(qtensor.Reader).Row(x, w, 0)
	if p.s.Norm.CountsFrom1() {
		for i := range x {
			x[i]++
		}
	}
	return x
}

// streamNorm goes back through a norm of the residual stream, or of what is added to it.
func (p *pass) streamNorm(step int, o *transformer.Operation) error {
	name := o.Writes[0]
	return p.normalized(p.norm(model.Name(p.s.Schedule[step], name)), p.spend(name), p.acts[o.Reads[0]], p.gradient(o.Reads[0]))
}

// embedNorm goes back through the norm of the embeddings, which replaces the stream.
func (p *pass) embedNorm(int, *transformer.Operation) error {
	dy := p.grads[model.FFNResidual]
	dx := newRows(dy.n, dy.width)
	p.grads[model.FFNResidual] = dx
	return p.normalized(p.norm(model.EmbedNorm), dy, p.acts[model.EmbedNorm], dx)
}

// headNorms goes back through the norms of queries and keys.
func (p *pass) headNorms(step int, o *transformer.Operation) error {
	b := p.s.Schedule[step]
	for i, kind := range o.Writes {
		dy, x, dx := p.spend(kind), p.acts[o.Reads[i]], p.gradient(o.Reads[i])
		n := norm{width: p.s.HeadDim, centered: p.s.Centers() && p.s.QKNorm != model.QKBare}
		switch {
		case p.s.QKNorm == model.QKBare && p.s.RopeOf(b) == nil:
			dx.add(dy)
			continue
		case p.s.QKNorm == model.QKBare:
			n.gain = slices.Repeat([]float32{1}, p.s.HeadDim)
		default:
			n.name = model.Name(b, kind)
			n.gain = p.gain(n.name)
			n.centered = n.centered || p.s.QKNorm == model.QKLayer
		}
		if p.s.QKNorm == model.QKWide {
			n.width = len(n.gain)
		}
		if err := p.normalized(n, dy, x, dx); err != nil {
			return err
		}
	}
	return nil
}

// normalized goes back through a norm of x: from the gradient dy of its result to that of x,
// which it adds to dx, and to those of its gains and biases.
func (p *pass) normalized(n norm, dy, x, dx rows) error {
	if g := p.g[n.name+model.BiasSuffix]; g != nil {
		if err := columnSums(p.ctx, g.Values, dy); err != nil {
			return err
		}
	}
	byGain := p.memory("norm", x.width)
	err := parallel.Ranges(p.ctx, x.n, rowsAtOnce, func(worker, from, to int) error {
		w := &p.workers[worker]
		w.row = sized(w.row, n.width)
		for t := from; t < to; t++ {
			for at := 0; at < x.width; at += n.width {
				end := at + n.width
				n.back(byGain.row(t)[at:end], dx.row(t)[at:end], dy.row(t)[at:end], x.row(t)[at:end], n.gain[at%len(n.gain):][:n.width], w.row, p.s.NormEps)
			}
		}
		return nil
	})
	if g := p.g[n.name]; g != nil && err == nil {
		err = columnSums(p.ctx, g.Values, byGain)
	}
	return err
}

// back is normalized for values that are normalized together. With r = 1/rms(x) and h = x r,
// the gradient of x is r (g - h mean(g h)) for the gradient g = gain dy of h. byGain becomes
// dy h. centered is scratch memory.
func (n *norm) back(byGain, dx, dy, x, gain, centered []float32, eps float64) {
	size := float64(len(x))
	copy(centered, x)
	if n.centered {
		mean := float32(float64(kernel.Sum(x)) / size)
		for i := range centered {
			centered[i] -= mean
		}
	}
	r := float32(1 / math.Sqrt(float64(kernel.Dot(centered, centered))/size+float64(float32(eps))))
	sum := 0.0
	for i, v := range centered {
		h := v * r
		byGain[i] = float32(dy[i] * h)
		sum += float64(byGain[i]) * float64(gain[i]) // exact
	}
	share := float32(sum / size)
	total := 0.0
	for i, v := range centered {
		h := float32(v * r)
		centered[i] = r * (float32(gain[i]*dy[i]) - float32(h*share))
		total += float64(centered[i])
	}
	mean := float32(0)
	if n.centered {
		mean = float32(total / size)
	}
	for i, v := range centered {
		dx[i] += v - mean
	}
}
