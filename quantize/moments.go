package quantize

import (
	"context"
	"slices"

	"thimble/internal/kernel"
	"thimble/internal/parallel"
)

// moments are what calibration learns about the input of a linear layer: sums
// over positions of products of its columns. With x the input in the float
// model, x~ that in the model quantized so far, and w the weight of a position,
//
//	h = sum of w x~ x~^T    c = sum of w x x~^T
//
// Products are summed in float32 over 1024 positions, in the stripes of
// kernel.Dot, and in float64 beyond, in one fixed order.
type moments struct {
	width int
	h, c  []float64 // (width, width); c is nil if there is one model only
	n     float64   // sum of the weights

	excess float64 // 1 over the least weight that is not 0
}

// positionRows gives the input of each of n positions, (width).
type positionRows struct {
	n   int
	row func(i int) []float32
}

const (
	momentChunk = 1024 // positions held transposed at a time, in one float32 sum
	momentPanel = 48   // rows of h that a core computes at a time
)

// add adds the positions of quantized (x~) and float (x), weighted by weights.
// Without c only quantized is looked at. Of h only the lower triangle is summed;
// close mirrors it.
func (m *moments) add(ctx context.Context, quantized, float positionRows, weights []float32) error {
	d := m.width
	if m.h == nil {
		m.h = make([]float64, d*d)
	}
	var (
		q = make([]float32, d*momentChunk) // transposed: (width, momentChunk)
		w = make([]float32, d*momentChunk) // q times the weights
		x []float32
	)
	if m.c != nil {
		x = make([]float32, d*momentChunk)
	}
	panels := (d + momentPanel - 1) / momentPanel
	sums := make([][]float32, parallel.Workers())
	for from := 0; from < quantized.n; from += momentChunk {
		n := min(momentChunk, quantized.n-from)
		if n < momentChunk {
			clear(x)
			clear(q)
			clear(w)
		}
		err := transpose(ctx, d, n, func(i int, at func(column int) int) {
			weight := weights[from+i]
			for c, v := range quantized.row(from + i) {
				k := at(c)
				q[k], w[k] = v, v*weight
			}
			if m.c != nil {
				for c, v := range float.row(from + i) {
					x[at(c)] = v
				}
			}
		})
		if err != nil {
			return err
		}
		tasks := panels
		if m.c != nil {
			tasks = 2 * panels
		}
		err = parallel.Do(ctx, tasks, func(worker, i int) error {
			if sums[worker] == nil {
				sums[worker] = make([]float32, momentPanel*d)
			}
			into, left, first := m.h, q, (panels-1-i%panels)*momentPanel // the longest rows of h first
			rows := min(momentPanel, d-first)
			cols := first + rows
			if i < tasks-panels {
				into, left, cols = m.c, x, d
			}
			part := sums[worker][:rows*cols]
			kernel.Gemm(part, cols, left[first*momentChunk:], momentChunk, w, momentChunk, rows, cols, kernel.Padded(n))
			for r := range rows {
				sum := into[(first+r)*d:][:cols]
				for c, v := range part[r*cols : (r+1)*cols] {
					sum[c] += float64(v)
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	for _, v := range weights {
		m.n += float64(v)
		if v > 0 {
			m.excess = max(m.excess, 1/float64(v))
		}
	}
	return nil
}

// transpose calls f for each of n positions, in blocks that a core keeps to
// itself; at gives the place of a column in a (width, momentChunk) matrix.
func transpose(ctx context.Context, width, n int, f func(i int, at func(column int) int)) error {
	const block = 16 // positions, of a float32 each: a cache line
	return parallel.Do(ctx, (n+block-1)/block, func(_, b int) error {
		for i := b * block; i < min(n, (b+1)*block); i++ {
			f(i, func(column int) int { return column*momentChunk + i })
		}
		return nil
	})
}

// close divides by the sum of the weights and completes h. Add may not be
// called again.
func (m *moments) close() {
	d := m.width
	for i := range d {
		for j := range i {
			m.h[i*d+j] /= m.n
			m.h[j*d+i] = m.h[i*d+j]
		}
		m.h[i*d+i] /= m.n
	}
	for i := range m.c {
		m.c[i] /= m.n
	}
}

// power is the mean square of each column.
func (m *moments) power() []float64 {
	p := make([]float64, m.width)
	for i := range p {
		p[i] = m.h[i*m.width+i]
	}
	return p
}

// silent reports that every input was zero.
func (m *moments) silent() bool {
	for i := range m.width {
		if m.h[i*m.width+i] != 0 {
			return false
		}
	}
	return true
}

// loudest bounds how much more than the median position one may weigh.
const loudest = 20

// positionWeights are 1, and less for positions whose input is more than
// loudest times the median's square: the first token of a text can be a
// thousand times louder than all others (massive activations, arXiv
// 2402.17762) and would be all that is calibrated for.
func positionWeights(x positionRows) []float32 {
	squares := make([]float32, x.n)
	for i := range squares {
		r := x.row(i)
		squares[i] = kernel.Dot(r, r)
	}
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

// momentsOf returns the closed moments of one model's inputs.
func momentsOf(ctx context.Context, x positionRows, weights []float32) (*moments, error) {
	m := &moments{width: len(x.row(0))}
	if err := m.add(ctx, x, x, weights); err != nil {
		return nil, err
	}
	m.close()
	return m, nil
}
