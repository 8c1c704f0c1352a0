package rounding

import (
	"context"

	"thimble/internal/kernel"
)

// An Input is what a run knows of the input of a linear layer, (Cols), when it
// rounds the layer's weights. Without calibration that is a guess at the power.
type Input struct {
	Power []float32 // (Cols): mean square of each column, to a mean of 1, at least 0.001

	// The fields below are set by calibration; without it they are zero.
	Moments *Moments  // nil without calibration
	Factor  *Factor   // of Moments
	H       []float32 // (Cols, Stride) and 16 more: Moments.H, damped as in Factor
	Stride  int       // Cols padded to a multiple of 16
	Silent  bool      // every position was zero
}

// NewInput returns the input that closed moments describe, and takes them over. damp
// is the least share of the mean power that is added to the diagonal: Damping, or
// less for an input that only measures losses. An input that was always zero, as after a pruned
// layer, says nothing about errors: the identity replaces its moments, so that the
// weights alone decide.
func NewInput(ctx context.Context, m *Moments, damp float64) (*Input, error) {
	silent := m.silent()
	if silent {
		m.Drift = nil
		for i := range m.Width {
			m.H[i*m.Width+i] = 1
		}
	}
	f, err := newFactor(ctx, m.H, m.Width, damp)
	if err != nil {
		return nil, err
	}
	in := &Input{Power: level(m.power()), Moments: m, Factor: f, Stride: kernel.Padded(m.Width), Silent: silent}
	in.H = make([]float32, m.Width*in.Stride+16)
	lambda := 0.0
	for i := range m.Width {
		lambda += float64(f.damp * m.H[i*m.Width+i] / float64(m.Width))
	}
	for i := range m.Width {
		for j := range m.Width {
			in.H[i*in.Stride+j] = float32(m.H[i*m.Width+j])
		}
		in.H[i*in.Stride+i] = float32(m.H[i*m.Width+i] + lambda)
	}
	return in, nil
}

// Guess returns an input of which only the power is known: the mean square of each
// column, (Cols), in any unit.
func Guess(power []float64) *Input { return &Input{Power: level(power)} }

// Even returns an input of which nothing is known: all columns count alike.
func Even(cols int) *Input { return Guess(make([]float64, cols)) }

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
