package packed

import (
	"maps"
	"math"
	"slices"
	"strings"
	"sync"

	"thimble/internal/checkpoint"
	"thimble/internal/defect"
)

// MXFP4 returns the format of gpt-oss: tensors of all experts of a block, of which 32 columns of a
// row are 4-bit floats with a common power of two (OCP Microscaling Formats 1.0, section 5.2). NAME
// is stored as NAME_blocks, (experts, rows, columns/32, 16), and NAME_scales, (experts, rows,
// columns/32).
// https://github.com/huggingface/transformers, integrations/mxfp4.py
func MXFP4() *Format { return &Format{name: "mxfp4", unpack: unpackMXFP4} }

func unpackMXFP4(tensors map[string]*checkpoint.Tensor) (*Unpacked, error) {
	out := &Unpacked{Tensors: maps.Clone(tensors)}
	count := map[string]int{}
	for _, name := range slices.Sorted(maps.Keys(tensors)) {
		prefix, ok := strings.CutSuffix(name, "_blocks")
		if !ok {
			continue
		}
		blocks, scales := tensors[name], tensors[prefix+"_scales"]
		if scales == nil {
			return nil, defect.Corrupt(blocks.File, prefix+"_scales", "tensor is missing, which a matrix of mxfp4 requires")
		}
		shape := blocks.Shape
		if blocks.DType != checkpoint.U8 || len(shape) != 4 || shape[3] != halfGroup || slices.Contains(shape, 0) {
			return nil, defect.Corrupt(blocks.File, name, "is %s %v, mxfp4 requires U8 in four dimensions, of which the last has %d", blocks.DType, shape, halfGroup)
		}
		if scales.DType != checkpoint.U8 || !slices.Equal(scales.Shape, shape[:3]) {
			return nil, defect.Corrupt(scales.File, scales.Name, "is %s %v, %s requires U8 %v", scales.DType, scales.Shape, name, shape[:3])
		}
		if blocks.Source != nil || scales.Source != nil {
			return nil, defect.Corrupt(blocks.File, name, "is not stored in row-major order; call contiguous() on it and save it again")
		}
		delete(out.Tensors, name)
		delete(out.Tensors, scales.Name)
		own := prefix + "_rows" // bfloat16 checkpoints have (experts, columns, rows) under the name without it
		out.Tensors[own] = &checkpoint.Tensor{
			Name: own, File: blocks.File, DType: checkpoint.BF16, Shape: []int{shape[0], shape[1], 2 * halfGroup * shape[2]}, Source: &microscaled{blocks, scales, shape[2]},
		}
		count["of mxfp4: decoded to bfloat16, which is exact"]++
	}
	out.Notes = notesOf(count)
	return out, nil
}

// halfGroup is the number of bytes of a group, which hold two values each.
const halfGroup = 16

// fp4 has the values of 4-bit floats, by scale and code, in bfloat16.
var fp4 = sync.OnceValue(func() *[256][16]uint16 {
	var all [256][16]uint16
	for scale := range all {
		for code, v := range [8]float64{0, 0.5, 1, 1.5, 2, 3, 4, 6} {
			bits := uint16(math.Float32bits(float32(math.Ldexp(v, scale-127))) >> 16)
			all[scale][code], all[scale][code+8] = bits, bits|1<<15
		}
	}
	return &all
})

// A microscaled supplies the rows of all experts in bfloat16.
type microscaled struct {
	blocks, scales *checkpoint.Tensor
	groups         int // of a row
}

func (m *microscaled) Row(dst []byte, r int) {
	row := m.blocks.Data[r*m.groups*halfGroup:][:m.groups*halfGroup]
	values := fp4()
	for g := range m.groups {
		of := &values[m.scales.Data[r*m.groups+g]]
		for _, pair := range row[g*halfGroup:][:halfGroup] {
			le.PutUint16(dst, of[pair&15])
			le.PutUint16(dst[2:], of[pair>>4])
			dst = dst[4:]
		}
	}
}

func (m *microscaled) Release() {
	m.blocks.Release()
	m.scales.Release()
}
