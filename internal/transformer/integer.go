package transformer

import (
	"math"

	"thimble/internal/kernel"
	"thimble/internal/qtensor"
)

// widestSegment is the number of columns whose integer sums are sure to fit an
// int32: 65536 * 255 * 127 < 2^31.
const widestSegment = 1 << 16

// A segment is the columns [lo, hi), which share a scale of the weights and a scale
// of the activations. In rows of codes, it begins at column at, and zeros pad it to
// whole blocks.
type segment struct {
	weight, input int // indices of the two scales
	lo, hi, at    int
}

// A segmentation divides rows of columns into segments.
type segmentation struct {
	segments []segment
	blocks   []int32 // (segments): the blocks of each
	width    int     // of a row of codes
	aligned  bool    // no segment is padded
}

// segmentRow divides a row of cols columns.
func segmentRow(cols, weightGroup, inputGroup int) *segmentation {
	s := &segmentation{}
	for lo := 0; lo < cols; {
		r := segment{weight: lo / weightGroup, input: lo / inputGroup, lo: lo, at: s.width}
		r.hi = min((r.weight+1)*weightGroup, (r.input+1)*inputGroup, cols)
		blocks := (r.hi - lo + kernel.Block - 1) / kernel.Block
		s.segments, s.blocks = append(s.segments, r), append(s.blocks, int32(blocks))
		s.width += blocks * kernel.Block
		lo = r.hi
	}
	s.aligned = s.width == cols
	return s
}

// A quantizedInput holds rounded activations for the integer product with weights
// of one group size.
type quantizedInput struct {
	inputKey
	*segmentation
	positions []kernel.IntegerInput
}

// An inputKey identifies what determines a quantizedInput of given activations.
type inputKey struct {
	group int            // of the weights
	order kernel.Packing // whose Column places the codes
}

// storedPositions is the number of positions up to which codes of less than 8 bits
// are multiplied as they are stored. For more positions it pays to unpack them to
// bytes first.
const storedPositions = 3

// inputKeyOf returns the key of the input that weights w need for n positions.
func (d *Decoder) inputKeyOf(w *qtensor.Matrix, n int) inputKey {
	key := inputKey{group: w.Scheme.Columns(w.Cols)}
	if w.Scheme.Kind == qtensor.Int && n <= storedPositions && d.segmentsOf(w.Cols, key.group).aligned {
		key.order = kernel.PackingOf(w.Scheme.Bits)
	}
	if key.order == kernel.Bytes8 {
		key.order = kernel.Bytes // the same order
	} else if key.order != kernel.Bytes {
		key.order = kernel.Packed2 // the same order for all packed codes
	}
	return key
}

// segmentsOf returns the segments of rows of cols columns, given the group of the
// weights.
func (d *Decoder) segmentsOf(cols, weightGroup int) *segmentation {
	key := [3]int{cols, weightGroup, d.inputGroup(weightGroup)}
	s, ok := d.segmentations[key]
	if !ok {
		s = segmentRow(cols, weightGroup, key[2])
		if d.segmentations == nil {
			d.segmentations = map[[3]int]*segmentation{}
		}
		d.segmentations[key] = s
	}
	return s
}

// inputGroup returns the number of columns of activations that share a scale.
func (d *Decoder) inputGroup(weightGroup int) int {
	if d.arithmetic.Activations.Group == 0 {
		return weightGroup
	}
	return d.arithmetic.Activations.Group
}

// quantizeInput rounds x for layers with the given key.
func (d *Decoder) quantizeInput(x rows, key inputKey) *quantizedInput {
	s := d.segmentsOf(x.width, key.group)
	in := &quantizedInput{inputKey: key, segmentation: s, positions: make([]kernel.IntegerInput, x.n)}
	n := len(s.segments)
	codes, sums, factors := make([]int8, x.n*s.width), make([]int32, x.n*n), make([]float32, 2*x.n*n)
	for t := range in.positions {
		in.positions[t] = kernel.IntegerInput{
			Blocks: s.blocks, Codes: codes[t*s.width:][:s.width], Sums: sums[t*n:][:n],
			Scales: factors[2*t*n:][:n], Mins: factors[(2*t+1)*n:][:n],
		}
	}
	group := d.inputGroup(key.group)
	d.each(x.n, func(t int) { in.quantizePosition(&in.positions[t], x.row(t), group) })
	return in
}

