package transformer

import (
	"context"
	"math"
	"slices"

	"thimble/internal/kernel"
	"thimble/internal/model"
)

// An altUp holds what a block predicts and corrects its streams with, see model.AltUp. It is zero
// in models with a single stream.
type altUp struct {
	norm                     norm
	router, predict, correct linear
	scale                    []float32 // (Hidden), or nil unless Scaled
	in, out                  []linear  // (Hidden, Hidden) of each other stream; in of the first and out of the last block only
}

func altUpOf(m *model.Model, b int) altUp {
	s := &m.Spec
	matrix := func(kind string) linear { return linear{w: m.Tensors[model.Name(b, kind)]} }
	w := altUp{
		norm: normOf(m, model.Name(b, model.AltUpNorm)), router: matrix(model.AltUpRouter),
		predict: matrix(model.AltUpPredict), correct: matrix(model.AltUpCorrect),
	}
	if s.AltUp.Scaled {
		w.scale = vector(m, model.Name(b, model.AltUpScale))
	}
	if b == 0 {
		for _, kind := range s.OtherStreams(model.AltUpIn) {
			w.in = append(w.in, matrix(kind))
		}
	}
	if b == s.Blocks-1 {
		for _, kind := range s.OtherStreams(model.AltUpOut) {
			w.out = append(w.out, matrix(kind))
		}
	}
	return w
}

// linears adds the linear layers of w by kind.
func (w *altUp) linears(all map[string]*linear) {
	for i := range w.in {
		all[model.AltUpIn(1+i)] = &w.in[i]
	}
	for i := range w.out {
		all[model.AltUpOut(1+i)] = &w.out[i]
	}
}

// An altUpPass holds the activations of an altUp besides the active stream, which is pass.x.
type altUpPass struct {
	streams   []rows // (positions, Hidden) of each other stream
	outs      []rows // likewise, what becomes of them after the last block
	predicted rows   // (positions, Hidden), the active stream as predicted
	route     rows   // (positions, Streams)
	predicts  rows   // (positions, Streams*Streams)
	corrects  rows   // (positions, Streams)
}

func newAltUpPass(s *model.Spec, n int) *altUpPass {
	k := s.AltUp.Streams
	p := &altUpPass{predicted: newRows(n, s.Hidden), route: newRows(n, k), predicts: newRows(n, k*k), corrects: newRows(n, k)}
	for range k - 1 {
		p.streams, p.outs = append(p.streams, newRows(n, s.Hidden)), append(p.outs, newRows(n, s.Hidden))
	}
	return p
}

// activations returns the rows that hold the activations called name.
func (p *altUpPass) activations(name string) (x rows, ok bool) {
	switch name {
	case model.AltUpRouter, model.AltUpRoute, model.Again(model.AltUpRouter), model.Again(model.AltUpRoute):
		return p.route, true
	case model.AltUpPredict:
		return p.predicts, true
	case model.AltUpCorrect:
		return p.corrects, true
	case model.AltUpPredicted:
		return p.predicted, true
	}
	for i := range p.streams {
		switch name {
		case model.Stream(1 + i), model.AltUpIn(1 + i):
			return p.streams[i], true
		case model.AltUpOut(1 + i):
			return p.outs[i], true
		}
	}
	return rows{}, false
}

// startStreams returns the operations before the first step that make the other streams.
func startStreams(s *model.Spec) []operation {
	matrices, streams := s.OtherStreams(model.AltUpIn), s.OtherStreams(model.Stream)
	return []operation{
		{Operation{opAltUpIn, matrices, list(model.FFNResidual), matrices}, func(p *pass, ctx context.Context, step int) error {
			var products [model.MaxStreams]product
			for i, y := range p.altUp.streams {
				products[i] = product{y, p.block(step).altUp.in[i]}
			}
			return p.d.apply(ctx, p.x, products[:len(p.altUp.streams)]...)
		}},
		{Operation{opStreams, nil, slices.Concat(list(model.FFNResidual), matrices), streams}, func(p *pass, _ context.Context, _ int) error {
			for _, y := range p.altUp.streams {
				p.matchMagnitude(y)
			}
			return nil
		}},
	}
}

// mergeStreams returns the operations after the last step that make the streams one.
func mergeStreams(s *model.Spec) (all []operation) {
	matrices := s.OtherStreams(model.AltUpOut)
	for i, kind := range matrices {
		all = append(all, operation{Operation{kind, list(kind), list(model.Stream(1 + i)), list(kind)}, func(p *pass, ctx context.Context, step int) error {
			return p.d.apply(ctx, p.altUp.streams[i], product{p.altUp.outs[i], p.block(step).altUp.out[i]})
		}})
	}
	return append(all, operation{Operation{model.AltUpMerged, nil, slices.Concat(list(model.FFNResidual), matrices), list(model.AltUpMerged)}, (*pass).merge})
}

// merge computes x = mean of x and the outputs of the other streams, with the magnitude of x.
func (p *pass) merge(context.Context, int) error {
	for _, y := range p.altUp.outs {
		p.matchMagnitude(y)
	}
	for _, y := range p.altUp.outs {
		p.x.add(y)
	}
	share := 1 / float32(1+len(p.altUp.outs))
	for t := range p.x.n {
		multiply(p.x.row(t), share)
	}
	return nil
}

// leastSquare is the least mean square that a magnitude is divided by.
const leastSquare = 1e-5

