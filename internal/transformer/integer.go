package transformer

import (
	"math"

	"thimble/internal/kernel"
	"thimble/internal/qtensor"
)

// exactColumns is the number of products of a weight's code and an activation's
// code that float32 can add without rounding, in any order: 512 * 255 * 127 < 2^24.
// Up to that many columns, kernel.Gemm over codes equals an integer kernel.
const exactColumns = 512

// A segment is a range of columns that share a scale of the weights and a scale of
// the activations.
type segment struct {
	weight, input int // indices of the two scales
	chunks        []chunk
}

// A chunk is the columns [lo, hi) of a segment, at most exactColumns of them. In
// rows of codes it begins at column at, and zeros pad it to a multiple of 16.
type chunk struct{ lo, hi, at int }

func (p chunk) stride() int { return kernel.Padded(p.hi - p.lo) }

// segmentRow divides a row of cols columns into segments. width is the length of a
// row of codes, including the padding of each chunk.
func segmentRow(cols, weightGroup, inputGroup int) (segments []segment, width int) {
	for lo := 0; lo < cols; {
		r := segment{weight: lo / weightGroup, input: lo / inputGroup}
		end := min((r.weight+1)*weightGroup, (r.input+1)*inputGroup, cols)
		for lo < end {
			p := chunk{lo, min(lo+exactColumns, end), width}
			r.chunks = append(r.chunks, p)
			lo, width = p.hi, width+p.stride()
		}
		segments = append(segments, r)
	}
	return segments, width
}

// A quantizedInput holds rounded activations for the integer product with weights
// of one scheme.
type quantizedInput struct {
	segments []segment
	asym     bool
	codes    rows // (n, width of segmentRow), integers from -127 to 127
	// factors, (n, terms), multiply the terms of an output. Segment k contributes its
	// scale s and, if asym, s times the sum of its codes.
	factors rows
}

// terms returns the number of terms that are added for one output.
func (in *quantizedInput) terms() int { return in.factors.width }

// quantizeInput rounds x for layers with weights in scheme s, which must be Int
// or Foreign.
func (d *Decoder) quantizeInput(x rows, s qtensor.Scheme) *quantizedInput {
	native, _ := s.Native()
	group := d.arithmetic.Activations.Group
	if group == 0 {
		group = s.Columns(x.width)
	}
	segments, width := segmentRow(x.width, s.Columns(x.width), group)
	in := &quantizedInput{segments: segments, asym: native.Asym, codes: newRows(x.n, width), factors: newRows(x.n, len(segments))}
	if in.asym {
		in.factors = newRows(x.n, 2*len(segments))
	}
	d.each(x.n, func(t int) { in.quantizePosition(t, x.row(t), group) })
	return in
}

// quantizePosition rounds x, (width), the activations of position t, in groups of
// group columns.
func (in *quantizedInput) quantizePosition(t int, x []float32, group int) {
	codes, factors := in.codes.row(t), in.factors.row(t)
	var scale, inverse float32
	input := -1 // the group of scale and inverse
	for k, r := range in.segments {
		if r.input != input {
			input = r.input
			lo := input * group
			scale, inverse = groupScale(x[lo : lo+min(group, len(x)-lo)])
		}
		sum := 0
		for _, p := range r.chunks {
			for i, v := range x[p.lo:p.hi] {
				c := kernel.RoundToEven(float32(v * inverse))
				codes[p.at+i] = c
				sum += int(int32(c))
			}
		}
		if in.asym {
			factors[2*k], factors[2*k+1] = scale, float32(scale*float32(sum))
		} else {
			factors[k] = scale
		}
	}
}

// groupScale returns the scale of a group of activations, which is its largest
// magnitude divided by 127, and the factor that turns activations into codes. If
// that factor overflows a float32, the scale and all codes are 0. If an element is
// not finite, the scale is NaN, which makes every output NaN.
func groupScale(x []float32) (scale, inverse float32) {
	maxAbs := float32(math.Abs(float64(x[qtensor.LargestMagnitude(x)])))
	if !(maxAbs <= math.MaxFloat32) {
		return float32(math.NaN()), 0
	}
	inverse = 127 / maxAbs
	if inverse > math.MaxFloat32 {
		return 0, 0
	}
	return maxAbs / 127, inverse
}

// positionBlock is the number of positions that are multiplied at a time. It is
// small enough that their terms and a panel's rows stay in a core's own cache.
const positionBlock = 16

