package packed

import (
	"slices"
	"strings"

	"thimble/internal/checkpoint"
	"thimble/internal/defect"
)

// Compressed returns the format pack-quantized of compressed-tensors: signed integers plus
// 2^(bits-1), as streams along the rows of weight_packed, and zero points in the same way
// down the columns of weight_zero_point. bits returns the width of a module, or 0 if it is
// not quantized to integers.
// https://github.com/vllm-project/compressed-tensors, compressors/pack_quantized
func Compressed(bits func(module string) (int, error)) *Format {
	return &Format{name: "compressed-tensors", marker: "weight_packed", read: func(m *module) (Source, error) { return readCompressed(m, bits) }}
}

func readCompressed(m *module, bitsOf func(module string) (int, error)) (Source, error) {
	q, err := m.tensor("weight_packed", checkpoint.I32)
	if err != nil {
		return nil, err
	}
	bits, err := bitsOf(strings.TrimSuffix(m.name, "."))
	if err != nil {
		return nil, defect.Unsupported(q.File, "%s: %v", defect.Printable(q.Name), err)
	}
	shape, err := m.tensor("weight_shape", checkpoint.I64, checkpoint.I32)
	if err != nil {
		return nil, err
	}
	if bits == 0 {
		return nil, defect.Corrupt(q.File, q.Name, "is packed, but no config group of integers is for it")
	}
	if len(q.Shape) != 2 || len(shape.Shape) != 1 || shape.Shape[0] != 2 {
		return nil, m.misfit(q, "two dimensions, and two numbers for them")
	}
	size := len(shape.Data) / 2
	w := &integers{rows: int(int32(le.Uint32(shape.Data))), cols: int(int32(le.Uint32(shape.Data[size:]))), bits: bits, parts: []*checkpoint.Tensor{q}}
	if w.rows != q.Shape[0] || w.cols < 1 || words(w.cols, bits) != q.Shape[1] {
		return nil, m.misfit(q, "(%d, %d) for %d bits and shape (%d, %d)", w.rows, words(max(w.cols, 0), bits), bits, w.rows, w.cols)
	}
	w.codes = alongRows(q, bits)
	groups, zeros, err := w.scalesAndZeros(m, checkpoint.I32)
	if err != nil || zeros == nil {
		return w, err
	}
	if !slices.Equal(zeros.Shape, []int{words(w.rows, bits), groups}) {
		return nil, m.misfit(zeros, "(%d, %d)", words(w.rows, bits), groups)
	}
	w.zero = func(r, g int) int { return field(zeros.Data, 4*g, 4*groups, bits, r) }
	return w, nil
}

// scalesAndZeros reads the scales and finds weight_zero_point, nil without one, of a type.
func (w *integers) scalesAndZeros(m *module, t checkpoint.DType) (groups int, zeros *checkpoint.Tensor, err error) {
	if groups, err = w.scales(m); err != nil {
		return 0, nil, err
	}
	if zeros = m.find("weight_zero_point"); zeros != nil {
		err = m.check(zeros, t)
	}
	return groups, zeros, err
}

// scales reads weight_scale, one for each group of a row, for each row, or for all rows,
// and weight_g_idx. It returns the number of groups in a row.
func (w *integers) scales(m *module) (groups int, err error) {
	t, err := m.tensor("weight_scale", floats...)
	if err != nil {
		return 0, err
	}
	n := 1
	for _, dim := range t.Shape {
		n *= dim
	}
	switch {
	case n == 1:
		w.scale = func(_, _ int) float32 { return number(t, 0) }
		return 1, nil
	case len(t.Shape) > 0 && t.Shape[0] == w.rows:
		groups = n / w.rows
	default:
		return 0, m.misfit(t, "[1], (%d, 1) or (%d, groups)", w.rows, w.rows)
	}
	w.scale = func(r, g int) float32 { return number(t, r*groups+g) }
	if w.group = (w.cols + groups - 1) / groups; w.groups() != groups {
		return 0, m.misfit(t, "(%d, %d)", w.rows, w.groups())
	}
	if g := m.find("weight_g_idx"); g != nil && !slices.Contains(g.Data, 0xff) { // -1 means none
		return groups, w.indices(m, g, groups)
	}
	return groups, nil
}

// Int8 returns the formats int-quantized and naive-quantized of compressed-tensors: a
// weight of signed bytes with weight_scale and perhaps weight_zero_point.
func Int8() *Format {
	return &Format{name: "compressed-tensors", marker: "weight_scale", read: readInt8}
}

func readInt8(m *module) (Source, error) {
	q := m.tensors[m.name+"weight"]
	if q == nil || q.DType != checkpoint.I8 {
		return nil, nil // floats of 8 bits
	}
	if _, err := m.tensor("weight", checkpoint.I8); err != nil {
		return nil, err
	}
	if len(q.Shape) != 2 {
		return nil, m.misfit(q, "two dimensions")
	}
	w := &integers{rows: q.Shape[0], cols: q.Shape[1], bits: 8, parts: []*checkpoint.Tensor{q}}
	w.codes = func(dst []uint8, r int) {
		for c, x := range q.Data[r*w.cols:][:w.cols] {
			dst[c] = x + 128
		}
	}
	groups, zeros, err := w.scalesAndZeros(m, checkpoint.I8)
	if err != nil || zeros == nil {
		return w, err
	}
	switch len(zeros.Data) {
	case 1:
		w.zero = func(_, _ int) int { return int(int8(zeros.Data[0])) + 128 }
	case w.rows * groups:
		w.zero = func(r, g int) int { return int(int8(zeros.Data[r*groups+g])) + 128 }
	default:
		return nil, m.misfit(zeros, "(%d, %d)", w.rows, groups)
	}
	return w, nil
}
