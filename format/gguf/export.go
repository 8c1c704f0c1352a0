package gguf

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"strings"

	"thimble/internal/atomicfile"
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

	model *model.Model
	front []byte // everything before the tensor data
}

// A Tensor is one tensor of the file.
type Tensor struct {
	Name       string // in the file
	Source     string // canonical name in the model; empty for the rotary factors
	Type       string // ggml's name
	Rows, Cols int
	Bytes      int64 // without padding

	ggml   ggmlType
	matrix *qtensor.Matrix
	turn   int // width of the heads whose rows change places, or 0
}

// Options say how the file is written.
type Options struct {
	Overwrite bool             // replace an existing file
	Inputs    []string         // paths being read, such as Model.Files: never replaced
	Progress  func(done int64) // told the bytes written so far; may be nil
}

// NewExport decides how m is written, or returns the first reason why GGUF
// cannot hold it: an error that wraps model.ErrUnsupported. Integer schemes are
// never changed; vectors become F32. m must stay open until Write.
func NewExport(m *model.Model) (*Export, error) {
	if err := m.Check(); err != nil {
		return nil, err
	}
	if err := checkSpec(m.Path, &m.Spec); err != nil {
		return nil, err
	}
	e := &Export{model: m}
	if err := e.place(); err != nil {
		return nil, err
	}
	keys := describe(m)
	weights := make(map[string]int64)
	for _, t := range e.Tensors {
		if t.Rows > 1 {
			weights[t.Type] += int64(t.Rows) * int64(t.Cols)
		}
	}
	keys.fileType = fileType(weights)
	var d *tokenizer.Data
	if m.Tokenizer != nil {
		var err error
		if d, err = m.Tokenizer(); err != nil {
			return nil, err
		}
	}
	if err := keys.putTokenizer(m.Path, d, &m.Spec); err != nil {
		return nil, err
	}
	if err := keys.checkStrings(m.Path); err != nil {
		return nil, err
	}
	e.note(d)
	return e, e.layOut(keys)
}

// place lists the tensors, once for each step that uses them.
func (e *Export) place() error {
	s := &e.model.Spec
	var inside []string // of block 0; its names serve for every block
	for _, slot := range s.Slots() {
		if strings.HasPrefix(slot.Name, "blocks.0.") {
			inside = append(inside, slot.Name)
		}
	}
	if err := e.add(model.Embed, model.Embed); err != nil {
		return err
	}
	if s.Rope.Scaling == model.RopeLlama3 {
		e.addRopeFactors()
	}
	for step, block := range s.Schedule {
		for _, name := range inside {
			if err := e.add(inBlock(name, step), inBlock(name, block)); err != nil {
				return err
			}
		}
	}
	if err := e.add(model.Norm, model.Norm); err != nil {
		return err
	}
	if !s.Tied {
		return e.add(model.Head, model.Head)
	}
	return nil
}

// add appends the model's tensor source under the GGUF name for name.
func (e *Export) add(name, source string) error {
	m, path := e.model.Tensors[source], e.model.Path
	written, ok := foreign(name)
	if !ok {
		return model.Unsupported(path, "tensor %s in GGUF's architecture llama", source)
	}
	scheme := m.Scheme
	vector := m.Rows == 1 && scheme.Kind != qtensor.Int && isVector(source)
	if vector {
		scheme = qtensor.Scheme{Kind: qtensor.F32}
	}
	t, ok := typeOf(scheme)
	if !ok {
		return fmt.Errorf("%w; quantize it as int4/g32, int5/g32 (or /asym) or int8/g32, or store f32, f16 or bf16",
			model.Unsupported(path, "%s: scheme %v in GGUF", source, m.Scheme))
	}
	row, whole := t.rowBytes(m.Cols)
	if !whole {
		return fmt.Errorf("%w, its blocks have %d columns; store it as f32, f16 or bf16",
			model.Unsupported(path, "%s: scheme %v of %d columns in GGUF", source, m.Scheme, m.Cols), blockCols)
	}
	e.Tensors = append(e.Tensors, Tensor{
		Name: written, Source: source, Type: t.name, Rows: m.Rows, Cols: m.Cols, Bytes: row * int64(m.Rows),
		ggml: t, matrix: m, turn: turned(source, &e.model.Spec),
	})
	return nil
}

