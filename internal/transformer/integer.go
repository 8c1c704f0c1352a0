package transformer

import (
	"math"

	"thimble/internal/kernel"
	"thimble/internal/qtensor"
)

// exactColumns is how many products of a weight's code and an activation's can
// be added in float32 without rounding, in any order: 512 * 255 * 127 < 2^24. So
// kernel.Gemm over codes gives what an integer kernel gives.
const exactColumns = 512

// A run is neighbouring columns that share a scale of the weights and one of the
// activations.
type run struct {
	weight, input int // which scales
	pieces        []piece
}

// A piece is columns [lo, hi) of a run, at most exactColumns. In rows of codes
// it begins at column at and is followed by zeros up to a multiple of 16.
type piece struct{ lo, hi, at int }

func (p piece) stride() int { return kernel.Padded(p.hi - p.lo) }

// cutRow parts a row of cols columns where scales change, and returns how wide a
// row of codes is.
func cutRow(cols, weightGroup, inputGroup int) (runs []run, width int) {
	for lo := 0; lo < cols; {
		r := run{weight: lo / weightGroup, input: lo / inputGroup}
		end := min((r.weight+1)*weightGroup, (r.input+1)*inputGroup, cols)
		for lo < end {
			p := piece{lo, min(lo+exactColumns, end), width}
			r.pieces = append(r.pieces, p)
			lo, width = p.hi, width+p.stride()
		}
		runs = append(runs, r)
	}
	return runs, width
}

// rounded is activations as the integer product with weights of one scheme
// reads them.
type rounded struct {
	runs  []run
	asym  bool
	codes rows // (n, width of cutRow), integers from -127 to 127
	// factors multiply what a product's terms are: of run k the scale s, and if
	// asym after it s times the sum of the codes. (n, terms)
	factors rows
}

// terms is how many numbers are added for one output.
func (in *rounded) terms() int { return in.factors.width }

// round rounds x for layers stored by s, which is of no float kind.
func (d *Decoder) round(x rows, s qtensor.Scheme) *rounded {
	own, _ := s.Native()
	group := d.arithmetic.Activations.Group
	if group == 0 {
		group = s.Columns(x.width)
	}
	runs, width := cutRow(x.width, s.Columns(x.width), group)
	in := &rounded{runs: runs, asym: own.Asym, codes: newRows(x.n, width), factors: newRows(x.n, len(runs))}
	if in.asym {
		in.factors = newRows(x.n, 2*len(runs))
	}
	d.each(x.n, func(t int) { in.position(t, x.row(t), group) })
	return in
}