// matchMagnitude scales each row of y to the root mean square of that of x.
func (p *pass) matchMagnitude(y rows) {
	square := func(x []float32) float64 { return float64(kernel.Dot(x, x)) / float64(len(x)) }
	for t := range y.n {
		of := float32(math.Sqrt(square(p.x.row(t)))) / float32(math.Sqrt(max(square(y.row(t)), leastSquare)))
		multiply(y.row(t), of)
	}
}

// routeOperations returns the operations that compute r of the stream called stream; name
// names their activations.
func routeOperations(stream string, name func(kind string) string) []operation {
	normed, routed := name(model.AltUpNorm), name(model.AltUpRouter)
	return []operation{
		{Operation{normed, nil, list(stream), list(normed)}, func(p *pass, _ context.Context, step int) error {
			return p.normalizeStream(p.h, p.block(step).altUp.norm)
		}},
		{Operation{routed, nil, list(normed), list(routed)}, func(p *pass, ctx context.Context, step int) error {
			return p.d.apply(ctx, p.h, product{p.altUp.route, p.block(step).altUp.router})
		}},
		{Operation{name(model.AltUpRoute), nil, list(routed), list(name(model.AltUpRoute))}, func(p *pass, _ context.Context, _ int) error {
			for t := range p.x.n {
				multiply(p.altUp.route.row(t), 1/float32(p.d.spec.Hidden))
				kernel.Softcap(p.altUp.route.row(t), 1) // tanh
			}
			return nil
		}},
	}
}

// predictOperations returns the operations before a block.
func predictOperations(s *model.Spec) []operation {
	streams := s.OtherStreams(model.Stream)
	same := func(kind string) string { return kind }
	return append(routeOperations(model.FFNResidual, same),
		operation{Operation{model.AltUpPredict, nil, list(model.AltUpRoute), list(model.AltUpPredict)}, func(p *pass, ctx context.Context, step int) error {
			return p.d.apply(ctx, p.altUp.route, product{p.altUp.predicts, p.block(step).altUp.predict})
		}},
		operation{Operation{model.AltUpPredicted, nil, slices.Concat(list(model.AltUpPredict, model.FFNResidual), streams), slices.Concat(list(model.AltUpPredicted), streams)}, (*pass).predict},
	)
}

// predict computes x_i += sum_j P_ij x_j, and keeps x_0.
func (p *pass) predict(context.Context, int) error {
	if p.x.n == 1 {
		p.predictRows(0, 1)
	} else {
		p.d.ranges(p.x.n, p.predictRows)
	}
	copy(p.altUp.predicted.data, p.x.data)
	return nil
}

// predictRows is predict for the rows [from, to), without keeping x_0.
func (p *pass) predictRows(from, to int) {
	var all [model.MaxStreams][]float32
	streams := all[:p.d.spec.AltUp.Streams]
	for t := from; t < to; t++ {
		streams[0] = p.x.row(t)
		for i, y := range p.altUp.streams {
			streams[1+i] = y.row(t)
		}
		predictRow(streams, p.altUp.predicts.row(t))
	}
}

// predictRow is predict for one position, whose streams have the coefficients P, (n, n).
func predictRow(streams [][]float32, coefs []float32) {
	var values [model.MaxStreams]float32
	x := values[:len(streams)]
	for c := range streams[0] {
		for i, s := range streams {
			x[i] = s[c]
		}
		for i, s := range streams {
			y := float32(0)
			for j, v := range x {
				y += float32(coefs[i*len(x)+j] * v)
			}
			s[c] = y + x[i]
		}
	}
}

// correctOperations returns the operations after the feed-forward layer.
func correctOperations(s *model.Spec) []operation {
	streams := s.OtherStreams(model.Stream)
	all := append(routeOperations(model.FFNSum, model.Again),
		operation{Operation{model.AltUpCorrect, nil, list(model.Again(model.AltUpRoute)), list(model.AltUpCorrect)}, func(p *pass, ctx context.Context, step int) error {
			return p.d.apply(ctx, p.altUp.route, product{p.altUp.corrects, p.block(step).altUp.correct})
		}},
		operation{Operation{model.AltUpCorrected, nil, slices.Concat(list(model.AltUpCorrect, model.FFNSum, model.AltUpPredicted), streams), slices.Concat(list(model.AltUpCorrected), streams)}, (*pass).correct},
	)
	if s.AltUp.Scaled {
		all = append(all, operation{Operation{model.AltUpScale, nil, list(model.AltUpCorrected), list(model.AltUpScale)}, func(p *pass, _ context.Context, step int) error {
			for t := range p.x.n {
				copy(p.h.row(t), p.x.row(t))
				kernel.Mul(p.h.row(t), p.block(step).altUp.scale)
			}
			return nil
		}})
	}
	return all
}

// correct computes x_i = p_i + (1 + C_i) (x_0 - p_0).
func (p *pass) correct(context.Context, int) error {
	if p.x.n == 1 {
		p.correctRows(0, 1)
	} else {
		p.d.ranges(p.x.n, p.correctRows)
	}
	return nil
}

// correctRows is correct for the rows [from, to).
func (p *pass) correctRows(from, to int) {
	a := p.altUp
	for t := from; t < to; t++ {
		x, coefs, predicted := p.x.row(t), a.corrects.row(t), a.predicted.row(t)
		for c, v := range predicted {
			lacking := x[c] - v
			x[c] = v + float32(lacking*(1+coefs[0]))
			for i, y := range a.streams {
				y.row(t)[c] += float32(lacking * (1 + coefs[1+i]))
			}
		}
	}
}
