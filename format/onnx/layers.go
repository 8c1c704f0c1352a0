package onnx

import (
	"fmt"

	"thimble/internal/model"
	"thimble/internal/qtensor"
)

// cast appends a conversion of x to typ.
func (b *builder) cast(y, x string, typ dataType) string {
	return b.op(y, "Cast", []string{x}, attribute{"to", int64(typ)})
}

// gain returns the name of a vector of the model, with add added to its values, or of its
// embedding of positions.
func (b *builder) gain(name string, add float32) string {
	return b.once(name, func() {
		offset, length, err := b.vectorOf(name, add)
		if err != nil {
			b.fail(err)
			return
		}
		dims := []int64{int64(b.model.Tensors[name].Cols)}
		if rows := b.model.Tensors[name].Rows; name == model.Positions {
			dims = []int64{int64(rows), dims[0]}
		}
		b.external(name, typeFloat, dims, offset, length)
	})
}

func (b *builder) fail(err error) {
	if b.err == nil {
		b.err = err
	}
}

// factors returns the name of a norm's factors.
func (b *builder) factors(name string) string {
	if b.spec.Norm.CountsFrom1() {
		return b.gain(name, 1)
	}
	return b.gain(name, 0)
}

// norm appends the norm called name of x.
func (b *builder) norm(y, x, name string) string {
	bias := ""
	if b.spec.Norm.Biased() {
		bias = b.gain(name+model.BiasSuffix, 0)
	}
	return b.normOf(y, x, b.factors(name), bias, b.spec.Centers())
}

// normOf appends a norm over the last dimension of x. There may be no bias.
func (b *builder) normOf(y, x, gain, bias string, centered bool) string {
	attributes := []attribute{{"axis", int64(-1)}, {"epsilon", float32(b.spec.NormEps)}}
	if !centered {
		return b.op(y, "SimplifiedLayerNormalization", []string{x, gain}, attributes...)
	}
	inputs := []string{x, gain}
	if bias != "" {
		inputs = append(inputs, bias)
	}
	return b.op(y, "LayerNormalization", inputs, attributes...)
}

// addNorm completes the stream, under the name sum if it is new, and appends its norm called
// name, in one node if there is one for both.
func (b *builder) addNorm(sum, y, name string) string {
	if b.pending == "" || b.spec.Centers() {
		return b.norm(y, b.flush(sum), name)
	}
	b.node(microsoft, "SkipSimplifiedLayerNormalization", []string{b.stream, b.pending, b.factors(name)}, []string{y, "", "", sum},
		attribute{"epsilon", float32(b.spec.NormEps)})
	b.stream, b.pending = sum, ""
	return y
}

// matrix returns where matrix source is, which it places at the first call.
func (b *builder) matrix(source string) *stored {
	if w, ok := b.matrices[source]; ok {
		return w
	}
	w, err := b.place(source, b.roles[source])
	if err != nil {
		b.fail(err)
		w = &stored{}
	}
	b.matrices[source] = w
	return w
}

// linear appends y = W x, plus a bias if there is one.
func (b *builder) linear(y, x, source string, biased bool) string {
	return b.linearOf(y, x, source, source, biased)
}

// linearOf is linear for a layer whose bias has another name than its weights.
func (b *builder) linearOf(y, x, source, name string, biased bool) string {
	w, product := b.matrix(source), y
	if biased {
		product += ".product"
	}
	switch {
	case b.err != nil:
		return y
	case w.To.Float():
		b.node(microsoft, "FusedMatMul", []string{x, b.widened(w)}, []string{product}, attribute{"transB", int64(1)})
	default:
		b.integerProduct(product, x, w)
	}
	if biased {
		b.op(y, "Add", []string{product, b.gain(name+model.BiasSuffix, 0)})
	}
	return y
}

// floats returns the name of a float matrix, (Rows, Cols), in the type that it is stored in.
func (b *builder) floats(w *stored) string {
	return b.once(w.Source, func() {
		b.external(w.Source, floatTypes[w.To.Kind].id, []int64{int64(w.Rows), int64(w.Cols)}, w.codes, w.codeBytes)
	})
}

// widened returns the name of a float matrix as float32. onnxruntime computes it, as all
// constants, when it loads the file.
func (b *builder) widened(w *stored) string {
	x := b.floats(w)
	if w.To.Kind == qtensor.F32 {
		return x
	}
	name := w.Source + ".float"
	return b.once(name, func() { b.cast(name, x, typeFloat) })
}

