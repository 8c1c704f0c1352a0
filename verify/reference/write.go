package reference

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"

	"thimble/internal/atomicfile"
	"thimble/internal/logits"
	"thimble/internal/safetensors"
)

// OutputOptions controls how a file is created and what it may replace.
type OutputOptions = atomicfile.Options

// WriteOptions controls what Write keeps.
type WriteOptions struct {
	// TopK, unless 0, selects the compact form: the TopK largest logits of each
	// position, a sample of the others, and the LogSumExp of all.
	TopK     int
	Metadata map[string]string // the origin of the logits; must not contain a time, a path or a host
	Output   OutputOptions
	Progress func(done, total int) // called with the positions written so far; may be nil
}

// WriteKLDBase scores prompts, which must be as TextPrompts makes them, and writes the
// file that llama-perplexity reads with --kl-divergence-base. The format has no room for
// metadata. The file appears whole or not at all, and the same logits give the same
// bytes.
func WriteKLDBase(ctx context.Context, path string, s Scorer, prompts []Prompt, o WriteOptions) error {
	if err := CheckPrompts(prompts, s.Vocab()); err != nil {
		return err
	}
	head, size, err := kldBaseHead(prompts, s.Vocab())
	if err != nil {
		return err
	}
	w := &writer{scorer: s, encoding: &kldBaseEncoding{}, progress: o.Progress}
	return w.file(ctx, path, o.Output, prompts, head, size)
}

// Write scores prompts with s and writes a reference file with the float32 logits of
// their scored positions. The file appears whole or not at all, and the same logits give
// the same bytes. Full logits are streamed to disk; a compact file is held in memory
// until it is complete.
func Write(ctx context.Context, path string, s Scorer, prompts []Prompt, o WriteOptions) error {
	v := s.Vocab()
	if o.TopK < 0 || o.TopK > v {
		return fmt.Errorf("top %d logits: want 1 to the vocabulary of %d, or 0 for all", o.TopK, v)
	}
	if err := CheckPrompts(prompts, v); err != nil {
		return err
	}
	tensors := promptTensorsOf(prompts)
	if o.TopK > 0 {
		return writeCompact(ctx, path, s, prompts, tensors, o)
	}
	for n, p := range prompts {
		tensors = append(tensors, storedTensor{n, tensorLogits, "F32", []int{p.To - p.From, v}, nil})
	}
	head, size, err := header(tensors, o.Metadata)
	if err != nil {
		return err
	}
	w := &writer{scorer: s, encoding: &fullEncoding{}, progress: o.Progress}
	return w.file(ctx, path, o.Output, prompts, head, size)
}

// writeCompact writes a file of tensors and the top logits of prompts.
func writeCompact(ctx context.Context, path string, s Scorer, prompts []Prompt, tensors []storedTensor, o WriteOptions) error {
	if err := atomicfile.Check(path, o.Output); err != nil {
		return err
	}
	encoding := newTopEncoding(o.TopK)
	w := &writer{scorer: s, encoding: encoding, progress: o.Progress}
	if err := w.all(ctx, prompts); err != nil {
		return err
	}
	head, size, err := header(append(tensors, encoding.tensors()...), o.Metadata)
	if err != nil {
		return err
	}
	w = &writer{encoding: encoding}
	return w.file(ctx, path, o.Output, nil, head, size)
}

// A storedTensor is a tensor of prompt n. Its data is nil if it follows later.
type storedTensor struct {
	n           int
	kind, dtype string
	shape       []int
	data        []byte
}

// promptTensorsOf returns the ids and scored positions of prompts.
func promptTensorsOf(prompts []Prompt) (all []storedTensor) {
	words := func(v ...int) (data []byte) {
		for _, x := range v {
			data = binary.LittleEndian.AppendUint64(data, uint64(x))
		}
		return data
	}
	for n, p := range prompts {
		all = append(all, storedTensor{n, tensorIDs, "I64", []int{len(p.IDs)}, words(p.IDs...)})
		if p.From != 0 || p.To != len(p.IDs) {
			all = append(all, storedTensor{n, tensorScored, "I64", []int{2}, words(p.From, p.To)})
		}
	}
	return all
}