// integerProduct computes the outputs [r, r+n) of p as integer kernels do, without
// the bias. Weights are d*q, or d*c + m in an asymmetric scheme, where q, c and the
// activations' codes a are integers. An output is a chain over the segments k that
// starts at +0:
//
//	y = FMA(s_k, d_k * sum(q*a), y)
//	y = FMA(s_k, d_k * sum(c*a), y), y = FMA(s_k * sum(a), m_k, y)
//
// The sums are exact integers, rounded to float32 before they are multiplied. Each
// product is rounded.
func (w *worker) integerProduct(in *quantizedInput, p product, r, n int) {
	terms, width := in.terms(), in.codes.stride
	tokens := min(positionBlock, in.codes.n)
	w.panel = sized(w.panel, panelRows*width)
	w.factors = sized(w.factors, panelRows*terms)
	w.terms = sized(w.terms, panelRows*terms*tokens)
	for i := range n {
		w.loadRow(in, p.w, r+i, i, n)
	}
	block := terms * n
	for t := 1; t < tokens; t++ { // only the minimums matter, codeSums overwrites the rest
		copy(w.terms[t*block:][:block], w.terms[:block])
	}
	for from := 0; from < in.codes.n; from += tokens {
		m := min(tokens, in.codes.n-from)
		w.codeSums(in, from, m, n)
		for t := range m {
			v := w.terms[t*block:][:block]
			kernel.Mul(v, w.factors[:block])
			kernel.Mix(p.y.row(from + t)[r:r+n], in.factors.row(from+t), v, n)
		}
	}
}

// loadRow reads row r of m as row i of a panel of n rows. It stores the codes in
// panel, (n, width), the scales in factors, (terms, n), and the minimums in the
// terms of the first position, (terms, n).
func (w *worker) loadRow(in *quantizedInput, m *qtensor.Matrix, r, i, n int) {
	codes, scale, offset := w.reader.Integers(m, r)
	native, _ := m.Scheme.Native()
	zero := []float32{-float32(native.Zero())}
	if in.asym {
		zero[0] = 0
	}
	row := w.panel[i*in.codes.stride:][:in.codes.stride]
	clear(row)
	for k, s := range in.segments {
		for _, p := range s.chunks {
			kernel.Affine(row[p.at:][:p.hi-p.lo], codes[p.lo:p.hi], one, zero, p.hi-p.lo)
		}
		if in.asym {
			w.factors[2*k*n+i], w.factors[(2*k+1)*n+i] = scale[s.weight], 1
			w.terms[(2*k+1)*n+i] = offset[s.weight]
		} else {
			w.factors[k*n+i] = scale[s.weight]
		}
	}
}

var one = []float32{1}

// codeSums computes the sums of products of codes for the positions [from, from+m)
// and n rows of the panel. It stores them in terms, (m, terms, n).
func (w *worker) codeSums(in *quantizedInput, from, m, n int) {
	width, block := in.codes.stride, in.terms()*n
	perSegment := in.terms() / len(in.segments)
	a := in.codes.data[from*width:]
	for k, r := range in.segments {
		out := w.terms[perSegment*k*n:]
		p := r.chunks[0]
		kernel.Gemm(out, block, a[p.at:], width, w.panel[p.at:], width, m, n, p.stride())
		if len(r.chunks) > 1 {
			w.longSums(out, block, r.chunks, a, width, m, n)
		}
	}
}

// longSums adds the sums over all but the first chunk of a segment to out, which
// holds those over the first. It adds them as integers.
func (w *worker) longSums(out []float32, stride int, pieces []chunk, a []float32, width, m, n int) {
	w.partial, w.totals = sized(w.partial, positionBlock*panelRows), sized(w.totals, positionBlock*panelRows)
	for t := range m {
		for i, v := range out[t*stride:][:n] {
			w.totals[t*n+i] = int64(v)
		}
	}
	for _, p := range pieces[1:] {
		kernel.Gemm(w.partial, n, a[p.at:], width, w.panel[p.at:], width, m, n, p.stride())
		for i, v := range w.partial[:m*n] {
			w.totals[i] += int64(v)
		}
	}
	for t := range m {
		for i := range n {
			out[t*stride+i] = float32(w.totals[t*n+i])
		}
	}
}

// sized returns x if it has at least n elements, and a new slice otherwise.
func sized[T any](x []T, n int) []T {
	if len(x) < n {
		return make([]T, n)
	}
	return x
}
