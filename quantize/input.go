package quantize

import (
	"context"

	"thimble/internal/kernel"
)

// An Input is what is known of the input of a linear layer, (Cols), when its
// weights are to be rounded. Without calibration it is a guess at the power
// alone.
type Input struct {
	power []float32 // mean square of each column, to a mean of 1

	moments *moments  // nil without calibration
	factor  *factor   // of moments
	h       []float32 // (Cols, stride) and 16 more: moments.h, damped as in factor
	stride  int       // Cols padded to a multiple of 16
	silent  bool      // it was always zero
}

// newInput takes over closed moments. damp is the least share of the mean power
// that is added to the diagonal. An input that was always zero, as behind a pruned
// layer, says nothing about errors: the identity takes the place of its moments,
// which leaves the weights alone to decide.
func newInput(ctx context.Context, m *moments, damp float64) (*Input, error) {
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
	in := &Input{power: level(m.power()), moments: m, factor: f, stride: kernel.Padded(m.width), silent: silent}
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