// integerProduct appends y = W x for a matrix of integers. MatMulNBits computes it with a zero
// point of half the range, 2^(bits-1). It has no kernels for a minimum that is not a
// multiple of the scale; so that of each group is multiplied by the sum of the group's
// inputs.
func (b *builder) integerProduct(y, x string, w *stored) {
	block := blockOf(w.To, w.Cols)
	codes := b.codes(w.Source+".codes", w, int64(w.Rows), int64(w.Cols/block), int64(block*w.To.Bits/8))
	product := y
	if w.To.Asym {
		product += ".codes"
	}
	b.node(microsoft, "MatMulNBits", []string{x, codes, b.blockScales(w)}, []string{product},
		attribute{"K", int64(w.Cols)}, attribute{"N", int64(w.Rows)}, attribute{"bits", int64(w.To.Bits)},
		attribute{"block_size", int64(block)}, attribute{"accuracy_level", int64(accuracyLevel)})
	if !w.To.Asym {
		return
	}
	group := w.To.Columns(w.Cols)
	sums := b.once(fmt.Sprintf("%s.sums.%d", x, group), func() {
		split := b.vector(fmt.Sprintf("groups.%d.%d", w.Cols, group), 0, 0, int64(w.Cols/group), int64(group))
		groups := b.op(fmt.Sprintf("%s.groups.%d", x, group), "Reshape", []string{x, split})
		b.op(fmt.Sprintf("%s.sums.%d", x, group), "ReduceSum", []string{groups, b.vector("axis.3", 3)}, attribute{"keepdims", int64(0)})
	})
	b.node(microsoft, "FusedMatMul", []string{sums, b.offsets(w)}, []string{y + ".offsets"}, attribute{"transB", int64(1)})
	b.op(y, "Add", []string{product, y + ".offsets"})
}

// codes returns the name of w's codes, as bytes in the given shape.
func (b *builder) codes(name string, w *stored, dims ...int64) string {
	return b.once(name, func() { b.external(name, typeUint8, dims, w.codes, w.codeBytes) })
}

// scales returns the name of w's scales as float32, one for each group.
func (b *builder) scales(w *stored) string {
	return b.float16s(w.Source+".scales", w, w.scales)
}

func (b *builder) float16s(name string, w *stored, offset int64) string {
	return b.once(name, func() {
		half := name + ".float16"
		b.external(half, typeFloat16, []int64{int64(w.Rows), int64(w.To.Groups(w.Cols))}, offset, w.scaleBytes)
		b.cast(name, half, typeFloat)
	})
}

// blockScales is scales with one for each block.
func (b *builder) blockScales(w *stored) string {
	groups, repeat := w.To.Groups(w.Cols), w.To.Columns(w.Cols)/blockOf(w.To, w.Cols)
	if repeat == 1 {
		return b.scales(w)
	}
	name := w.Source + ".scales.blocks"
	return b.once(name, func() {
		rows := int64(w.Rows)
		x := b.op(name+".1", "Reshape", []string{b.scales(w), b.vector(fmt.Sprintf("groups.%d.%d.1", rows, groups), rows, int64(groups), 1)})
		x = b.op(name+".2", "Expand", []string{x, b.vector(fmt.Sprintf("groups.%d.%d.%d", rows, groups, repeat), rows, int64(groups), int64(repeat))})
		b.op(name, "Reshape", []string{x, b.vector(fmt.Sprintf("blocks.%d.%d", rows, groups*repeat), rows, int64(groups*repeat))})
	})
}

// offsets returns the name of what is added to each weight of a group of w, given that
// onnxruntime subtracts half the range from codes: the minimum plus scale times half the
// range.
func (b *builder) offsets(w *stored) string {
	name := w.Source + ".offsets"
	return b.once(name, func() {
		zero := b.scalar(fmt.Sprintf("zero.%d", w.To.Bits), float64(w.To.Zero()))
		middle := b.op(name+".middle", "Mul", []string{b.scales(w), zero})
		b.op(name, "Add", []string{b.float16s(w.Source+".mins", w, w.mins), middle})
	})
}

// rows appends the rows of matrix source for the input's tokens.
func (b *builder) rows(y, source string) string {
	w := b.matrix(source)
	switch {
	case b.err != nil:
		return y
	case w.To.Kind == qtensor.F32:
		return b.op(y, "Gather", []string{b.floats(w), inputIDs})
	case w.To.Float():
		return b.cast(y, b.op(y+".stored", "Gather", []string{b.floats(w), inputIDs}), typeFloat)
	}
	product := y
	if w.To.Asym {
		product += ".codes"
	}
	codes := b.codes(w.Source+".rows", w, int64(w.Rows), int64(w.Cols*w.To.Bits/8))
	b.node(microsoft, "GatherBlockQuantized", []string{codes, inputIDs, b.blockScales(w)}, []string{product},
		attribute{"bits", int64(w.To.Bits)}, attribute{"block_size", int64(blockOf(w.To, w.Cols))},
		attribute{"gather_axis", int64(0)}, attribute{"quantize_axis", int64(1)})
	if !w.To.Asym {
		return y
	}
	group := w.To.Columns(w.Cols)
	offsets := b.op(y+".offsets", "Gather", []string{b.offsets(w), inputIDs})
	offsets = b.op(y+".offsets.each", "Unsqueeze", []string{offsets, b.vector("axis.3", 3)})
	groups := b.op(y+".groups", "Reshape", []string{product, b.vector(fmt.Sprintf("groups.%d.%d", w.Cols, group), 0, 0, int64(w.Cols/group), int64(group))})
	sum := b.op(y+".sum", "Add", []string{groups, offsets})
	return b.op(y, "Reshape", []string{sum, b.vector(fmt.Sprintf("joined.%d", w.Cols), 0, 0, int64(w.Cols))})
}
