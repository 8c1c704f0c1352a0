package tuning

import (
	"encoding/binary"
	"math"
	"strings"

	"thimble/internal/gradient"
	"thimble/internal/kernel"
	"thimble/internal/model"
	"thimble/internal/qtensor"
)

// A parameter is a kind of parameter of one tensor. Its values are start + unit*delta.
type parameter struct {
	name          string
	start, unit   []float32
	delta         []float32
	first, second []float32 // moments of the gradient, of delta
	gradient      []float32
	kind          kind
	write         func(values []float32) error // to the tensor, rounded to its type
	values        []float32
}

// A kind is one of Rates.
type kind int

const (
	scales kind = iota
	mins
	gains
	biases
	kinds
)

func (r *Rates) list() [kinds]float64 { return [kinds]float64{r.Scales, r.Mins, r.Gains, r.Biases} }

// ofVector returns the kind of a vector.
func ofVector(name string) kind {
	if strings.HasSuffix(name, model.BiasSuffix) {
		return biases
	}
	return gains
}

// parametersOf returns the parameters of w, a copy of from whose planes it changes, with
// their gradient g.
func parametersOf(s *model.Spec, slot model.Slot, from, w *qtensor.Matrix, g *gradient.Gradient, r Rates) (all []parameter) {
	add := func(k kind, start, unit, gradient []float32, write func([]float32) error) {
		if r.list()[k] == 0 {
			return
		}
		n := len(start)
		p := parameter{name: slot.Name, start: start, unit: unit, gradient: gradient, kind: k, write: write}
		for _, x := range []*[]float32{&p.delta, &p.first, &p.second, &p.values} {
			*x = make([]float32, n)
		}
		all = append(all, p)
	}
	if slot.Role == model.Vector {
		start := make([]float32, w.Cols)
		new(qtensor.Reader).Row(start, from, 0)
		add(ofVector(slot.Name), start, s.TuningUnits(slot.Name, start), g.Values, func(values []float32) error { return w.SetFloats(0, values) })
		return all
	}
	steps := halves(w.Scales)
	add(scales, steps, steps, g.Scales, func(values []float32) error { return setHalves(w.Scales, values) })
	if g.Mins != nil {
		unit := make([]float32, len(steps))
		for i, v := range steps {
			unit[i] = v * float32(w.Scheme.Zero())
		}
		add(mins, halves(w.Mins), unit, g.Mins, func(values []float32) error { return setHalves(w.Mins, values) })
	}
	return all
}

// halves widens a plane of float16.
func halves(plane []byte) []float32 {
	x := make([]float32, len(plane)/2)
	for i := range x {
		x[i] = qtensor.FromFloat16(binary.LittleEndian.Uint16(plane[2*i:]))
	}
	return x
}

// setHalves rounds values to a plane of float16. A value that is too large stays as it was.
func setHalves(plane []byte, values []float32) error {
	for i, v := range values {
		if half, ok := qtensor.ToFloat16(v); ok {
			binary.LittleEndian.PutUint16(plane[2*i:], half)
		}
	}
	return nil
}

// observe adds the gradient of a mean, which is share times that of the sum in p.gradient, to
// the moments. It returns false if the gradient is not finite.
func (p *parameter) observe(share float32) bool {
	for i, d := range p.gradient {
		g := float32(d * p.unit[i] * share) // converted, or arm64 fuses it with the subtraction below
		if g-g != 0 {
			return false
		}
		p.first[i] = float32(beta1*p.first[i]) + float32((1-beta1)*g)
		p.second[i] = float32(beta2*p.second[i]) + float32(float32((1-beta2)*g)*g)
	}
	return true
}

// direction returns the step of value i at a rate of 1, down the gradient, given the sums of
// the weights in the moments.
func (p *parameter) direction(i int, sum1, sum2 float64) float64 {
	return float64(p.first[i]) / sum1 / (math.Sqrt(float64(p.second[i])/sum2) + epsilon)
}

// slope returns how fast the divergence falls along the first step.
func (p *parameter) slope() (sum float64) {
	for i := range p.first {
		sum += float64(float64(p.first[i]) / (1 - beta1) * p.direction(i, 1-beta1, 1-beta2))
	}
	return sum
}

// move makes a step of Adam.
func (p *parameter) move(step int, rate float64) {
	sum1, sum2 := 1-kernel.Pow64(beta1, float64(step)), 1-kernel.Pow64(beta2, float64(step))
	for i := range p.delta {
		p.delta[i] = min(max(p.delta[i]-float32(rate*p.direction(i, sum1, sum2)), -most), most)
	}
}

// store writes the values to the tensor.
func (p *parameter) store() error {
	for i, v := range p.start {
		p.values[i] = v + float32(p.unit[i]*p.delta[i])
	}
	return p.write(p.values)
}
