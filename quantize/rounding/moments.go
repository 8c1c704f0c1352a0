package rounding

import (
	"context"
	"math"
	"slices"

	"thimble/internal/kernel"
	"thimble/internal/parallel"
)

// Moments holds the second moments of a linear layer's input, which calibration collects:
// sums over positions of products of the input's columns. With x the input in the float
// model, x~ the input in the model quantized so far, and w the weight of a position,
//
//	H = sum of w x~ x~^T    Drift = sum of w (x - x~) x~^T
//
// both over the sum of w once they are closed. A caller sets Width alone.
//
// Products are summed in float32 over 1024 positions, in the stripes of
// kernel.Dot, and these sums in float64, in one fixed order.
type Moments struct {
	Width int
	H     []float64 // (Width, Width)
	Drift []float64 // (Width, Width), nil if the run does not follow the float model

	xq, apart kernel.Columns // x~ and x - x~ times the roots of the weights, scratch of Add
	sums      [][]float32    // by worker
	scaled    [][]float32    // by worker: positions times these roots

	n      float64 // sum of the weights
	n2     float64 // sum of their squares
	excess float64 // reciprocal of the smallest nonzero weight
}

// Positions holds the input, (Width), of each of N positions.
type Positions struct {
	N   int
	Row func(i int) []float32
}

// Together is the number of positions whose products are summed together.
const Together = momentChunk

const momentChunk = 1024 // positions that are summed in float32

// Add adds the positions of quantized (x~) and, unless it is empty, of float (x), weighted
// by weights. It sums only the lower triangle of H, which Close mirrors. Several calls, each
// but the last with a multiple of Together positions, give the same bits as one.
func (m *Moments) Add(ctx context.Context, quantized, float Positions, weights []float32) error {
	d := m.Width
	if m.H == nil {
		m.H = make([]float64, d*d)
	}
	if m.Drift == nil && float.N > 0 {
		m.Drift = make([]float64, d*d)
	}
	if m.sums == nil {
		m.sums, m.scaled = make([][]float32, parallel.Workers()), make([][]float32, parallel.Workers())
	}
	for from := 0; from < len(weights); from += momentChunk {
		n := min(momentChunk, len(weights)-from)
		err := m.load(ctx, quantized, float, from, weights[from:][:n])
		if err == nil {
			err = m.addChunk(ctx, float.N > 0)
		}
		if err != nil {
			return err
		}
	}
	for _, v := range weights {
		m.n += float64(v)
		m.n2 += float64(v * v)
		if v > 0 {
			m.excess = max(m.excess, 1/float64(v))
		}
	}
	return nil
}

// load sets m.xq to x~, and m.apart to x - x~ unless float is empty, at the positions from the
// given one on, one for each weight, times the roots of the weights.
func (m *Moments) load(ctx context.Context, quantized, float Positions, from int, weights []float32) error {
	const block = 64 // positions whose rows stay in the second cache
	m.xq.Reset(m.Width, len(weights), true)
	if float.N > 0 {
		m.apart.Reset(m.Width, len(weights), false)
	}
	return parallel.Ranges(ctx, len(weights), block, func(worker, first, last int) error {
		var roots [block]float32
		for i, w := range weights[first:last] {
			roots[i] = float32(math.Sqrt(float64(w)))
		}
		if m.scaled[worker] == nil {
			m.scaled[worker] = make([]float32, 2*block*m.Width)
		}
		room := m.scaled[worker]
		xq := scaled(room[:block*m.Width], quantized, from+first, roots[:last-first])
		m.xq.Set(first, xq)
		if float.N == 0 {
			return nil
		}
		apart := scaled(room[block*m.Width:], float, from+first, roots[:last-first])
		for i, x := range apart {
			for c, v := range xq[i] {
				x[c] -= v
			}
		}
		m.apart.Set(first, apart)
		return nil
	})
}

// scaled returns the positions of x from the given one on, each times its root, in room.
func scaled(room []float32, x Positions, from int, roots []float32) [][]float32 {
	rows := make([][]float32, len(roots))
	for i, root := range roots {
		row := x.Row(from + i)
		rows[i] = room[i*len(row):][:len(row)]
		for c, v := range row {
			rows[i][c] = v * root
		}
	}
	return rows
}

// addChunk adds the products of the positions loaded, one panel of rows at a time: of x~ with
// itself to H and, with drift, of x - x~ with x~ to Drift.
func (m *Moments) addChunk(ctx context.Context, drift bool) error {
	d, panel := m.Width, kernel.ColumnPanel()
	panels := (d + panel - 1) / panel
	tasks := panels
	if drift {
		tasks = 2 * panels
	}
	return parallel.Do(ctx, tasks, func(worker, i int) error {
		if m.sums[worker] == nil {
			m.sums[worker] = make([]float32, panel*d)
		}
		into, left, first := m.H, &m.xq, (panels-1-i%panels)*panel // the longest rows of H first
		rows := min(panel, d-first)
		cols := first + rows
		if i < tasks-panels {
			into, left, cols = m.Drift, &m.apart, d
		}
		product := m.sums[worker][:rows*cols]
		m.xq.Product(product, cols, left, first, rows, cols)
		for r := range rows {
			sum := into[(first+r)*d:][:cols]
			for c, v := range product[r*cols : (r+1)*cols] {
				sum[c] += float64(v)
			}
		}
		return nil
	})
}

