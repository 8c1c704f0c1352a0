package gguf

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"strings"

	"thimble/internal/atomicfile"
	"thimble/internal/defect"
	"thimble/internal/model"
	"thimble/internal/parallel"
	"thimble/internal/qtensor"
	"thimble/internal/tokenizer"
)

// An Export is a model about to be written as GGUF.
type Export struct {
	Tensors []Tensor // in the order of the file
	Notes   []string // what is not said by the tensors, for the user to read
	Bytes   int64    // of the file

	model   *model.Model
	options Options
	spec    model.Spec // of model, in the context asked for
	arch    *architecture
	said    model.Spec // what the file says, one block for each step
	front   []byte     // everything before the tensor data
}

// A Tensor is one tensor of the file.
type Tensor struct {
	Name       string // in the file
	Source     string // canonical name in the model; empty for the rotary factors
	Type       string // ggml's name
	Rows, Cols int
	Bytes      int64 // without padding

	From       qtensor.Scheme // in the model
	Requantize bool           // Type holds other codes than From does

	ggml   ggmlType
	matrix *qtensor.Matrix
	vector bool // a norm's gains or a bias: one dimension, F32
	turn   int  // width of the heads whose rows change places, or 0
	edit   edit // of a vector's values
}

// An edit is what becomes of a value: (value + add) * times.
type edit struct{ add, times float32 }

// Options say how the file is written.
type Options struct {
	// Context is how many positions the file is for, at most the model's; 0 is
	// the model's. A window that holds all of them is none.
	Context int
	// Requantize returns tensor source in another scheme. Where it is nil, what
	// has no type is refused.
	Requantize func(ctx context.Context, source string, to qtensor.Scheme) (*qtensor.Matrix, error)

	Overwrite bool             // replace an existing file
	Inputs    []string         // paths being read, such as Model.Files: never replaced
	Progress  func(done int64) // told the bytes written so far; may be nil
}

// NewExport decides how m is written, or returns the first reason why GGUF
// cannot hold it: an error that wraps defect.ErrUnsupported. Integer schemes
// change only by Options.Requantize; vectors become F32. m must stay open until Write.
func NewExport(m *model.Model, o Options) (*Export, error) {
	if err := m.Check(); err != nil {
		return nil, err
	}
	e := &Export{model: m, options: o, spec: m.Spec}
	switch {
	case o.Context < 0 || o.Context > m.Spec.Context:
		return nil, fmt.Errorf("%s: a context of %d, want 1 to the model's %d", defect.Printable(m.Path), o.Context, m.Spec.Context)
	case o.Context > 0:
		e.spec.Context = o.Context
	}
	var err error
	if e.arch, err = choose(m.Path, &e.spec); err != nil {
		return nil, err
	}
	e.said = e.arch.said(&e.spec)
	if err := e.place(); err != nil {
		return nil, err
	}
	keys, notes, err := e.arch.keysOf(m, &e.spec)
	if err != nil {
		return nil, err
	}
	weights := make(map[string]int64)
	for _, t := range e.Tensors {
		if t.Rows > 1 {
			weights[t.Type] += int64(t.Rows) * int64(t.Cols)
		}
	}
	keys.fileType = fileType(weights)
	e.note(notes)
	return e, e.layOut(keys)
}

// keysOf returns every key but the file type, and what there is to say about
// the tokenizer.
func (a *architecture) keysOf(m *model.Model, s *model.Spec) (*metadata, []string, error) {
	said := a.said(s)
	keys := a.describe(&said)
	keys.kind, keys.quantized, keys.alignment = "model", ptr(uint32(2)), ptr(uint32(alignment))
	keys.putProvenance(&m.Provenance)
	if m.Spec.Rope.Pairs {
		keys.ropePairs = ptr(true)
	}
	var d *tokenizer.Data
	if m.Tokenizer != nil {
		var err error
		if d, err = m.Tokenizer(); err != nil {
			return nil, nil, err
		}
	}
	notes, err := keys.putTokenizer(m.Path, d, s)
	if err != nil {
		return nil, nil, err
	}
	if d == nil {
		notes = append(notes, "there is no tokenizer: llama.cpp can run this file on token ids alone")
	} else if n := s.Vocab - len(d.Tokens); n > 0 {
		notes = append(notes, fmt.Sprintf("the embedding has %d rows more than the tokenizer has tokens: they are written as unused tokens", n))
	}
	return keys, notes, keys.checkStrings(m.Path)
}

