package quantize

import (
	"context"

	"thimble/internal/kernel"
)

// An input is what a run knows of the input of a linear layer, (Cols), when it
// rounds the layer's weights. Without calibration that is a guess at the power.
type input struct {
	power []float32 // mean square of each column, to a mean of 1

	// The fields below are set by calibration; without it they are zero.
	moments *moments  // nil without calibration
	factor  *factor   // of moments
	h       []float32 // (Cols, stride) and 16 more: moments.h, damped as in factor
	stride  int       // Cols padded to a multiple of 16
	silent  bool      // every position was zero
}

// newInput takes over closed moments. damp is the least share of the mean power
// that is added to the diagonal. An input that was always zero, as after a pruned
// layer, says nothing about errors: the identity replaces its moments, so that the
// weights alone decide.
func newInput(ctx context.Context, m *moments, damp float64) (*input, error) {
	silent := m.silent()
	if silent {
		m.drift = nil
		for i := range m.width {
			m.h[i*m.width+i] = 1
		}
	}
	f, err := newFactor(ctx, m.h, m.width, damp)
	if err != nil {
		return nil, err
	}
	in := &input{power: level(m.power()), moments: m, factor: f, stride: kernel.Padded(m.width), silent: silent}
	in.h = make([]float32, m.width*in.stride+16)
	lambda := 0.0
	for i := range m.width {
		lambda += float64(f.share * m.h[i*m.width+i] / float64(m.width))
	}
	for i := range m.width {
		for j := range m.width {
			in.h[i*in.stride+j] = float32(m.h[i*m.width+j])
		}
		in.h[i*in.stride+i] = float32(m.h[i*m.width+i] + lambda)
	}
	return in, nil
}

// guess returns an input of which only the mean square of each column is known, or
// guessed.
func guess(power []float64) *input { return &input{power: level(power)} }

// even returns an input of which nothing is known: all columns count alike.
func even(cols int) *input { return guess(make([]float64, cols)) }

// level scales power to a mean of 1 and raises what is less than a thousandth of
// that, so that no column may be arbitrarily wrong. A power that says nothing (all
// zero, or beyond float64) becomes 1 everywhere.
func level(power []float64) []float32 {
	sum := 0.0
	for _, p := range power {
		sum += p
	}
	mean := sum / float64(len(power))
	scaled := make([]float32, len(power))
	for i, p := range power {
		scaled[i] = 1
		if mean > 0 && mean < 1e300 {
			scaled[i] = max(float32(p/mean), 1e-3)
		}
	}
	return scaled
}