// header returns the start of a safetensors file and the data that is already known, and the
// size in bytes of the data that follows. Tensors of eight-byte numbers come first, so that every
// tensor is aligned to its type.
func header(tensors []storedTensor, meta map[string]string) (head []byte, size int64, err error) {
	all := make([]safetensors.Tensor, len(tensors))
	for i, x := range tensors {
		bytes := int64(4)
		if x.dtype == "I64" {
			bytes = 8
		}
		for _, d := range x.shape {
			bytes *= int64(d)
		}
		all[i] = safetensors.Tensor{Name: fmt.Sprintf("prompt.%d.%s", x.n, x.kind), DType: x.dtype, Shape: x.shape, Bytes: bytes}
		size += bytes - int64(len(x.data))
	}
	if head, err = safetensors.Header(meta, all); err != nil {
		return nil, 0, fmt.Errorf("%d prompts need %w: write fewer prompts to a file", tensors[len(tensors)-1].n+1, err)
	}
	for _, x := range tensors {
		head = append(head, x.data...)
	}
	return head, size, nil
}

// An encoding is a way to store logits in a file.
type encoding interface {
	// begin begins a prompt.
	begin(p *Prompt)

	// rows encodes the logits of the next n positions of the prompt, (n, Vocab). It
	// returns the bytes to write next, which are valid until the next call.
	rows(ctx context.Context, rows []float32, n int) ([]byte, error)
}

// fullEncoding writes all logits as float32.
type fullEncoding struct{ out []byte }

func (e *fullEncoding) rows(_ context.Context, rows []float32, _ int) ([]byte, error) {
	e.out = e.out[:0]
	for _, v := range rows {
		e.out = binary.LittleEndian.AppendUint32(e.out, math.Float32bits(v))
	}
	return e.out, nil
}

func (e *fullEncoding) begin(*Prompt) {}

// writtenRows is the number of positions to encode at a time.
const writtenRows = 64

// A writer writes the logits of one prompt after the other.
type writer struct {
	scorer      Scorer
	encoding    encoding
	f           *atomicfile.File // nil if the encoding keeps the data until the end
	buffer      []float32        // (writtenRows, Vocab)
	progress    func(done, total int)
	done, total int
}

// file writes head, followed by the logits of prompts, which take size bytes.
func (w *writer) file(ctx context.Context, path string, o OutputOptions, prompts []Prompt, head []byte, size int64) error {
	o.Size = int64(len(head)) + size
	var err error
	if w.f, err = atomicfile.Create(path, o); err != nil {
		return err
	}
	defer w.f.Abort() // does nothing after Commit
	if _, err := w.f.Write(head); err != nil {
		return err
	}
	if err := w.all(ctx, prompts); err != nil {
		return err
	}
	return w.f.Commit()
}

// all encodes the logits of prompts.
func (w *writer) all(ctx context.Context, prompts []Prompt) error {
	for _, p := range prompts {
		w.total += p.To - p.From
	}
	for i := range prompts {
		if err := w.prompt(ctx, &prompts[i]); err != nil {
			return fmt.Errorf("prompt %d: %w", i, err)
		}
	}
	return nil
}

// prompt writes the logits of the positions of p.
func (w *writer) prompt(ctx context.Context, p *Prompt) error {
	prediction, err := w.scorer.Score(ctx, p.IDs)
	if err != nil {
		return err
	}
	w.encoding.begin(p)
	v := w.scorer.Vocab()
	w.buffer = grow(w.buffer, min(writtenRows, p.To-p.From)*v)
	for from := p.From; from < p.To; from += writtenRows {
		n := min(writtenRows, p.To-from)
		rows := w.buffer[:n*v]
		if err := prediction.Logits(ctx, rows, from, n); err != nil {
			return err
		}
		for t := range n {
			if err := logits.Finite("model", rows[t*v:][:v]); err != nil {
				return fmt.Errorf("position %d: %w", from+t, err)
			}
		}
		encoded, err := w.encoding.rows(ctx, rows, n)
		if err != nil {
			return err
		}
		if len(encoded) > 0 {
			if _, err := w.f.Write(encoded); err != nil {
				return err
			}
		}
		w.done += n
		if w.progress != nil {
			w.progress(w.done, w.total)
		}
	}
	return nil
}
