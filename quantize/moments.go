package quantize

import (
	"context"
	"math"
	"slices"

	"thimble/internal/kernel"
	"thimble/internal/parallel"
)

// moments holds the second moments of a linear layer's input, which calibration collects:
// sums over positions of products of the input's columns. With x the input in the float
// model, x~ the input in the model quantized so far, and w the weight of a position,
//
//	h = sum of w x~ x~^T    drift = sum of w (x - x~) x~^T
//
// Products are summed in float32 over 1024 positions, in the stripes of
// kernel.Dot, and these sums in float64, in one fixed order.
type moments struct {
	width int
	h     []float64 // (width, width)
	n     float64   // sum of the weights
	n2    float64   // sum of their squares
	drift []float64 // (width, width), nil if the run does not follow the float model

	excess float64 // reciprocal of the smallest nonzero weight
}

// positionRows holds the input, (width), of each of n positions.
type positionRows struct {
	n   int
	row func(i int) []float32
}

const (
	momentChunk  = 1024             // positions that are transposed at a time and summed in float32
	momentStride = momentChunk + 16 // of a column's positions: a power of two would map all columns to one set of the cache
	momentPanel  = 48               // rows of h that a core computes at a time
)

// add adds the positions of quantized (x~) and, unless it is empty, of float (x), weighted
// by weights. It sums only the lower triangle of h, which close mirrors.
func (m *moments) add(ctx context.Context, quantized, float positionRows, weights []float32) error {
	d := m.width
	if m.h == nil {
		m.h = make([]float64, d*d)
	}
	if m.drift == nil && float.n > 0 {
		m.drift = make([]float64, d*d)
	}
	// x~ and x - x~, times the root of the weights and transposed: (width, momentStride).
	xq, apart := make([]float32, d*momentStride), []float32(nil)
	if float.n > 0 {
		apart = make([]float32, d*momentStride)
	}
	sums := make([][]float32, parallel.Workers())
	for from := 0; from < len(weights); from += momentChunk {
		n := min(momentChunk, len(weights)-from)
		if n < momentChunk {
			clear(apart)
			clear(xq)
		}
		err := transpose(ctx, xq, nil, quantized, from, weights[from:][:n])
		if err == nil && float.n > 0 {
			err = transpose(ctx, apart, xq, float, from, weights[from:][:n])
		}
		if err == nil {
			err = m.addChunk(ctx, xq, apart, kernel.Padded(n), sums)
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

// addChunk adds products of n transposed positions, one panel of rows at a time: of xq with
// itself to h and, unless apart is nil, of apart with xq to m.drift. sums is scratch space
// for each worker.
func (m *moments) addChunk(ctx context.Context, xq, apart []float32, n int, sums [][]float32) error {
	d := m.width
	panels := (d + momentPanel - 1) / momentPanel
	tasks := panels
	if apart != nil {
		tasks = 2 * panels
	}
	return parallel.Do(ctx, tasks, func(worker, i int) error {
		if sums[worker] == nil {
			sums[worker] = make([]float32, momentPanel*d)
		}
		into, left, first := m.h, xq, (panels-1-i%panels)*momentPanel // the longest rows of h first
		rows := min(momentPanel, d-first)
		cols := first + rows
		if i < tasks-panels {
			into, left, cols = m.drift, apart, d
		}
		product := sums[worker][:rows*cols]
		kernel.Gemm(product, cols, left[first*momentStride:], momentStride, xq, momentStride, rows, cols, n)
		for r := range rows {
			sum := into[(first+r)*d:][:cols]
			for c, v := range product[r*cols : (r+1)*cols] {
				sum[c] += float64(v)
			}
		}
		return nil
	})
}

// transpose multiplies the positions of x from the given one on, one for each weight, by the
// roots of the weights and writes them to the columns of dst, (width, momentStride). Unless
// less is nil, it subtracts the columns of less.
func transpose(ctx context.Context, dst, less []float32, x positionRows, from int, weights []float32) error {
	const (
		block = 64 // positions: a few cache lines of a column
		lines = 16 // columns at a time, whose lines stay in the first cache
	)
	return parallel.Ranges(ctx, len(weights), block, func(_, first, last int) error {
		rows, roots := make([][]float32, last-first), make([]float32, last-first)
		for i := range rows {
			rows[i], roots[i] = x.row(from+first+i), float32(math.Sqrt(float64(weights[first+i])))
		}
		width := len(rows[0])
		for c := 0; c < width; c += lines {
			for i, r := range rows {
				at, root := c*momentStride+first+i, roots[i]
				for k, v := range r[c:min(width, c+lines)] {
					dst[at+k*momentStride] = v * root
				}
				if less == nil {
					continue
				}
				for k := range min(width, c+lines) - c {
					dst[at+k*momentStride] -= less[at+k*momentStride]
				}
			}
		}
		return nil
	})
}

// close divides by the sum of the weights and completes h. add must not be called after it.
func (m *moments) close() {
	d := m.width
	for i := range d {
		for j := range i {
			m.h[i*d+j] /= m.n
			m.h[j*d+i] = m.h[i*d+j]
		}
		m.h[i*d+i] /= m.n
	}
	for i := range m.drift {
		m.drift[i] /= m.n
	}
}

// positions returns the effective number of positions: the number of positions of weight 1
// with the same information.
func (m *moments) positions() float64 { return m.n * m.n / m.n2 }

// power returns the mean square of each column.
func (m *moments) power() []float64 {
	p := make([]float64, m.width)
	for i := range p {
		p[i] = m.h[i*m.width+i]
	}
	return p
}

// silent reports whether the input was zero at every position.
func (m *moments) silent() bool {
	for i := range m.width {
		if m.h[i*m.width+i] != 0 {
			return false
		}
	}
	return true
}

// loudest is the bound on the weighted square of a position, as a multiple of the median.
const loudest = 20

// positionWeights returns a weight of 1 for most positions, and less where the square of
// the input exceeds loudest times the median: the first token of a text can be a thousand
// times louder than all others (massive activations, arXiv 2402.17762) and would otherwise
// dominate the calibration.
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

// momentsOf returns the closed moments of the inputs x.
func momentsOf(ctx context.Context, x positionRows, weights []float32) (*moments, error) {
	m := &moments{width: len(x.row(0))}
	if err := m.add(ctx, x, positionRows{}, weights); err != nil {
		return nil, err
	}
	m.close()
	return m, nil
}