// place lists the tensors, once for each step that uses them.
func (e *Export) place() error {
	for i, slot := range e.said.Slots() {
		if err := e.add(slot, sourceOf(slot.Name, e.spec.Schedule)); err != nil {
			return err
		}
		if i == 0 && e.said.Rope.Scaling == model.RopeLlama3 {
			e.addRopeFactors()
		}
	}
	return nil
}

// add appends the model's tensor source under the GGUF name for slot.
func (e *Export) add(slot model.Slot, source string) error {
	m, path := e.model.Tensors[source], e.model.Path
	written, ok := foreign(slot.Name)
	if !ok {
		return defect.Unsupported(path, "tensor %s in GGUF", source)
	}
	scheme, vector := m.Scheme, slot.Role == model.Vector
	if vector {
		scheme = qtensor.Scheme{Kind: qtensor.F32}
	}
	to := Nearest(scheme, m.Cols)
	t, _ := typeOf(to)
	if to != scheme && e.options.Requantize == nil {
		return fmt.Errorf("%w; quantize the checkpoint with %v there, or say --requantize to round this to %s",
			defect.Unsupported(path, "%s: scheme %v of %d columns in GGUF", source, m.Scheme, m.Cols), to, t.name)
	}
	size, _, _, err := t.scheme.Sizes(m.Rows, m.Cols)
	if err != nil {
		return err
	}
	e.Tensors = append(e.Tensors, Tensor{
		Name: written, Source: source, Type: t.name, Rows: m.Rows, Cols: m.Cols, Bytes: size,
		From: m.Scheme, Requantize: to != scheme, ggml: t, matrix: m,
		vector: vector, turn: e.arch.turned(slot.Name, &e.spec), edit: e.editOf(slot.Name),
	})
	return nil
}

// editOf returns what makes a vector's values follow architecture.said: gains
// that count from 1 become whole, and the gains of queries take the scale of
// scores where the graph's own is another.
func (e *Export) editOf(name string) edit {
	s, x := &e.spec, edit{times: 1}
	kind := name[strings.LastIndexByte(name, '.')+1:]
	if s.Norm == model.NormRMS1 && slices.Contains(normKinds, kind) {
		x.add = 1
	}
	if kind == model.QNorm {
		x.times = float32(s.ScoreScale() / e.said.ScoreScale())
	}
	return x
}

// normKinds are the last parts of the names of gains.
var normKinds = []string{model.AttnNorm, model.QNorm, model.KNorm, model.AttnPost, model.FFNNorm, model.FFNPost, model.Norm}

func (e *Export) addRopeFactors() {
	factors := ropeFactors(&e.said)
	m := &qtensor.Matrix{Rows: 1, Cols: len(factors)} // f32
	for _, f := range factors {
		m.Codes = binary.LittleEndian.AppendUint32(m.Codes, math.Float32bits(f))
	}
	e.Tensors = append(e.Tensors, Tensor{
		Name: ropeFreqs, Type: types[0].name, Rows: 1, Cols: m.Cols, Bytes: int64(len(m.Codes)),
		ggml: types[0], matrix: m, vector: true, edit: edit{times: 1},
	})
}

// note says what the file holds otherwise than the model.
func (e *Export) note(tokenizer []string) {
	s := &e.spec
	note := func(format string, args ...any) { e.Notes = append(e.Notes, fmt.Sprintf(format, args...)) }
	if n := e.model.Spec.Context; s.Context < n {
		note("the file is for texts of up to %d tokens, the model is for %d", s.Context, n)
	}
	if s.Shared() {
		note("GGUF cannot share blocks: each of the %d blocks is written once for each of its steps, %d in all", s.Blocks, len(s.Schedule))
	}
	e.Notes = append(e.Notes, tokenizer...)
	var changes []string
	count := map[string]int{}
	for _, t := range e.Tensors {
		if change := fmt.Sprintf("%v is rounded again to %s", t.From, t.Type); t.Requantize {
			if count[change]++; count[change] == 1 {
				changes = append(changes, change)
			}
		}
	}
	for _, change := range changes {
		note("--requantize: %s in %d of the tensors", change, count[change])
	}
}

