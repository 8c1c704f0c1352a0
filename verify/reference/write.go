package reference

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"

	"thimble/internal/atomicfile"
	"thimble/internal/logits"
)

// OutputOptions says how a file is created and what it may replace.
type OutputOptions = atomicfile.Options

// WriteOptions says what Write keeps.
type WriteOptions struct {
	// TopK, unless 0, asks for the compact form: that many logits of each
	// position, and the log of the sum of exp of all.
	TopK     int
	Metadata map[string]string // what made the logits; neither time, path nor host belongs here
	Output   OutputOptions
	Progress func(done, total int) // called with the positions written so far; may be nil
}

// WriteKLDBase scores prompts as TextPrompts makes them and writes the file that
// llama-perplexity takes as --kl-divergence-base. It has no room for metadata.
// The file appears whole or not at all, and the same logits give the same bytes.
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

// Write scores prompts with s and writes a reference file of its logits, float32
// and at every position. The file appears whole or not at all, and the same logits
// give the same bytes. Full logits stream to disk; of a compact file, Write holds
// one prompt in memory.
func Write(ctx context.Context, path string, s Scorer, prompts [][]int, o WriteOptions) error {
	v := s.Vocab()
	if o.TopK < 0 || o.TopK > v {
		return fmt.Errorf("top %d logits: want 1 to the vocabulary of %d, or 0 for all", o.TopK, v)
	}
	all := make([]Prompt, len(prompts))
	for i, ids := range prompts {
		all[i] = Prompt{ids, 0, len(ids)}
	}
	if err := CheckPrompts(all, v); err != nil {
		return err
	}
	head, size, err := header(prompts, v, o)
	if err != nil {
		return err
	}
	for _, ids := range prompts {
		for _, id := range ids {
			head = binary.LittleEndian.AppendUint64(head, uint64(id))
		}
		size -= 8 * int64(len(ids))
	}
	w := &writer{scorer: s, encoding: &fullEncoding{}, progress: o.Progress}
	if o.TopK > 0 {
		w.encoding = newTopEncoding(o.TopK)
	}
	return w.file(ctx, path, o.Output, all, head, size)
}

// header returns the length, header and padding that start a safetensors file,
// and the bytes of the tensors after it. All ids come first, so that every tensor
// lies on a multiple of its type's size.
func header(prompts [][]int, vocab int, o WriteOptions) (head []byte, size int64, err error) {
	meta := o.Metadata
	if meta == nil {
		meta = map[string]string{}
	}
	text, err := json.Marshal(meta) // sorts keys
	if err != nil {
		return nil, 0, err
	}
	head = append(make([]byte, 8), `{"__metadata__":`...)
	head = append(head, text...)
	add := func(n int, kind, dtype string, width int64, shape ...int) {
		count := int64(1)
		for _, d := range shape {
			count *= int64(d)
		}
		head = fmt.Appendf(head, `,"prompt.%d.%s":{"dtype":"%s","shape":%s,"data_offsets":[%d,%d]}`,
			n, kind, dtype, shapeText(shape, "0"), size, size+count*width)
		size += count * width
	}
	for n, ids := range prompts {
		add(n, tensorIDs, "I64", 8, len(ids))
	}
	for n, ids := range prompts {
		if o.TopK == 0 {
			add(n, tensorLogits, "F32", 4, len(ids), vocab)
			continue
		}
		add(n, tensorTopIDs, "I32", 4, len(ids), o.TopK)
		add(n, tensorTopLogits, "F32", 4, len(ids), o.TopK)
		add(n, tensorLogSumExp, "F32", 4, len(ids))
	}
	head = append(head, '}')
	for len(head)%8 != 0 {
		head = append(head, ' ')
	}
	const most = 100_000_000 // the limit of safetensors' own reader
	if len(head)-8 > most {
		return nil, 0, fmt.Errorf("%d prompts need a header of %d bytes, safetensors allows %d: write fewer prompts to a file", len(prompts), len(head)-8, most)
	}
	binary.LittleEndian.PutUint64(head, uint64(len(head)-8))
	return head, size, nil
}

// An encoding is how a file keeps logits. Both methods return what is to be
// written next, valid until the next call.
type encoding interface {
	// rows encodes the logits of the next n positions of a prompt, (n, Vocab).
	rows(ctx context.Context, rows []float32, n int) ([]byte, error)

	// end ends a prompt.
	end() []byte
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

func (e *fullEncoding) end() []byte { return nil }

// writtenRows is how many positions are encoded at a time.
const writtenRows = 64

// A writer writes the logits of one prompt after the other.
type writer struct {
	scorer      Scorer
	encoding    encoding
	f           *atomicfile.File
	buffer      []float32 // (writtenRows, Vocab)
	progress    func(done, total int)
	done, total int
}

// file writes head and then the logits of prompts, which take size bytes.
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
	for _, p := range prompts {
		w.total += p.To - p.From
	}
	for i := range prompts {
		if err := w.prompt(ctx, &prompts[i]); err != nil {
			return fmt.Errorf("prompt %d: %w", i, err)
		}
	}
	return w.f.Commit()
}

// prompt writes the logits of the positions of p.
func (w *writer) prompt(ctx context.Context, p *Prompt) error {
	prediction, err := w.scorer.Score(ctx, p.IDs)
	if err != nil {
		return err
	}
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
		if _, err := w.f.Write(encoded); err != nil {
			return err
		}
		w.done += n
		if w.progress != nil {
			w.progress(w.done, w.total)
		}
	}
	_, err = w.f.Write(w.encoding.end())
	return err
}