// Close divides by the sum of the weights and completes H. Add must not be called after it.
func (m *Moments) Close() {
	m.xq, m.apart, m.sums = kernel.Columns{}, kernel.Columns{}, nil
	m.scaled = nil
	d := m.Width
	for i := range d {
		for j := range i {
			m.H[i*d+j] /= m.n
			m.H[j*d+i] = m.H[i*d+j]
		}
		m.H[i*d+i] /= m.n
	}
	for i := range m.Drift {
		m.Drift[i] /= m.n
	}
}

// EffectivePositions returns the number of positions of weight 1 with the same information.
func (m *Moments) EffectivePositions() float64 { return m.n * m.n / m.n2 }

// power returns the mean square of each column.
func (m *Moments) power() []float64 {
	p := make([]float64, m.Width)
	for i := range p {
		p[i] = m.H[i*m.Width+i]
	}
	return p
}

// Excess returns the reciprocal of the smallest nonzero weight: the factor by which the
// square of the loudest position exceeded the bound of Weights.
func (m *Moments) Excess() float64 { return m.excess }

// silent reports whether the input was zero at every position.
func (m *Moments) silent() bool {
	for i := range m.Width {
		if m.H[i*m.Width+i] != 0 {
			return false
		}
	}
	return true
}

// Spread returns the effective rank of the closed second moments H and the number
// of channels that were never active. The rank is the participation ratio of H's
// eigenvalues l,
//
//	(sum of l)^2 / sum of l^2 = tr(H)^2 / |H|^2
//
// which is n if n of them are equal and all others zero (Gao et al. 2017, A theory of
// multineuronal dimensionality, dynamics and measurement, doi 10.1101/214262; there of the
// covariance, here of H itself, because rounding is fitted to H).
func (m *Moments) Spread() (rank float64, dead int) {
	trace, square := 0.0, 0.0
	for i := range m.Width {
		row := m.H[i*m.Width : (i+1)*m.Width]
		trace += row[i]
		if row[i] == 0 {
			dead++
		}
		sum := 0.0
		for _, v := range row {
			sum += float64(v * v)
		}
		square += sum
	}
	if !(square > 0) || math.IsInf(square, 0) {
		return 0, dead
	}
	return float64(trace*trace) / square, dead
}

// loudest is the bound on the weighted square of a position, as a multiple of the median.
const loudest = 20

// Weights returns a weight of 1 for most positions, and less where the square of the input
// exceeds loudest times the median: the first token of a text can be a thousand times louder
// than all others (massive activations, arXiv 2402.17762) and would otherwise dominate the
// calibration.
func (x Positions) Weights() []float32 {
	return Weights(x.Squares(nil))
}

// Squares appends the square of each position to squares.
func (x Positions) Squares(squares []float32) []float32 {
	for i := range x.N {
		r := x.Row(i)
		squares = append(squares, kernel.Dot(r, r))
	}
	return squares
}

// Louder raises each of squares to that of a position of x, in the same order. A position that is
// loud only in the float model would otherwise be most of the drift.
func (x Positions) Louder(squares []float32) {
	for i := range x.N {
		r := x.Row(i)
		squares[i] = max(squares[i], kernel.Dot(r, r))
	}
}

// Weights returns the weights of positions with the given squares, see Positions.Weights. It
// overwrites squares.
func Weights(squares []float32) []float32 {
	sorted := slices.Clone(squares)
	slices.Sort(sorted)
	most := loudest * sorted[len(sorted)/2]
	for i, s := range squares {
		squares[i] = 1
		if s > most {
			squares[i] = most / s
		}
	}
	return squares
}

// MomentsOf returns the closed moments of the inputs x.
func MomentsOf(ctx context.Context, x Positions, weights []float32) (*Moments, error) {
	m := &Moments{Width: len(x.Row(0))}
	if err := m.Add(ctx, x, Positions{}, weights); err != nil {
		return nil, err
	}
	m.Close()
	return m, nil
}

// Relative returns weights scaled to a mean of 1, because only their proportions matter.
// If all are zero or some are not finite, it returns weights of 1.
func Relative(weights []float32) []float32 {
	sum := 0.0
	for _, w := range weights {
		sum += float64(w)
	}
	mean := sum / float64(len(weights))
	out := make([]float32, len(weights))
	for i, w := range weights {
		out[i] = 1
		if mean > 0 && !math.IsInf(mean, 0) {
			out[i] = float32(float64(w) / mean)
		}
	}
	return out
}