// layOut writes the front of the file into memory and finds its length.
func (e *Export) layOut(m *metadata) error {
	le := binary.LittleEndian
	keys, n := m.encode()
	b := le.AppendUint32([]byte(Magic), version)
	b = le.AppendUint64(b, uint64(len(e.Tensors)))
	b = append(le.AppendUint64(b, n), keys...)
	offset := int64(0)
	for _, t := range e.Tensors {
		if len(t.Name) > maxName || len(e.Tensors) > maxTensors {
			return defect.Unsupported(e.model.Path, "%d tensors, one called %s, in GGUF", len(e.Tensors), t.Name)
		}
		b = appendString(b, t.Name)
		if t.vector {
			b = le.AppendUint64(le.AppendUint32(b, 1), uint64(t.Cols))
		} else {
			b = le.AppendUint64(le.AppendUint64(le.AppendUint32(b, 2), uint64(t.Cols)), uint64(t.Rows))
		}
		b = le.AppendUint64(le.AppendUint32(b, t.ggml.id), uint64(offset))
		offset += padded(t.Bytes)
	}
	e.front = append(b, make([]byte, padded(int64(len(b)))-int64(len(b)))...)
	e.Bytes = int64(len(e.front)) + offset
	return nil
}

func padded(n int64) int64 { return (n + alignment - 1) &^ (alignment - 1) }

// Write writes the file at path, a row at a time; it appears when it is whole.
// The same model gives the same bytes.
func (e *Export) Write(ctx context.Context, path string) error {
	o := e.options
	f, err := atomicfile.Create(path, atomicfile.Options{Overwrite: o.Overwrite, Inputs: o.Inputs, Size: e.Bytes})
	if err != nil {
		return err
	}
	defer f.Abort()
	w := bufio.NewWriterSize(f, 1<<20)
	if _, err := w.Write(e.front); err != nil {
		return err
	}
	done := int64(len(e.front))
	for i := range e.Tensors {
		t := &e.Tensors[i]
		if err := e.writeTensor(ctx, w, t); err == parallel.ErrFault {
			return fmt.Errorf("%s: reading its source: %w", t.Source, err)
		} else if err != nil {
			return err
		}
		if done += t.Bytes; o.Progress != nil {
			o.Progress(done)
		}
	}
	if err := w.Flush(); err != nil {
		return err
	}
	return f.Commit()
}

// writeTensor writes t and the zeros after it.
func (e *Export) writeTensor(ctx context.Context, w *bufio.Writer, t *Tensor) error {
	m := t.matrix
	if t.Requantize {
		var err error
		if m, err = e.options.Requantize(ctx, t.Source, Nearest(t.From, t.Cols)); err != nil {
			return fmt.Errorf("%s: %w", t.Source, err)
		}
	}
	var p packer
	return parallel.Guard(func() error { // the planes may be mapped from a source
		for r := range t.Rows {
			if err := ctx.Err(); err != nil {
				return err
			}
			if _, err := w.Write(p.row(t, m, model.Halved(r, t.turn))); err != nil {
				return err
			}
		}
		_, err := w.Write(make([]byte, padded(t.Bytes)-t.Bytes))
		return err
	})
}

// A packer is the scratch memory of turning our rows into GGUF's.
type packer struct {
	reader qtensor.Reader
	values []float32
	out    []byte
}

// row returns row r of m, which is t's, as t.ggml stores it, valid until the
// next call.
func (p *packer) row(t *Tensor, m *qtensor.Matrix, r int) []byte {
	p.out = p.out[:0]
	if t.vector { // widened, and the bias of q and k turned as its rows are
		p.values = append(p.values[:0], make([]float32, m.Cols)...)
		p.reader.Row(p.values, m, 0)
		for i := range p.values {
			v := (p.values[model.Halved(i, t.turn)] + t.edit.add) * t.edit.times
			p.out = binary.LittleEndian.AppendUint32(p.out, math.Float32bits(v))
		}
		return p.out
	}
	if m.Scheme == t.ggml.scheme {
		return p.reader.Stored(m, r)
	}
	layout := t.ggml.scheme.Layout
	codes, scales, mins := p.reader.Codes(m, r)
	for g, d := range scales {
		p.out = layout.Append(p.out, codes[g*layout.Cols:], d, mins[g])
	}
	return p.out
}
