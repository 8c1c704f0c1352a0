package packed

import (
	"thimble/internal/checkpoint"
	"thimble/internal/defect"
)

// GPTQ returns the format of AutoGPTQ and GPTQModel. Words run down the columns of
// qweight (in*bits/32, out), and along the rows of qzeros (groups, out*bits/32). If less
// is true, a stored zero point is one less than the zero point (checkpoint_format
// "gptq"). group is the number of columns of a group where g_idx does not tell.
// https://github.com/ModelCloud/GPTQModel, BaseQuantLinear.dequantize_weight
func GPTQ(less bool, group int) *Format {
	return &Format{name: "gptq", marker: "qweight", read: func(m *module) (Source, error) { return readGPTQ(m, less, group) }}
}

func readGPTQ(m *module, less bool, group int) (Source, error) {
	q, zeros, scales, err := m.triple()
	if err != nil {
		return nil, err
	}
	groups, out := scales.Shape[0], scales.Shape[1]
	w := &integers{rows: out, group: group, parts: []*checkpoint.Tensor{q, zeros, scales}}
	for _, bits := range []int{2, 3, 4, 8} {
		if zeros.Shape[1] == words(out, bits) {
			w.bits = bits
			break
		}
	}
	if w.bits == 0 || zeros.Shape[0] != groups || q.Shape[1] != out {
		return nil, m.misfit(zeros, "(%d, %d times 2, 3, 4 or 8 bits in words)", groups, out)
	}
	w.cols = q.Shape[0] * 32 / w.bits
	if t := m.find("g_idx"); t != nil {
		if err := w.indices(m, t, groups); err != nil {
			return nil, err
		}
	}
	if q.Shape[0] != words(w.cols, w.bits) || w.groupOf == nil && w.groups() != groups {
		if w.group = (w.cols + groups - 1) / groups; q.Shape[0] != words(w.cols, w.bits) || w.groups() != groups {
			return nil, m.misfit(scales, "(%d, %d)", w.groups(), out)
		}
	}
	bits := w.bits
	w.codes = func(dst []uint8, r int) {
		for c := range dst {
			dst[c] = uint8(field(q.Data, 4*r, 4*out, bits, c))
		}
	}
	w.scale = func(r, g int) float32 { return number(scales, g*out+r) }
	w.zero = func(r, g int) int { return field(zeros.Data, 4*g*zeros.Shape[1], 4, bits, r) }
	if less {
		w.zero = func(r, g int) int { return plusOne(zeros.Data[4*g*zeros.Shape[1]:], bits, r) }
	}
	return w, nil
}

// plusOne returns field k of a row of zero points that are stored one less. GPTQModel adds
// one to every field of a word at once, so a field that overflows carries into the next;
// with 3 bits, which cross words, it adds to each field.
func plusOne(row []byte, bits, k int) int {
	if bits == 3 {
		return (field(row, 0, 4, bits, k) + 1) & 7
	}
	ones := map[int]uint32{2: 0x55555555, 4: 0x11111111, 8: 0x01010101}[bits]
	x := le.Uint32(row[k*bits/32*4:]) + ones
	return int(x >> (k * bits % 32) & (1<<bits - 1))
}

// triple returns the three tensors that GPTQ and AWQ have for a matrix.
func (m *module) triple() (q, zeros, scales *checkpoint.Tensor, err error) {
	if q, err = m.tensor("qweight", checkpoint.I32, checkpoint.U32); err != nil {
		return nil, nil, nil, err
	}
	if zeros, err = m.tensor("qzeros", checkpoint.I32, checkpoint.U32); err != nil {
		return nil, nil, nil, err
	}
	if scales, err = m.tensor("scales", floats...); err != nil {
		return nil, nil, nil, err
	}
	for _, t := range []*checkpoint.Tensor{q, zeros, scales} {
		if len(t.Shape) != 2 {
			return nil, nil, nil, m.misfit(t, "two dimensions")
		}
	}
	return q, zeros, scales, nil
}

