package gguf

import (
	"context"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"

	"thimble/format/export"
	"thimble/format/gguf/ggml"
	"thimble/format/gguf/kv"
	"thimble/format/gguf/names"
	"thimble/format/gguf/order"
	"thimble/internal/defect"
	"thimble/internal/kernel"
	"thimble/internal/model"
	"thimble/internal/qtensor"
)

// A writer writes one model as GGUF. All its fields are final once newWriter
// returns.
type writer struct {
	model   *model.Model
	options export.Options
	spec    model.Spec // of model, with the context of the file
	arch    *architecture
	asGGUF  model.Spec // of the file, with one block for each step

	tensors []tensor // in the order of the file
	notes   []string
	front   []byte // everything before the tensor data
	size    int64  // of the file
}

// A tensor describes a tensor of the file and how to compute its values.
type tensor struct {
	name   string
	dims   []uint64 // innermost first
	kind   ggml.Type
	values []float32  // of a tensor without a source; nil and no parts mean zeros
	parts  []part     // in the order of their rows
	mixed  order.Swap // of the rows of all parts
	bytes  int64
}

// A part is a tensor of the model, as it is in a tensor of the file.
type part struct {
	export.Tensor
	vector bool // gains, a bias or another float32 tensor
	order  order.Order
	edit   edit // of a vector's values
}

// An edit changes a value to (value + add) * times, or to minus its exponential.
type edit struct {
	add, times float32
	decays     bool
}

// newWriter decides how m is written, in the first architecture that represents it.
func newWriter(m *model.Model, o export.Options) (*writer, error) {
	spec, err := o.Spec(m)
	if err != nil {
		return nil, err
	}
	a, err := choose(m.Path, &spec)
	if err != nil {
		return nil, err
	}
	return a.writer(m, o, spec)
}

// writer decides how m, with the Spec of the file's context, is written in architecture a.
func (a *architecture) writer(m *model.Model, o export.Options, spec model.Spec) (*writer, error) {
	w := &writer{model: m, options: o, spec: spec, arch: a, asGGUF: a.asGGUF(&spec)}
	if err := w.placeTensors(); err != nil {
		return nil, err
	}
	keys, tokenizerNotes, err := w.arch.metadata(m, &w.spec)
	if err != nil {
		return nil, err
	}
	weights := make(map[string]int64)
	for _, t := range w.list() {
		if t.Rows > 1 {
			weights[t.Type] += int64(t.Rows) * int64(t.Cols)
		}
	}
	keys.fileType = fileType(weights)
	keys.facts = append(keys.facts, "general.size_label="+w.sizeLabel())
	w.note(tokenizerNotes)
	return w, w.layOut(keys)
}

// placeTensors lists the tensors, with those of a block once for each of its steps.
func (w *writer) placeTensors() error {
	at := map[string]int{} // in w.tensors, by name
	for i, slot := range w.asGGUF.Slots() {
		if err := w.place(slot, at); err != nil {
			return err
		}
		if i == 0 && w.arch.hasFactors(&w.asGGUF) {
			factors := ropeFactors(&w.asGGUF)
			for _, name := range w.arch.factorNames() {
				w.tensors = append(w.tensors, tensor{name: name, dims: []uint64{uint64(len(factors))}, kind: ggml.F32, values: factors, bytes: int64(4 * len(factors))})
			}
		}
	}
	if w.arch.fillsKeys {
		w.fillKeys()
	}
	for _, t := range w.tensors {
		slices.SortFunc(t.parts, func(a, b part) int { return a.order.First - b.order.First })
	}
	return nil
}

// fillKeys adds keys and values for the blocks that do not use them: zeros, as small as they get.
func (w *writer) fillKeys() {
	for b, a := range w.asGGUF.Attention {
		s := w.asGGUF.Of(b)
		for _, kind := range []string{model.K, model.V, model.KNorm} {
			rows, cols, kept := s.KVHeads*s.HeadDim, s.Hidden, ggml.F32
			if q, ok := ggml.Of(qtensor.Scheme{Kind: qtensor.Int, Bits: 4, Group: 32}); ok && cols%32 == 0 {
				kept = q
			}
			if kind == model.KNorm {
				rows, cols, kept = 1, s.HeadDim, ggml.F32
			}
			bytes, _, _, err := kept.Scheme.Sizes(rows, cols)
			if name, ok := names.Of(model.Name(b, kind)); ok && err == nil && a.Back > 0 {
				w.tensors = append(w.tensors, tensor{name: name, dims: withoutOnes([]uint64{uint64(cols), uint64(rows)}), kind: kept, bytes: bytes})
			}
		}
	}
}

