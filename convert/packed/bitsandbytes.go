package packed

import (
	"encoding/json"
	"math"
	"slices"

	"thimble/internal/checkpoint"
	"thimble/internal/defect"
	"thimble/internal/qtensor"
)

// LLMInt8 returns the format of bitsandbytes in 8 bits: a weight of signed bytes, and for
// each row the largest magnitude SCB, which 127 stands for.
func LLMInt8() *Format { return &Format{name: "bitsandbytes int8", marker: "SCB", read: readLLMInt8} }

func readLLMInt8(m *module) (Source, error) {
	q, err := m.tensor("weight", checkpoint.I8)
	if err != nil {
		return nil, err
	}
	scb, err := m.tensor("SCB", checkpoint.F32)
	if err != nil {
		return nil, err
	}
	if len(q.Shape) != 2 || !slices.Equal(scb.Shape, q.Shape[:1]) {
		return nil, m.misfit(q, "a matrix of %v rows", scb.Shape)
	}
	if t := m.find("weight_format"); t != nil && (len(t.Data) == 0 || t.Data[0] != 0) {
		return nil, defect.Unsupported(t.Name, "a matrix of 8 bits in another order than rows; save it again with bitsandbytes 0.45 or later")
	}
	return &int8Rows{q, scb}, nil
}

type int8Rows struct {
	*checkpoint.Tensor
	scb *checkpoint.Tensor
}

func (q *int8Rows) shape() (rows, cols int) { return q.Shape[0], q.Shape[1] }

func (q *int8Rows) keep() (*qtensor.Matrix, string) {
	return nil, "its scales are float32 numbers divided by 127"
}

// Row multiplies as int8_vectorwise_dequant of bitsandbytes does.
func (q *int8Rows) Row(dst []byte, r int) {
	scale := number(q.scb, r)
	for c, x := range q.Data[r*q.Shape[1]:][:q.Shape[1]] {
		le.PutUint32(dst[4*c:], math.Float32bits(float32(float32(int8(x))*scale)*7.874015718698502e-3))
	}
}

// Levels returns the format of bitsandbytes in 4 bits, nf4 or fp4: indices of the 16
// levels of weight.quant_map, the first of a byte in its high half, times the absmax of a
// block. With double quantization, absmax is itself an index of 256 levels.
// https://github.com/bitsandbytes-foundation/bitsandbytes, functional.QuantState
func Levels(kind string) *Format {
	state := "weight.quant_state.bitsandbytes__" + kind
	return &Format{name: "bitsandbytes " + kind, marker: state, read: func(m *module) (Source, error) { return readLevels(m, state) }}
}

// levels is a matrix in 4 bits of bitsandbytes.
type levels struct {
	q          *checkpoint.Tensor
	rows, cols int
	block      int // weights that share an absmax
	level      [16]float32
	absmax     func(block int) float32
}

func readLevels(m *module, state string) (Source, error) {
	t, err := m.tensor(state, checkpoint.U8)
	if err != nil {
		return nil, err
	}
	var s struct {
		Blocksize       int     `json:"blocksize"`
		Shape           []int   `json:"shape"`
		NestedBlocksize int     `json:"nested_blocksize"`
		NestedOffset    float64 `json:"nested_offset"`
	}
	if err := json.Unmarshal(t.Data, &s); err != nil {
		return nil, defect.Corrupt(t.File, t.Name, "is not the JSON of bitsandbytes: %s", defect.Printable(err.Error()))
	}
	q, err := m.tensor("weight", checkpoint.U8)
	if err != nil {
		return nil, err
	}
	table, err := m.tensor("weight.quant_map", checkpoint.F32)
	if err != nil {
		return nil, err
	}
	absmax, err := m.tensor("weight.absmax", checkpoint.F32, checkpoint.U8)
	if err != nil {
		return nil, err
	}
	const most = 1 << 30
	if len(s.Shape) != 2 || s.Shape[0] < 1 || s.Shape[1] < 1 || s.Shape[0] > most || s.Shape[1] > most || s.Blocksize < 1 || (int64(s.Shape[0])*int64(s.Shape[1])+1)/2 != int64(len(q.Data)) {
		return nil, m.misfit(q, "half the bytes of %v, in blocks of %d", s.Shape, s.Blocksize)
	}
	w := &levels{q: q, rows: s.Shape[0], cols: s.Shape[1], block: s.Blocksize}
	blocks := (w.rows*w.cols + w.block - 1) / w.block
	if len(table.Data) != 4*16 {
		return nil, m.misfit(table, "[16]")
	}
	for i := range w.level {
		w.level[i] = number(table, i)
	}
	if absmax.DType == checkpoint.F32 {
		w.absmax = func(block int) float32 { return number(absmax, block) }
		if len(absmax.Data) != 4*blocks {
			return nil, m.misfit(absmax, "[%d]", blocks)
		}
		return w, nil
	}
	w.absmax, err = readNested(m, absmax, blocks, s.NestedBlocksize, float32(s.NestedOffset))
	if err != nil {
		return nil, err
	}
	return w, nil
}

// readNested returns the scales of blocks that are levels themselves (double quantization), in
// blocks of size.
func readNested(m *module, absmax *checkpoint.Tensor, blocks, size int, offset float32) (func(block int) float32, error) {
	nested, err := m.tensor("weight.nested_absmax", checkpoint.F32)
	if err != nil {
		return nil, err
	}
	fine, err := m.tensor("weight.nested_quant_map", checkpoint.F32)
	if err != nil {
		return nil, err
	}
	if len(absmax.Data) != blocks || len(fine.Data) != 4*256 || size < 1 || len(nested.Data) != 4*((blocks+size-1)/size) {
		return nil, m.misfit(absmax, "[%d], with 256 levels in blocks of %d", blocks, size)
	}
	return func(block int) float32 {
		return float32(number(fine, int(absmax.Data[block]))*number(nested, block/size)) + offset
	}, nil
}

func (w *levels) shape() (rows, cols int) { return w.rows, w.cols }

func (w *levels) keep() (*qtensor.Matrix, string) { return nil, "its levels are not evenly spaced" }

func (w *levels) Release() { w.q.Release() }

func (w *levels) Row(dst []byte, r int) {
	last, scale := -1, float32(0)
	for c := range w.cols {
		i := r*w.cols + c
		if b := i / w.block; b != last {
			last, scale = b, w.absmax(b)
		}
		le.PutUint32(dst[4*c:], math.Float32bits(w.level[w.q.Data[i/2]>>(4-i%2*4)&15]*scale))
	}
}