// quantizePosition rounds x, (width), in groups of group columns.
func (in *quantizedInput) quantizePosition(p *kernel.IntegerInput, x []float32, group int) {
	var scale, inverse float32
	input := -1 // the group of scale and inverse
	for k, r := range in.segments {
		if r.input != input {
			input = r.input
			lo := input * group
			scale, inverse = groupScale(x[lo : lo+min(group, len(x)-lo)])
		}
		sum := int32(0)
		for i, v := range x[r.lo:r.hi] {
			c := int8(kernel.RoundToEven(float32(v * inverse)))
			p.Codes[in.order.Column(r.at+i)] = c
			sum += int32(c)
		}
		p.Sums[k], p.Scales[k], p.Mins[k] = sum, scale, float32(scale*float32(sum))
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

// integerProduct computes the outputs [r, r+n) of p as integer kernels do, without
// the bias. Weights are d*q, or d*c + m in an asymmetric scheme, where q, c and the
// activations' codes a are integers; see kernel.MulIntegers.
func (w *worker) integerProduct(in *quantizedInput, p product, r, n int) {
	for ; n > 0; r, n = r+kernel.Lanes, n-kernel.Lanes {
		rows := min(n, kernel.Lanes)
		w.loadRows(in, p.w, r, rows)
		for t := range in.positions {
			y := p.y.row(t)[r:]
			if rows == kernel.Lanes {
				kernel.MulIntegers((*[kernel.Lanes]float32)(y), &w.integers, &in.positions[t])
				continue
			}
			kernel.MulIntegers(&w.outputs, &w.integers, &in.positions[t])
			copy(y[:rows], w.outputs[:])
		}
	}
}

// loadRows sets w.integers to n rows of m, from row r on, and to zeros for the
// other lanes.
func (w *worker) loadRows(in *quantizedInput, m *qtensor.Matrix, r, n int) {
	native, _ := m.Scheme.Native()
	size := len(in.segments) * kernel.Lanes
	w.factors = sized(w.factors, 2*size)
	w.integers.Scales, w.integers.Mins, w.integers.Zero = w.factors[:size], nil, 0
	if native.Asym {
		w.integers.Mins = w.factors[size : 2*size]
	} else {
		w.integers.Zero = int32(native.Zero())
	}
	if n < kernel.Lanes {
		clear(w.factors[:2*size])
	}
	stored := in.aligned && m.Scheme.Kind == qtensor.Int && (in.order != kernel.Bytes || native.Bits == 8)
	if stored {
		w.storedRows(m, r, n)
	} else {
		w.unpackedRows(in, native.Bits)
	}
	for i := range n {
		var scale, offset []float32
		if stored {
			scale, offset = w.reader.Factors(m, r+i)
		} else {
			var codes []uint8
			codes, scale, offset = w.reader.Integers(m, r+i)
			row := w.codes[i*in.width:][:in.width]
			for _, s := range in.segments {
				copy(row[s.at:], codes[s.lo:s.hi])
			}
		}
		for k, s := range in.segments {
			w.integers.Scales[k*kernel.Lanes+i] = scale[s.weight]
		}
		if native.Asym {
			for k, s := range in.segments {
				w.integers.Mins[k*kernel.Lanes+i] = offset[s.weight]
			}
		}
	}
}

// storedRows sets the codes of w.integers to n rows as m stores them.
func (w *worker) storedRows(m *qtensor.Matrix, r, n int) {
	w.integers.Packing = kernel.PackingOf(m.Scheme.Bits)
	stride := m.RowBytes()
	w.integers.Stride = stride
	if m.Source == nil && n == kernel.Lanes {
		w.integers.Codes = m.Codes[r*stride:][:n*stride]
		return
	}
	w.codes = sized(w.codes, kernel.Lanes*stride)
	w.integers.Codes = w.codes[:kernel.Lanes*stride]
	for i := range n {
		copy(w.codes[i*stride:], w.reader.Stored(m, r+i))
	}
}

// unpackedRows sets the codes of w.integers to w.codes, with room for rows of one
// byte for each code. Activations are zero where a segment is padded, so that the
// bytes there do not matter, except that they must be valid codes.
func (w *worker) unpackedRows(in *quantizedInput, bits int) {
	w.integers.Packing = kernel.Bytes
	if bits == 8 {
		w.integers.Packing = kernel.Bytes8
	}
	w.codes = sized(w.codes, kernel.Lanes*in.width)
	clear(w.codes)
	w.integers.Stride, w.integers.Codes = in.width, w.codes[:kernel.Lanes*in.width]
}

// sized returns x if it has at least n elements, and a new slice otherwise.
func sized[T any](x []T, n int) []T {
	if len(x) < n {
		return make([]T, n)
	}
	return x
}