// place adds the model's tensor for slot to the file's tensors, whose places in w.tensors are at.
func (w *writer) place(slot model.Slot, at map[string]int) error {
	source := w.spec.StoredName(slot.Name)
	if list, _ := w.arch.listOf(&metadata{}, slot); list != nil {
		return nil // a key has it
	}
	where, ok := w.arch.place(&w.asGGUF, slot)
	if !ok {
		return defect.Unsupported(w.model.Path, "tensor %s in GGUF", source)
	}
	want, vector := w.options.Scheme(w.model, source), slot.Role == model.Vector
	if vector {
		want = ggml.F32.Scheme
	}
	placed, err := export.Place(Exporter{}, w.model, source, slot.Role, want, &w.options)
	if err != nil {
		return err
	}
	p := part{Tensor: placed, vector: vector, order: w.arch.order(slot, where, &w.spec), edit: w.editOf(slot.Name)}
	p.Name, p.Rows = where.name, slot.Rows // a file of shorter texts has fewer positions
	kind, _ := ggml.Of(p.To)
	if cols, block := p.order.Cols, order.Block(kind.Scheme); cols.Moves() && cols.Unit%block != 0 {
		_, kind, _ := model.SplitName(source)
		return fmt.Errorf("%w; quantize with --set 'blocks.*.%s=f16', which has no blocks", defect.Unsupported(w.model.Path,
			"%s: GGUF has its heads, %d columns each, in another order, and %v in blocks of %d columns, which", source, cols.Unit, p.To, block), kind)
	}
	if p.Bytes, _, _, err = kind.Scheme.Sizes(p.Rows, p.Cols); err != nil {
		return err
	}
	i, added := at[where.name]
	if !added {
		i = len(w.tensors)
		at[where.name] = i
		w.tensors = append(w.tensors, tensor{name: where.name, dims: where.dims, kind: kind, mixed: where.mixed})
	}
	t := &w.tensors[i]
	if t.kind.ID != kind.ID {
		first := &t.parts[0]
		return fmt.Errorf("%w; quantize with one scheme for both", defect.Unsupported(w.model.Path,
			"%s: %s is %v and %s is %v, which GGUF has in one tensor,", where.name, first.Source, first.To, p.Source, p.To))
	}
	t.parts = append(t.parts, p)
	t.bytes += p.Bytes
	return nil
}

// editOf returns the edit that makes a vector match asGGUF: it adds 1 to gains that are
// stored minus 1, and multiplies the gains of queries by the ratio of the model's scale of
// scores to the graph's. llama.cpp has decays as the factor itself.
func (w *writer) editOf(name string) edit {
	s, x := &w.spec, edit{times: 1}
	kind := name[strings.LastIndexByte(name, '.')+1:]
	x.decays = isDecay(kind)
	if s.Norm.CountsFrom1() && slices.Contains(normKinds, kind) {
		x.add = 1
	}
	if kind == model.QNorm {
		x.times = float32(s.ScoreScale() / w.asGGUF.ScoreScale())
	}
	return x
}

// of returns x, edited.
func (e edit) of(x float32) float32 {
	if e.decays {
		return float32(-kernel.Exp64(float64(x)))
	}
	return (x + e.add) * e.times
}

// normKinds lists the last parts of the names of gains.
var normKinds = []string{model.AttnNorm, model.QNorm, model.KNorm, model.AttnPost, model.FFNNorm, model.FFNPost, model.Norm, model.EmbedNorm}

// note collects notes on how the file differs from the model.
func (w *writer) note(tokenizer []string) {
	s := &w.spec
	note := func(format string, args ...any) { w.notes = append(w.notes, fmt.Sprintf(format, args...)) }
	if n := w.model.Spec.Context; s.Context < n {
		note("the file supports texts of up to %d tokens, the model %d", s.Context, n)
	}
	if s.Shared() {
		note("GGUF cannot share blocks: each of the %d blocks is written once for each of its steps, %d in all", s.Blocks, len(s.Schedule))
	}
	if s.Activation != w.asGGUF.Activation {
		note("llama.cpp computes %s by its approximation with tanh, so its logits differ a little", s.Activation)
	}
	w.notes = append(w.notes, tokenizer...)
	w.notes = append(w.notes, export.RoundingNotes(w.list())...)
}

// list returns the tensors of the model for the plan, and those that the format adds.
func (w *writer) list() (all []export.Tensor) {
	for i := range w.tensors {
		t := &w.tensors[i]
		if t.parts == nil {
			added := export.Tensor{Name: t.name, Type: t.kind.Name, Rows: 1, Cols: int(t.dims[0]), Bytes: t.bytes}
			if len(t.dims) > 1 {
				added.Rows = int(t.dims[1])
			}
			all = append(all, added)
		}
		for _, p := range t.parts {
			all = append(all, p.Tensor)
		}
	}
	return all
}

// layOut builds the front of the file and computes the size of the file.
func (w *writer) layOut(m *metadata) error {
	keys, n := m.encode()
	b := le.AppendUint32([]byte(Magic), version)
	b = le.AppendUint64(b, uint64(len(w.tensors)))
	b = append(le.AppendUint64(b, n), keys...)
	offset := int64(0)
	for _, t := range w.tensors {
		if len(t.name) > maxName || len(w.tensors) > maxTensors {
			return defect.Unsupported(w.model.Path, "%d tensors, one called %s, in GGUF", len(w.tensors), t.name)
		}
		b = kv.AppendString(b, t.name)
		b = le.AppendUint32(b, uint32(len(t.dims)))
		for _, n := range t.dims {
			b = le.AppendUint64(b, n)
		}
		b = le.AppendUint64(le.AppendUint32(b, t.kind.ID), uint64(offset))
		offset += padded(t.bytes)
	}
	w.front = append(b, make([]byte, padded(int64(len(b)))-int64(len(b)))...)
	w.size = int64(len(w.front)) + offset
	return nil
}