// position rounds x, (width), in groups that share a scale.
func (in *rounded) position(t int, x []float32, group int) {
	codes, factors := in.codes.row(t), in.factors.row(t)
	var scale, inverse float32
	input := -1 // the group that they are of
	for k, r := range in.runs {
		if r.input != input {
			input = r.input
			lo := input * group
			scale, inverse = scales(x[lo : lo+min(group, len(x)-lo)])
		}
		sum := 0
		for _, p := range r.pieces {
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

// scales returns the scale of a group of activations, its largest magnitude over
// 127, and what turns them into codes. A group whose inverse is beyond float32
// is zeros. If an element is not finite the scale is NaN, and so is every output.
func scales(x []float32) (scale, inverse float32) {
	most := float32(math.Abs(float64(x[qtensor.LargestMagnitude(x)])))
	if !(most <= math.MaxFloat32) {
		return float32(math.NaN()), 0
	}
	inverse = 127 / most
	if inverse > math.MaxFloat32 {
		return 0, 0
	}
	return most / 127, inverse
}

// codedTokens is how many positions are multiplied at a time: their terms, with
// a panel's rows, are to stay in a core's own cache.
const codedTokens = 16

// integerProduct computes the outputs [r, r+n) of p as integer kernels do,
// without its bias. With weights d*q, or d*c + m, q, c and the activations' codes
// a being integers, an output is the chain over the runs k, from +0,
//
//	y = FMA(s_k, d_k * sum(q*a), y)
//	y = FMA(s_k, d_k * sum(c*a), y), y = FMA(s_k * sum(a), m_k, y)
//
// where sums are exact integers that are rounded to float32 when they are
// multiplied, and products are rounded.
func (l *lane) integerProduct(in *rounded, p product, r, n int) {
	terms, width := in.terms(), in.codes.stride
	tokens := min(codedTokens, in.codes.n)
	l.panel = sized(l.panel, panelRows*width)
	l.factors = sized(l.factors, panelRows*terms)
	l.terms = sized(l.terms, panelRows*terms*tokens)
	for i := range n {
		l.codeRow(in, p.w, r+i, i, n)
	}
	block := terms * n
	for t := 1; t < tokens; t++ { // the minimums stay where they are
		copy(l.terms[t*block:][:block], l.terms[:block])
	}
	for from := 0; from < in.codes.n; from += tokens {
		m := min(tokens, in.codes.n-from)
		l.sums(in, from, m, n)
		for t := range m {
			v := l.terms[t*block:][:block]
			kernel.Mul(v, l.factors[:block])
			kernel.Mix(p.y.row(from + t)[r:r+n], in.factors.row(from+t), v, n)
		}
	}
}

// codeRow reads row r of w, which becomes row i of the panel's n: its codes to
// panel, (n, width), its scales to factors, (terms, n), and its minimums to the
// terms of the first position, (terms, n).
func (l *lane) codeRow(in *rounded, w *qtensor.Matrix, r, i, n int) {
	codes, scale, offset := l.reader.Integers(w, r)
	own, _ := w.Scheme.Native()
	zero := []float32{-float32(own.Zero())}
	if in.asym {
		zero[0] = 0
	}
	row := l.panel[i*in.codes.stride:][:in.codes.stride]
	clear(row)
	for k, run := range in.runs {
		for _, p := range run.pieces {
			kernel.Affine(row[p.at:][:p.hi-p.lo], codes[p.lo:p.hi], one, zero, p.hi-p.lo)
		}
		if in.asym {
			l.factors[2*k*n+i], l.factors[(2*k+1)*n+i] = scale[run.weight], 1
			l.terms[(2*k+1)*n+i] = offset[run.weight]
		} else {
			l.factors[k*n+i] = scale[run.weight]
		}
	}
}

var one = []float32{1}

// sums writes the sums over codes of m positions from the given one on, and n
// rows of the panel, to the terms: (m, terms, n).
func (l *lane) sums(in *rounded, from, m, n int) {
	width, block := in.codes.stride, in.terms()*n
	each := in.terms() / len(in.runs) // terms of a run
	a := in.codes.data[from*width:]
	for k, r := range in.runs {
		out := l.terms[each*k*n:]
		p := r.pieces[0]
		kernel.Gemm(out, block, a[p.at:], width, l.panel[p.at:], width, m, n, p.stride())
		if len(r.pieces) > 1 {
			l.longSums(out, block, r.pieces, a, width, m, n)
		}
	}
}

// longSums writes the sums over a run of several pieces to out, which has those
// over the first.
func (l *lane) longSums(out []float32, stride int, pieces []piece, a []float32, width, m, n int) {
	l.part, l.whole = sized(l.part, codedTokens*panelRows), sized(l.whole, codedTokens*panelRows)
	for t := range m {
		for i, v := range out[t*stride:][:n] {
			l.whole[t*n+i] = int64(v)
		}
	}
	for _, p := range pieces[1:] {
		kernel.Gemm(l.part, n, a[p.at:], width, l.panel[p.at:], width, m, n, p.stride())
		for i, v := range l.part[:m*n] {
			l.whole[i] += int64(v)
		}
	}
	for t := range m {
		for i := range n {
			out[t*stride+i] = float32(l.whole[t*n+i])
		}
	}
}

// sized returns x, or a longer slice in its place.
func sized[T any](x []T, n int) []T {
	if len(x) < n {
		return make([]T, n)
	}
	return x
}
