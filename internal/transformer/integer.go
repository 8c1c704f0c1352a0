package transformer

import (
	"thimble/internal/kernel"
	"thimble/internal/qtensor"
)

// widestSegment is the number of columns whose integer sums are sure to fit an
// int32: 65536 * 255 * 127 < 2^31.
const widestSegment = 1 << 16

// A segment is the columns [lo, hi), which share a scale of the weights and a scale
// of the activations. In panels it begins at column at, and zeros pad it to a multiple of
// kernel.PanelColumns.
type segment struct {
	weight, input int // indices of the two scales
	lo, hi, at    int
}

// A segmentation divides rows of columns into segments.
type segmentation struct {
	segments []segment
	columns  []int32 // (segments): the columns of each in panels
	width    int     // of a row of a panel
	storable bool    // kernel.StoredInputs can have these segments

	sameGroups bool // segment k is group k of the weights
	ownScales  bool // segment k is group k of the activations
}

// segmentRow divides a row of cols columns.
func segmentRow(cols, weightGroup, inputGroup int) *segmentation {
	s := &segmentation{}
	s.sameGroups, s.ownScales = true, true
	for lo := 0; lo < cols; {
		r := segment{weight: lo / weightGroup, input: lo / inputGroup, lo: lo, at: s.width}
		r.hi = min((r.weight+1)*weightGroup, (r.input+1)*inputGroup, cols)
		s.sameGroups = s.sameGroups && r.weight == len(s.segments)
		s.ownScales = s.ownScales && r.input == len(s.segments)
		n := r.hi - lo
		padded := (n + kernel.PanelColumns - 1) / kernel.PanelColumns * kernel.PanelColumns
		s.segments, s.columns = append(s.segments, r), append(s.columns, int32(padded))
		s.width += padded
		lo = r.hi
	}
	s.storable = s.width == cols && kernel.Storable(s.columns)
	return s
}

// A quantizedInput holds rounded activations for weights with one inputKey, in the
// form of either stored or panel.
type quantizedInput struct {
	inputKey
	*segmentation
	stored kernel.StoredInputs
	panel  kernel.PanelInputs

	// Memory of panel:
	factors []float32 // scales, then mins
	sums    []int32
	wide    []int16
}

// An inputKey identifies what weights require of their input.
type inputKey struct {
	group  int // of the weights
	stored bool
	order  kernel.Order // of stored
}