func padded(n int64) int64 { return (n + alignment - 1) &^ (alignment - 1) }

// write writes the file to out, row by row.
func (w *writer) write(ctx context.Context, out io.Writer) error {
	if _, err := out.Write(w.front); err != nil {
		return err
	}
	for i := range w.tensors {
		if err := w.writeTensor(ctx, out, &w.tensors[i]); err != nil {
			return err
		}
	}
	return nil
}

// writeTensor writes t and the zeros that pad it.
func (w *writer) writeTensor(ctx context.Context, out io.Writer, t *tensor) error {
	padding := make([]byte, padded(t.bytes)-t.bytes)
	if t.values != nil {
		plain := part{edit: edit{times: 1}}
		_, err := out.Write(append(plain.appendValues(nil, t.values), padding...))
		return err
	}
	if t.parts == nil {
		padding = make([]byte, padded(t.bytes))
	}
	if err := w.writeParts(ctx, out, t); err != nil {
		return err
	}
	_, err := out.Write(padding)
	return err
}

// writeParts writes the parts of t: all at once if their rows are mixed, otherwise one after the
// other.
func (w *writer) writeParts(ctx context.Context, out io.Writer, t *tensor) error {
	together := 1
	if t.mixed.Moves() {
		together = len(t.parts)
	}
	for parts := range slices.Chunk(t.parts, together) {
		some := tensor{kind: t.kind, parts: parts, mixed: t.mixed}
		if err := w.readAll(ctx, parts, nil, func(all []*qtensor.Matrix) error { return some.writeRows(ctx, out, all) }); err != nil {
			return err
		}
	}
	return nil
}

// readAll calls write with the matrices of parts, after those in all.
func (w *writer) readAll(ctx context.Context, parts []part, all []*qtensor.Matrix, write func(all []*qtensor.Matrix) error) error {
	if len(all) == len(parts) {
		return write(all)
	}
	return parts[len(all)].Read(ctx, w.model, &w.options, func(m *qtensor.Matrix) error {
		return w.readAll(ctx, parts, append(all, m), write)
	})
}

// writeRows writes the rows of t, whose parts have the matrices all.
func (t *tensor) writeRows(ctx context.Context, out io.Writer, all []*qtensor.Matrix) error {
	rows := 0
	for i := range t.parts {
		rows += t.parts[i].Rows
	}
	var p packer
	for r := range rows {
		if err := ctx.Err(); err != nil {
			return err
		}
		i, at := 0, t.mixed.Back().At(r)
		for ; at >= t.parts[i].Rows; i++ {
			at -= t.parts[i].Rows
		}
		one := &t.parts[i]
		from := one.order.Rows.Back().At(at)
		if from >= all[i].Rows {
			from = 0 // as for a token without a row, see model.LayerInput
		}
		row, err := p.row(one, t.kind, all[i], from)
		if err != nil {
			return fmt.Errorf("%s, row %d: %w", one.Source, from, err)
		}
		if _, err := out.Write(row); err != nil {
			return err
		}
	}
	return nil
}

// appendValues appends a vector's values, in the file's order and edited, to b.
func (t *part) appendValues(b []byte, values []float32) []byte {
	back := t.order.Rows.Back()
	for i := range values {
		b = le.AppendUint32(b, math.Float32bits(t.edit.of(values[back.At(i)])))
	}
	return b
}

// A packer holds scratch memory for packing rows.
type packer struct {
	reader       qtensor.Reader
	values       []float32
	out, ordered []byte
}

// row returns row r of m packed as kind stores it, with its columns in the file's order, valid
// until the next call.
func (p *packer) row(t *part, kind ggml.Type, m *qtensor.Matrix, r int) ([]byte, error) {
	packed, err := p.packed(t, kind, m, r)
	cols := t.order.Cols
	if err != nil || !cols.Moves() {
		return packed, err
	}
	run := len(packed) * cols.Unit / m.Cols
	p.ordered = append(p.ordered[:0], packed...)
	for i := range len(packed) / run {
		copy(p.ordered[cols.Runs().At(i)*run:], packed[i*run:][:run])
	}
	return p.ordered, nil
}

func (p *packer) packed(t *part, kind ggml.Type, m *qtensor.Matrix, r int) ([]byte, error) {
	p.out = p.out[:0]
	if t.vector {
		p.values = append(p.values[:0], make([]float32, m.Cols)...)
		p.reader.Row(p.values, m, r)
		return t.appendValues(p.out, p.values), nil
	}
	if m.Scheme == kind.Scheme {
		return p.reader.Stored(m, r), nil
	}
	codes, scales, mins := p.reader.Codes(m, r)
	var err error
	p.out, err = kind.Scheme.Layout.AppendRow(p.out, codes, scales, mins)
	return p.out, err
}