// indices reads the group of each column from t. Groups in order leave w.groupOf nil.
func (w *integers) indices(m *module, t *checkpoint.Tensor, groups int) error {
	if err := m.check(t, checkpoint.I32, checkpoint.I64); err != nil {
		return err
	}
	if len(t.Shape) != 1 || words(t.Shape[0], w.bits) != words(w.cols, w.bits) {
		return m.misfit(t, "[%d]", w.cols)
	}
	w.cols = t.Shape[0]
	w.groupOf = make([]int, w.cols)
	size := len(t.Data) / w.cols
	for c := range w.groupOf {
		g := int(int32(le.Uint32(t.Data[c*size:])))
		if g < 0 || g >= groups {
			return defect.Corrupt(t.File, t.Name, "column %d is in group %d of %d", c, g, groups)
		}
		w.groupOf[c] = g
	}
	if group, ok := inOrder(w.groupOf, groups); ok {
		w.group, w.groupOf = group, nil
	}
	return nil
}

// awqOrder lists the places of 8 columns in a word of AWQ's gemm order.
var awqOrder = [8]int{0, 4, 1, 5, 2, 6, 3, 7}

// AWQ returns the format of AutoAWQ, version gemm: words of 8 columns of the output, in
// qweight (in, out/8) and qzeros (groups, out/8).
// https://github.com/casper-hansen/AutoAWQ, awq/modules/linear/gemm.py
func AWQ() *Format { return &Format{name: "awq", marker: "qweight", read: readAWQ} }

func readAWQ(m *module) (Source, error) {
	q, zeros, scales, err := m.triple()
	if err != nil {
		return nil, err
	}
	groups, out, across := scales.Shape[0], scales.Shape[1], q.Shape[1]
	w := &integers{rows: out, cols: q.Shape[0], bits: 4, parts: []*checkpoint.Tensor{q, zeros, scales}}
	w.group = (w.cols + groups - 1) / groups
	if out != 8*across || zeros.Shape[0] != groups || zeros.Shape[1] != across || w.groups() != groups {
		return nil, m.misfit(q, "(in, %d/8) and zero points (%d, %d/8)", out, groups, out)
	}
	nibble := func(t *checkpoint.Tensor, row, r int) int {
		return field(t.Data, 4*(row*across+r/8), 4, 4, awqOrder[r%8])
	}
	w.codes = func(dst []uint8, r int) {
		for c := range dst {
			dst[c] = uint8(nibble(q, c, r))
		}
	}
	w.scale = func(r, g int) float32 { return number(scales, g*out+r) }
	w.zero = func(r, g int) int { return nibble(zeros, g, r) }
	return w, nil
}

// MLX returns the format of Apple's MLX, mode affine: words along the rows of weight
// (out, in*bits/32), scales and biases (out, in/group). width returns the bits and the
// group of a module, or 0 if it is not quantized.
// https://ml-explore.github.io/mlx/build/html/python/_autosummary/mlx.core.quantize.html
func MLX(width func(module string) (bits, group int)) *Format {
	return &Format{name: "mlx", marker: "scales", read: func(m *module) (Source, error) { return readMLX(m, width) }}
}

func readMLX(m *module, width func(module string) (bits, group int)) (Source, error) {
	bits, group := width(m.name[:max(len(m.name)-1, 0)])
	if bits == 0 {
		return nil, nil
	}
	q, err := m.tensor("weight", checkpoint.U32)
	if err != nil {
		return nil, err
	}
	scales, err := m.tensor("scales", floats...)
	if err != nil {
		return nil, err
	}
	biases, err := m.tensor("biases", floats...)
	if err != nil {
		return nil, err
	}
	if len(q.Shape) != 2 || len(scales.Shape) != 2 || len(biases.Shape) != 2 {
		return nil, m.misfit(q, "matrices")
	}
	out, groups := scales.Shape[0], scales.Shape[1]
	w := &integers{rows: out, cols: groups * group, bits: bits, group: group, parts: []*checkpoint.Tensor{q, scales, biases}}
	if q.Shape[0] != out || biases.Shape[0] != out || biases.Shape[1] != groups || q.Shape[1] != words(w.cols, bits) {
		return nil, m.misfit(q, "(%d, %d) for %d bits and groups of %d", out, words(w.cols, bits), bits, group)
	}
	w.codes = alongRows(q, bits)
	w.scale = func(r, g int) float32 { return number(scales, r*groups+g) }
	w.min = func(r, g int) float32 { return number(biases, r*groups+g) }
	return w, nil
}

// alongRows returns the codes of a matrix whose rows are streams of fields.
func alongRows(q *checkpoint.Tensor, bits int) func(dst []uint8, r int) {
	return func(dst []uint8, r int) {
		for c := range dst {
			dst[c] = uint8(field(q.Data, 4*r*q.Shape[1], 4, bits, c))
		}
	}
}