// inputKeyOf returns the key of the input that weights w need for n positions.
func (d *Decoder) inputKeyOf(w *qtensor.Matrix, n int) inputKey {
	key := inputKey{group: w.Scheme.Columns(w.Cols)}
	if w.Scheme.Kind == qtensor.Int && !w.Scheme.Uneven && kernel.PrefersStored(w.Scheme.Bits, n) && d.segmentsOf(w.Cols, key.group).storable {
		key.stored, key.order = true, kernel.StoredOrder(w.Scheme.Bits)
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

// quantizeInput sets in to x, rounded for layers with the given key. It uses the memory of
// in again.
func (d *Decoder) quantizeInput(in *quantizedInput, x rows, key inputKey) {
	s := d.segmentsOf(x.width, key.group)
	in.inputKey, in.segmentation = key, s
	if key.stored {
		in.stored.Reset(x.n, s.columns, key.order)
	} else {
		n := x.n * len(s.segments)
		in.factors, in.sums, in.wide = sized(in.factors, 2*n), sized(in.sums, n), sized(in.wide, x.n*s.width)
		in.panel = kernel.PanelInputs{Columns: s.columns, Codes: in.wide[:x.n*s.width], Sums: in.sums[:n], Scales: in.factors[:n], Mins: in.factors[n : 2*n]}
	}
	if x.n < parallelRows {
		d.quantizeRows(in, x, 0, x.n)
		return
	}
	d.ranges(x.n, func(from, to int) { d.quantizeRows(in, x, from, to) })
}

// parallelRows is the least number of rows whose rounding is worth a second core.
const parallelRows = 8

// quantizeRows rounds the rows [from, to) of x.
func (d *Decoder) quantizeRows(in *quantizedInput, x rows, from, to int) {
	n, group := len(in.segments), d.inputGroup(in.group)
	for t := from; t < to; t++ {
		row := x.row(t)
		if in.inputKey.stored && in.ownScales {
			in.stored.RoundGroups(t, row)
			continue
		}
		if in.inputKey.stored {
			in.quantizePosition(row, group, func(k int, r segment, scale, inverse float32) {
				in.stored.Round(t, k, r.lo, row[r.lo:r.hi], scale, inverse)
			})
			continue
		}
		codes := in.panel.Codes[t*in.width:][:in.width]
		clear(codes)
		in.quantizePosition(row, group, func(k int, r segment, scale, inverse float32) {
			sum := kernel.Round16(codes[r.at:], row[r.lo:r.hi], inverse)
			in.panel.Sums[t*n+k], in.panel.Scales[t*n+k], in.panel.Mins[t*n+k] = sum, scale, float32(scale*float32(sum))
		})
	}
}

// quantizePosition calls round for each segment of x, (width), with the scale of its
// activations, which groups of group columns share, and its inverse.
func (s *segmentation) quantizePosition(x []float32, group int, round func(k int, r segment, scale, inverse float32)) {
	var scale, inverse float32
	input := -1 // the group of scale and inverse
	for k, r := range s.segments {
		if r.input != input {
			input = r.input
			lo := input * group
			scale, inverse = kernel.GroupScale(x[lo : lo+min(group, len(x)-lo)])
		}
		round(k, r, scale, inverse)
	}
}

// integerProduct computes the outputs [r, r+n) of p as integer kernels do, without
// the bias. Weights are d*q, or d*c + m in an asymmetric scheme, where q, c and the
// activations' codes a are integers; see kernel.MulStored and kernel.MulPanel.
func (w *worker) integerProduct(in *quantizedInput, p product, r, n int) {
	if in.inputKey.stored {
		w.storedProduct(in, p, r, n)
		return
	}
	positions := len(in.panel.Codes) / in.width
	for ; n > 0; r, n = r+kernel.PanelRows, n-kernel.PanelRows {
		w.loadPanel(in, p.w, r, min(n, kernel.PanelRows))
		if n >= kernel.PanelRows {
			kernel.MulPanel(p.y.data[r:], p.y.stride, &w.integerPanel, &in.panel, 0, positions)
			continue
		}
		for t := range positions {
			kernel.MulPanel(w.outputs[:], 0, &w.integerPanel, &in.panel, t, 1)
			copy(p.y.row(t)[r:], w.outputs[:n])
		}
	}
}

// loadPanel sets w.integerPanel to n rows of m, from row r on. The other rows are
// unspecified.
func (w *worker) loadPanel(in *quantizedInput, m *qtensor.Matrix, r, n int) {
	native, _ := m.Scheme.Native()
	w.factorsFor(len(in.segments), kernel.PanelRows, native.Asym)
	w.integerPanel.Scales, w.integerPanel.Mins = w.scales, w.mins
	w.integerPanel.Codes = sized(w.integerPanel.Codes, in.width*kernel.PanelRows)
	w.codes = sized(w.codes, in.width*kernel.PanelRows)
	w.integerPanel.Zero = 0
	if !native.Asym {
		w.integerPanel.Zero = int32(native.Zero())
	}
	if m.Scheme.Kind == qtensor.Int {
		w.loadFactors(in, m, r, n, kernel.PanelRows)
	}
	for i := range n {
		row := w.codes[i*in.width:][:in.width]
		codes := w.panelCodes(in, m, r, i)
		if in.width == len(codes) {
			copy(row, codes)
		} else { // the activations are 0 where a segment is padded
			for _, s := range in.segments {
				copy(row[s.at:], codes[s.lo:s.hi])
			}
		}
	}
	for first := 0; first < n; first += kernel.Lanes {
		kernel.Interleave(&w.integerPanel, first, w.codes[first*in.width:], in.width, in.width)
	}
}

// factorsFor sets w.scales and, if asym, w.mins to (segments, lanes) numbers, and w.mins to nil
// otherwise. w.scales has room for a multiple of eight segments, which short scales need.
func (w *worker) factorsFor(segments, lanes int, asym bool) {
	n, room := segments*lanes, (segments+7)/8*8*lanes
	w.factors = sized(w.factors, room+n)
	w.scales, w.mins = w.factors[:n:room], nil
	if asym {
		w.mins = w.factors[room:][:n]
	}
}

// panelCodes returns the codes of row r+i of m, and sets its factors if they are in blocks with
// the codes.
func (w *worker) panelCodes(in *quantizedInput, m *qtensor.Matrix, r, i int) []uint8 {
	if m.Scheme.Kind == qtensor.Int {
		return w.reader.Unpacked(m, r+i)
	}
	codes, scale, offset := w.reader.Integers(m, r+i)
	w.setFactors(in, i, kernel.PanelRows, scale, offset)
	return codes
}

// loadFactors sets lanes factors in each segment to those of n rows of m, whose kind is Int, from
// row r on. The other lanes are unspecified.
func (w *worker) loadFactors(in *quantizedInput, m *qtensor.Matrix, r, n, lanes int) {
	groups, whole := len(in.segments), in.sameGroups && n == lanes && lanes == kernel.StoredLanes()
	switch {
	case in.sameGroups && m.Scales32 != nil && r%lanes == 0:
		copyFactors(w.scales, m, m.Scales32, r, lanes)
		copyFactors(w.mins, m, m.Mins32, r, lanes)
	case whole && m.Scheme.Short:
		bytes := m.Scheme.ScaleBytes(m.Cols)
		kernel.TransposeShort(w.scales, lanes, m.Scales[bytes*r:], bytes, groups, m.Scheme.ShortLevels())
	case whole && m.Scales32 == nil:
		kernel.TransposeF16(w.scales, lanes, m.Scales[2*groups*r:], 2*groups, groups)
		if w.mins != nil {
			kernel.TransposeF16(w.mins, lanes, m.Mins[2*groups*r:], 2*groups, groups)
		}
	default:
		for i := range n {
			scale, min := w.reader.Factors(m, r+i)
			w.setFactors(in, i, lanes, scale, min)
		}
	}
}

// copyFactors sets dst, (segments, lanes), to factors of m, which plane has together for
// qtensor.FactorRows rows: those of rows from r on.
func copyFactors(dst []float32, m *qtensor.Matrix, plane []float32, r, lanes int) {
	if dst == nil {
		return
	}
	lane := r % qtensor.FactorRows
	set := m.Factors32(plane, r-lane)
	for k := 0; k*lanes < len(dst); k++ {
		copy(dst[k*lanes:][:lanes], set[k*qtensor.FactorRows+lane:])
	}
}

// setFactors sets lane i of lanes in w.scales and w.mins.
func (w *worker) setFactors(in *quantizedInput, i, lanes int, scale, offset []float32) {
	for k, s := range in.segments {
		w.scales[k*lanes+i] = scale[s.weight]
	}
	if w.mins == nil {
		return
	}
	for k, s := range in.segments {
		w.mins[k*lanes+i] = offset[s.weight]
	}
}

// positionsBand is the number of positions that stored rows are multiplied by before the
// next rows, so that the positions stay in a cache.
const positionsBand = 8 * kernel.StoredBand

// storedProduct is integerProduct for weights in the order of their storage.
func (w *worker) storedProduct(in *quantizedInput, p product, r, n int) {
	scheme, lanes := p.w.Scheme, kernel.StoredLanes()
	w.factorsFor(len(in.segments), lanes, scheme.Asym)
	v := &w.integers
	v.Bits, v.Stride, v.Scales, v.Mins, v.Zero = scheme.Bits, p.w.RowBytes(), w.scales, w.mins, 0
	if !scheme.Asym {
		v.Zero = int32(scheme.Zero())
	}
	done := w.vectorProduct(in, p, r, n)
	for from := 0; from < p.y.n; from += positionsBand {
		positions := min(positionsBand, p.y.n-from)
		for at := done; at < n; at += lanes {
			rows := min(n-at, lanes)
			w.loadStored(in, p.w, r+at, rows)
			kernel.MulStored(p.y.data[from*p.y.stride+r+at:], p.y.stride, v, &in.stored, from, positions, rows)
		}
	}
}

// vectorProduct computes outputs from r on, for one position if weights have the groups of
// the input, with one call of the kernel. It returns how many of n, which may be none.
func (w *worker) vectorProduct(in *quantizedInput, p product, r, n int) int {
	m := p.w
	if p.y.n != 1 || !in.sameGroups || m.Source != nil {
		return 0
	}
	v := &w.integers
	v.Codes = m.Codes[r*v.Stride : (r+n)*v.Stride]
	v.Scales = w.scales[:cap(w.scales)]
	scales, ok := vectorFactors(m, m.Scales, m.Scales32, r, n)
	var mins kernel.Factors
	if m.Scheme.Asym {
		mins, _ = vectorFactors(m, m.Mins, m.Mins32, r, n)
	}
	if !ok {
		return 0
	}
	return kernel.MulVector(p.y.data[r:r+n], v, scales, mins, &in.stored)
}

// vectorFactors returns the factors of n rows of m from r on, given a plane of m and, if it is not
// nil, that of float32 numbers. ok is false if r is amid rows that the latter has together.
func vectorFactors(m *qtensor.Matrix, plane []byte, wide []float32, r, n int) (f kernel.Factors, ok bool) {
	if wide != nil {
		groups, whole := m.Scheme.Groups(m.Cols), n/qtensor.FactorRows*qtensor.FactorRows
		f.F32 = wide[groups*r:][:groups*whole]
		return f, r%qtensor.FactorRows == 0 && kernel.StoredLanes() == qtensor.FactorRows
	}
	bytes := m.Scheme.ScaleBytes(m.Cols)
	rows := plane[bytes*r : bytes*(r+n)]
	if m.Scheme.Short {
		return kernel.Factors{Short: rows, Table: m.Scheme.ShortLevels()}, true
	}
	return kernel.Factors{F16: rows}, true
}

// loadStored sets the codes and factors of w.integers to n rows of m, from row r on. The
// other lanes are unspecified.
func (w *worker) loadStored(in *quantizedInput, m *qtensor.Matrix, r, n int) {
	v, lanes := &w.integers, kernel.StoredLanes()
	w.loadFactors(in, m, r, n, lanes)
	if m.Source == nil && n == lanes {
		v.Codes = m.Codes[r*v.Stride:][:n*v.Stride]
		return
	}
	w.codes = sized(w.codes, lanes*v.Stride)
	v.Codes = w.codes[:lanes*v.Stride]
	for i := range n {
		copy(w.codes[i*v.Stride:], w.reader.Stored(m, r+i))
	}
}

// sized returns x if it has at least n elements, and a new slice otherwise.
func sized[T any](x []T, n int) []T {
	if len(x) < n {
		return make([]T, n)
	}
	return x
}
