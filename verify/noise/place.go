package noise

import (
	"math"

	"thimble/internal/model"
	"thimble/internal/parallel"
	"thimble/internal/qtensor"
)

// A Fit tells whether the tensors of a model are in their proper places. It compares how
// well they fit where they are with how well they would fit if a known mistake were
// undone.
type Fit struct {
	Misplaced float64 // the worst tensor's ratio, divided by the limit of its kind; above 1, the tensor is probably misplaced
	Tensor    string  // that tensor, "" if no tensor could be judged
	Instead   string  // the suspected mistake
}

// Limits of the ratios, and the smallest number of values that a ratio needs: with
// fewer, chance alone can exceed the limits. In trained models the ratio of norms is at
// most 1.1 and that of rotary pairs at most 1.8; with the mistakes both are 2.9 or more.
const (
	normLimit   = 1.4
	rotaryLimit = 2.5
	leastGains  = 96
	leastPairs  = 64
)

// Place looks for two mistakes in the weights alone. It does not run the model, so the
// rounding of other tensors cannot hide them:
//
// The gains of a norm resemble those of the same norm in the blocks before and after. If
// each of a block's two norms resembles the other norm in those blocks more, the two were
// exchanged.
//
// The two rows that one rotary angle rotates together have similar lengths. If the pairs
// of the other rotary order are more similar, the rows are in that order.
func Place(m *model.Model) (f Fit, err error) {
	f.Misplaced = math.NaN()
	worse := func(ratio, limit float64, tensor, instead string) {
		if x := ratio / limit; !math.IsNaN(x) && !(x <= f.Misplaced) {
			f = Fit{x, tensor, instead}
		}
	}
	err = parallel.Guard(func() error {
		spec := &m.Spec
		gains := logGains(m)
		for b := range spec.Blocks {
			if gains != nil && spec.Blocks > 2 && spec.Hidden >= leastGains {
				worse(normRatio(gains, b), normLimit, model.Name(b, model.AttnNorm), "exchanged with "+model.Name(b, model.FFNNorm))
			}
			if ratio := rotaryRatio(m, b); ratio > 0 {
				worse(ratio, rotaryLimit, model.Name(b, model.Q), "rows in the other rotary order")
			}
		}
		return nil
	})
	return f, err
}

// logGains returns the logarithms of the gains of both norms of each block, or nil if
// the blocks have a single norm.
func logGains(m *model.Model) [][2][]float64 {
	all := make([][2][]float64, m.Spec.Blocks)
	for b := range all {
		for i, kind := range []string{model.AttnNorm, model.FFNNorm} {
			w := m.Tensors[model.Name(b, kind)]
			if w == nil || w.Rows != 1 {
				return nil
			}
			x := make([]float32, w.Cols)
			new(qtensor.Reader).Row(x, w, 0)
			for _, v := range x {
				all[b][i] = append(all[b][i], math.Log(math.Abs(float64(v))+1e-6))
			}
		}
	}
	return all
}

// normRatio returns the distance of the norms of block b from the same norms of the
// blocks around it, divided by their distance from the other norms of those blocks.
func normRatio(gains [][2][]float64, b int) float64 {
	var apart [2]float64 // as they are, and exchanged
	for i := range 2 {
		for j := range 2 {
			for c, v := range gains[b][i] {
				sum, n := 0.0, 0
				for _, at := range []int{b - 1, b + 1} {
					if at >= 0 && at < len(gains) {
						sum += gains[at][j][c]
						n++
					}
				}
				d := v - sum/float64(n)
				apart[(i+j)%2] += float64(d * d)
			}
		}
	}
	if apart[0] == 0 && apart[1] == 0 {
		return math.NaN()
	}
	return apart[0] / apart[1]
}

// rotaryRatio returns the difference in length of the rows that block b rotates
// together, divided by the difference of the rows that the other rotary order pairs. It
// returns 0 if there are too few rows.
func rotaryRatio(m *model.Model, b int) float64 {
	rope := m.Spec.RopeOf(b)
	if rope == nil {
		return 0
	}
	var apart [2]float64 // by halves, and by neighbours
	pairs := 0
	kinds := []string{model.Q, model.K}
	if m.Spec.IsLatent() {
		kinds[1] = model.LatentKV
	}
	for _, kind := range kinds {
		w, rows := m.Tensors[model.Name(b, kind)], m.Spec.RotaryRows(b, kind)
		if w == nil {
			return 0
		}
		n := logLengths(w)
		for at := rows.First; at+rows.Dims <= len(n); at += rows.Head {
			for i := range rows.Dims / 2 {
				halves, neighbours := n[at+i]-n[at+i+rows.Dims/2], n[at+2*i]-n[at+2*i+1]
				apart[0] += float64(halves * halves)
				apart[1] += float64(neighbours * neighbours)
				pairs++
			}
		}
	}
	if rope.Pairs {
		apart[0], apart[1] = apart[1], apart[0]
	}
	if pairs < leastPairs || apart[1] == 0 {
		return 0
	}
	return apart[0] / apart[1]
}

// logLengths returns the logarithm of the squared length of each row.
func logLengths(w *qtensor.Matrix) []float64 {
	all := make([]float64, w.Rows)
	x := make([]float32, w.Cols)
	var read qtensor.Reader
	for r := range all {
		read.Row(x, w, r)
		sum := 1e-30
		for _, v := range x {
			sum += float64(float64(v) * float64(v))
		}
		all[r] = math.Log(sum)
	}
	return all
}