// isVector reports whether a tensor is a norm gain or a bias.
func isVector(name string) bool {
	return strings.HasSuffix(name, model.Norm) || strings.HasSuffix(name, model.BiasSuffix)
}

func (e *Export) addRopeFactors() {
	factors := ropeFactors(&e.model.Spec)
	m := &qtensor.Matrix{Rows: 1, Cols: len(factors)} // f32
	for _, f := range factors {
		m.Codes = binary.LittleEndian.AppendUint32(m.Codes, math.Float32bits(f))
	}
	e.Tensors = append(e.Tensors, Tensor{
		Name: ropeFreqs, Type: types[0].name, Rows: 1, Cols: m.Cols, Bytes: int64(len(m.Codes)), ggml: types[0], matrix: m,
	})
}

// note says what the file holds otherwise than the model.
func (e *Export) note(d *tokenizer.Data) {
	s := &e.model.Spec
	if s.Shared() {
		e.Notes = append(e.Notes, fmt.Sprintf("GGUF cannot share blocks: each of the %d blocks is written once for each of its steps, %d in all", s.Blocks, len(s.Schedule)))
	}
	if d == nil {
		e.Notes = append(e.Notes, "there is no tokenizer: llama.cpp can run this file on token ids alone")
	} else if n := s.Vocab - len(d.Tokens); n > 0 {
		e.Notes = append(e.Notes, fmt.Sprintf("the embedding has %d rows more than the tokenizer has tokens: they are written as unused tokens", n))
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
			return model.Unsupported(e.model.Path, "%d tensors, one called %s, in GGUF", len(e.Tensors), t.Name)
		}
		b = appendString(b, t.Name)
		if isVector(t.Source) || t.Source == "" {
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
func (e *Export) Write(ctx context.Context, path string, o Options) error {
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
	var p packer
	for _, t := range e.Tensors {
		err := parallel.Guard(func() error { // the planes may be mapped from a source
			for r := range t.Rows {
				if err := ctx.Err(); err != nil {
					return err
				}
				if _, err := w.Write(p.row(&t, ours(r, t.turn))); err != nil {
					return err
				}
			}
			_, err := w.Write(make([]byte, padded(t.Bytes)-t.Bytes))
			return err
		})
		if err == parallel.ErrFault {
			err = fmt.Errorf("%s: reading its source: %w", t.Source, err)
		}
		if err != nil {
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

// A packer is the scratch memory of turning our rows into GGUF's.
type packer struct {
	reader qtensor.Reader
	values []float32
	out    []byte
}

// row returns row r of t's matrix as t.ggml stores it, valid until the next call.
func (p *packer) row(t *Tensor, r int) []byte {
	m := t.matrix
	p.out = p.out[:0]
	if t.ggml.float() {
		if m.Scheme == t.ggml.scheme && !(isVector(t.Source) && t.turn > 0) {
			return p.reader.Stored(m, r)
		}
		// A vector: widened, and the bias of q and k turned as its rows are.
		p.values = append(p.values[:0], make([]float32, m.Cols)...)
		p.reader.Row(p.values, m, 0)
		for i := range p.values {
			p.out = binary.LittleEndian.AppendUint32(p.out, math.Float32bits(p.values[ours(i, t.turn)]))
		}
		return p.out
	}
	codes := p.reader.Codes(m, r)
	groups := m.Cols / blockCols
	for g := range groups {
		at := 2 * (r*groups + g)
		d, least := binary.LittleEndian.Uint16(m.Scales[at:]), uint16(0)
		if t.ggml.scheme.Asym {
			least = binary.LittleEndian.Uint16(m.Mins[at:])
		}
		p.out = t.ggml.appendBlock(p.out, codes[g*blockCols:], d, least)
	}
	return p.out
}
