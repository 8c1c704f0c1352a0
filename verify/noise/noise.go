// Package noise predicts the divergence that rounding causes, from the model alone.
// Copy rounds the weights once more: it adds errors of the size that the stored scheme
// implies. On the same tokens, the copy diverges from the model about as much as the
// model should diverge from its source, because both errors are small, independent and
// of the same size. docs/NUMERICS.md compares the prediction with measurements.
package noise

import (
	"context"
	"hash/fnv"
	"maps"

	"thimble/internal/model"
	"thimble/internal/parallel"
	"thimble/internal/qtensor"
	"thimble/verify/metric"
)

// Rounds reports whether m stores a matrix as integers.
func Rounds(m *model.Model) bool {
	for _, w := range m.Tensors {
		if !w.Scheme.Float() {
			return true
		}
	}
	return false
}

// Copy returns m with noise in every matrix that is stored as integers; it shares the
// other tensors with m. Values on a grid with steps of d get errors with the variance
// d*d/12, the variance of rounding to that grid. The same m and seed give the same copy
// on any machine. The copy takes as much memory as the integers of m.
func Copy(ctx context.Context, m *model.Model, seed uint64) (*model.Model, error) {
	c := *m
	c.Tensors = maps.Clone(m.Tensors)
	for name, w := range m.Tensors {
		if w.Scheme.Float() {
			continue
		}
		h := fnv.New64a()
		h.Write([]byte(name))
		noisy, err := matrix(ctx, w, h.Sum64()^seed)
		if err != nil {
			return nil, err
		}
		c.Tensors[name] = noisy
	}
	return &c, nil
}

// A lane is scratch of one worker.
type lane struct {
	reader qtensor.Reader
	values []float32
}

// matrix returns w with noise.
func matrix(ctx context.Context, w *qtensor.Matrix, seed uint64) (*qtensor.Matrix, error) {
	scheme, native := w.Scheme.Native()
	if native = native && w.Scheme.Steps() == nil; !native {
		scheme = qtensor.Scheme{Kind: qtensor.F32}
	}
	out, err := qtensor.New(scheme, w.Rows, w.Cols)
	if err != nil {
		return nil, err
	}
	lanes := make([]lane, parallel.Workers())
	return out, parallel.Do(ctx, w.Rows, func(worker, r int) error {
		random := metric.SplitMix(seed)
		random = metric.SplitMix(random.Next() + uint64(r))
		if native {
			lanes[worker].codes(out, w, r, &random)
			return nil
		}
		return lanes[worker].floats(out, w, r, &random)
	})
}

// codes moves one code in twelve of row r to a neighbour. The error, in steps, has the
// variance 1/12. A code at an end of the range moves inwards.
func (l *lane) codes(out, w *qtensor.Matrix, r int, random *metric.SplitMix) {
	codes, scales, mins := l.reader.Codes(w, r)
	low, high := out.Scheme.Codes()
	for i, c := range codes {
		at := random.Below(24)
		switch up := at == 0; {
		case at > 1:
		case up && int(c) < high, !up && int(c) <= low:
			codes[i]++
		default:
			codes[i]--
		}
	}
	out.SetRow(r, codes, scales, mins)
}

// floats adds an error between -1/2 and 1/2 step to each value of row r.
func (l *lane) floats(out, w *qtensor.Matrix, r int, random *metric.SplitMix) error {
	if cap(l.values) < w.Cols {
		l.values = make([]float32, w.Cols)
	}
	l.values = l.values[:w.Cols]
	l.reader.Row(l.values, w, r)
	codes, scale, _ := l.reader.Integers(w, r)
	group, steps := w.Scheme.Columns(w.Cols), w.Scheme.Steps()
	for i := range l.values {
		error := float32(random.Next()>>40)/(1<<24) - 0.5
		step := scale[i/group]
		if steps != nil {
			step *= steps[codes[i]]
		}
		l.values[i] += float32(error * step)
	}
	return out.SetFloats(r, l.values)
}
