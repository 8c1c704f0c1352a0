package quantize

import (
	"context"

	"thimble/internal/kernel"
)

// An input describes the input of a linear layer, (Cols), for rounding the layer's weights.
// Without calibration only its power is known, and only as an estimate.
type input struct {
	power []float32 // mean square of each column, scaled to a mean of 1

	// The fields below are set by calibration; without it they are zero.
	moments *moments  // nil without calibration
	factor  *factor   // of moments
	h       []float32 // (Cols, stride) and 16 more: moments.h with the damping of factor
	stride  int       // Cols padded to a multiple of 16
	silent  bool      // the input was zero at every position
}

// newInput returns an input with the closed moments m, which it takes over. damp is the
// smallest fraction of the mean power to add to the diagonal. If the input was always zero,
// as after a pruned layer, it gives no information about errors; the identity then replaces
// its moments, so that the weights alone decide.
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
		lambda += float64(f.damp * m.h[i*m.width+i] / float64(m.width))
	}
	for i := range m.width {
		for j := range m.width {
			in.h[i*in.stride+j] = float32(m.h[i*m.width+j])
		}
		in.h[i*in.stride+i] = float32(m.h[i*m.width+i] + lambda)
	}
	return in, nil
}

// evenInput returns an unknown input, whose columns all have the same power.
func evenInput(cols int) *input { return &input{power: level(make([]float64, cols))} }
