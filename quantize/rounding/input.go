package rounding

import (
	"context"

	"thimble/internal/kernel"
)

// An Input describes the input, (Cols), of a linear layer whose weights are to be rounded.
// Without calibration it is a guess at the power of each column.
type Input struct {
	Power []float32 // (Cols): mean square of each column, scaled to a mean of 1, at least 0.001

	// Rate, if not 0, is the bits per weight that the codes should take once they are entropy
	// coded. They are then multiples of one step; dst's scheme has a scale per row and no minimum.
	// Step, if not 0, is that step.
	Rate, Step float64

	// Unit, if not nil, has the step of each row, (Rows), relative to that of the others.
	Unit []float32

	// Calibration sets the fields below; without it they are zero.
	Moments *Moments  // nil without calibration
	Factor  *Factor   // of Moments
	H       []float32 // (Cols, Stride) and 16 more: H of Moments, damped as in Factor
	Stride  int       // Cols padded to a multiple of 16
	Silent  bool      // every position was zero
}

// NewInput returns the input with the given moments, which must be closed, and takes
// ownership of them: it drops their H, because the four matrices of wide layers would not
// fit into memory together. damp is the smallest fraction of the mean power to add to the
// diagonal: Damping, or less for an input that only measures losses. An input that was
// always zero, as after a pruned layer, gives no information about errors: the identity
// replaces its moments, so that only the weights matter.
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
	m.H = nil
	f.feedback(m.Drift != nil)
	return in, nil
}

// At returns in with a rate, and with the steps of rows relative to one another, see Unit.
func (in *Input) At(rate float64, unit []float32) *Input {
	same := *in
	same.Rate, same.Step, same.Unit = rate, 0, unit
	return &same
}

// unit returns that of row r.
func (in *Input) unit(r int) float64 {
	if in.Unit == nil {
		return 1
	}
	return float64(in.Unit[r])
}

// Guess returns an input for which only the power is known: the mean square of each
// column, (Cols), in any unit.
func Guess(power []float64) *Input { return &Input{Power: level(power)} }

// Even returns an input for which nothing is known: all columns have the same power.
func Even(cols int) *Input { return Guess(make([]float64, cols)) }

// level scales power to a mean of 1 and raises values below a thousandth, so that the
// errors of every column have a cost. If power is all zero or not finite, level returns 1
// for every column.
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
