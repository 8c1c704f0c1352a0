package recurrence

import (
	"context"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"thimble/internal/model"
)

// random returns n numbers around mean.
func random(r *rand.Rand, n int, mean float64) []float32 {
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(mean + r.NormFloat64()/2)
	}
	return x
}

// slowScan is the layer as section 7 (arXiv 2405.21060) has it, as a sum over all earlier positions
// instead of a state, in float64.
func slowScan(c model.Scan, length int, factors, bias []float32, v ScanVectors, inputs, gates []float32, eps float64) (out []float64) {
	silu := func(x float64) float64 { return x / (1 + math.Exp(-x)) }
	width := c.Inputs()
	n := len(inputs) / width
	xbc := make([][]float64, n)
	for t := range xbc {
		for i := range c.Mixed() {
			sum := float64(bias[i])
			for j := range length {
				if from := t - length + 1 + j; from >= 0 {
					sum += float64(factors[i*length+j]) * float64(inputs[from*width+i])
				}
			}
			xbc[t] = append(xbc[t], silu(sum))
		}
	}
	for t := range n {
		y := make([]float64, c.Values())
		for i := range y {
			h := i / c.HeadDim
			group := h / (c.Heads / c.Groups)
			decay := 0.0 // of the positions after from, the logarithm
			for from := t; from >= 0; from-- {
				step := math.Log1p(math.Exp(float64(inputs[from*width+c.Mixed()+h]) + float64(v.DT[h])))
				step = math.Max(step, c.MinStep)
				if c.MaxStep > 0 {
					step = math.Min(step, c.MaxStep)
				}
				score := 0.0
				for k := range c.State {
					score += xbc[t][c.Values()+(c.Groups+group)*c.State+k] * xbc[from][c.Values()+group*c.State+k]
				}
				y[i] += math.Exp(decay) * score * step * xbc[from][i]
				decay -= math.Exp(float64(v.Decay[h])) * step
			}
			y[i] += float64(v.Skip[h]) * xbc[t][i]
		}
		gate := func() {
			for i := range y {
				y[i] *= silu(float64(gates[t*c.Values()+i]))
			}
		}
		if c.Norm != model.ScanNormed {
			gate()
		}
		if width := c.Values() / c.Groups; c.Norm != model.ScanUnnormed {
			for at := 0; at < len(y); at += width {
				sum := 0.0
				for _, x := range y[at:][:width] {
					sum += x * x
				}
				for i := range width {
					y[at+i] *= float64(v.Norm[at+i]) / math.Sqrt(sum/float64(width)+eps)
				}
			}
		}
		if c.Norm == model.ScanNormed {
			gate()
		}
		out = append(out, y...)
	}
	return out
}

// A Scan agrees with the slow one, and gives the same bits for a text at once and in parts.
func TestScan(t *testing.T) {
	const n, length, eps = 37, 4, 1e-5
	for _, c := range []model.Scan{
		{Heads: 4, HeadDim: 6, State: 16, Groups: 2},
		{Heads: 3, HeadDim: 5, State: 7, Groups: 1, Norm: model.ScanNormed, MinStep: 0.5, MaxStep: 0.9},
		{Heads: 6, HeadDim: 2, State: 33, Groups: 3, Norm: model.ScanUnnormed},
	} {
		r := rand.New(rand.NewPCG(1, 2))
		factors, bias := random(r, c.Mixed()*length, 0), random(r, c.Mixed(), 0)
		v := ScanVectors{Decay: random(r, c.Heads, -1), Skip: random(r, c.Heads, 1), DT: random(r, c.Heads, 0), Norm: random(r, c.Values(), 1)}
		inputs, gates := random(r, n*c.Inputs(), 0), random(r, n*c.Values(), 0)
		w := NewScan(c, NewCausalConv(factors, bias, length), v, eps)
		run := func(chunk int) []float32 {
			var state State
			out := make([]float32, n*c.Values())
			for from := 0; from < n; from += chunk {
				to := min(from+chunk, n)
				a := Advance{Layer: w, State: &state, Inputs: inputs[:to*c.Inputs()], Out: out[from*c.Values():], N: to - from, Stride: c.Values()}
				a.Start(from)
				if err := a.Run(context.Background()); err != nil {
					t.Fatal(err)
				}
			}
			for at := 0; at < len(out); at += c.Values() {
				w.Gate(out[at:][:c.Values()], gates[at:][:c.Values()])
			}
			return out
		}
		got := run(n)
		for _, chunk := range []int{1, 5, 16} {
			if !slices.Equal(run(chunk), got) {
				t.Errorf("%+v: other outputs in parts of %d", c, chunk)
			}
		}
		for i, want := range slowScan(c, length, factors, bias, v, inputs, gates, eps) {
			if d := math.Abs(float64(got[i]) - want); !(d < 1e-5) {
				t.Errorf("%+v: output %d of position %d is %g, want %g", c, i%c.Values(), i/c.Values(), got[i], want)
				break
			}
		}
	}
}

// A factor of a channel's inputs is that of its factors.
func TestScale(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	factors, bias, inputs := random(r, 5*3, 0), random(r, 5, 0), random(r, 4*6, 0)
	c := NewCausalConv(factors, bias, 3)
	c.Scale(1, 3, 2)
	got, want := make([]float32, 5), make([]float32, 5)
	c.At(got, inputs, 6, 3)
	for i := range inputs {
		if ch := i % 6; ch == 1 || ch == 2 {
			inputs[i] *= 2
		}
	}
	d := NewCausalConv(factors, bias, 3)
	d.At(want, inputs, 6, 3)
	if !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}
