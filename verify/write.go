package verify

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"slices"

	"thimble/internal/atomicfile"
	"thimble/internal/parallel"
)

// WriteOptions says what WriteReference keeps.
type WriteOptions struct {
	// TopK, unless 0, writes the compact form: that many logits of each
	// position, and the logarithm of the sum of exp of all.
	TopK     int
	Metadata map[string]string // what made the logits; neither time, path nor host belongs here
	Output   atomicfile.Options
	Progress func(done, total int) // called with the positions written so far; may be nil
}

// WriteBase scores prompts as TextPrompts makes them and writes a base file, which
// llama-perplexity takes as --kl-divergence-base. It has no room for metadata.
// The file appears whole or not at all, and the same logits give the same bytes.
func WriteBase(ctx context.Context, path string, m Subject, prompts []Prompt, o WriteOptions) error {
	if err := checkPrompts(prompts, m.Vocab()); err != nil {
		return err
	}
	head, size, err := baseHead(prompts, m.Vocab())
	if err != nil {
		return err
	}
	return writeLogits(ctx, path, &referenceWriter{m: m, base: true, progress: o.Progress}, head, size, prompts, o.Output)
}

// WriteReference scores prompts with m and writes a reference file of its
// logits, float32 and every position. The file appears whole or not at all, and
// the same logits give the same bytes. Full logits stream to disk; of a compact
// file one prompt's part is held in memory.
func WriteReference(ctx context.Context, path string, m Subject, prompts [][]int, o WriteOptions) (err error) {
	v := m.Vocab()
	if o.TopK < 0 || o.TopK > v {
		return fmt.Errorf("top %d logits: want 1 to the vocabulary of %d, or 0 for all", o.TopK, v)
	}
	check := make([]Prompt, len(prompts))
	for i, ids := range prompts {
		check[i] = Prompt{ids, 0, len(ids)}
	}
	if err := checkPrompts(check, v); err != nil {
		return err
	}
	head, size, err := referenceHeader(prompts, v, o)
	if err != nil {
		return err
	}
	for _, ids := range prompts {
		for _, id := range ids {
			head = binary.LittleEndian.AppendUint64(head, uint64(id))
		}
		size -= 8 * int64(len(ids))
	}
	w := &referenceWriter{m: m, topK: o.TopK, lanes: make([]topLane, parallel.Workers()), progress: o.Progress}
	return writeLogits(ctx, path, w, head, size, check, o.Output)
}

// writeLogits writes head and after it the logits of prompts, which take size
// bytes.
func writeLogits(ctx context.Context, path string, w *referenceWriter, head []byte, size int64, prompts []Prompt, o atomicfile.Options) error {
	o.Size = int64(len(head)) + size
	f, err := atomicfile.Create(path, o)
	if err != nil {
		return err
	}
	defer f.Abort() // does nothing after Commit

	w.f = f
	w.write(head)
	for _, p := range prompts {
		w.total += p.To - p.From
	}
	for i := range prompts {
		if err := w.prompt(ctx, &prompts[i]); err != nil {
			return fmt.Errorf("prompt %d: %w", i, err)
		}
	}
	return f.Commit()
}

// referenceHeader returns the length, header and padding that start the file,
// and the bytes of the tensors after it. All ids come first, so that every
// tensor lies on a multiple of its type's size.
func referenceHeader(prompts [][]int, vocab int, o WriteOptions) (head []byte, size int64, err error) {
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
	add := func(n int, part, dtype string, width int64, shape ...int) {
		count := int64(1)
		for _, d := range shape {
			count *= int64(d)
		}
		head = fmt.Appendf(head, `,"prompt.%d.%s":{"dtype":"%s","shape":%s,"data_offsets":[%d,%d]}`,
			n, part, dtype, shapeText(shape, "0"), size, size+count*width)
		size += count * width
	}
	for n, ids := range prompts {
		add(n, partIDs, "I64", 8, len(ids))
	}
	for n, ids := range prompts {
		if o.TopK == 0 {
			add(n, partLogits, "F32", 4, len(ids), vocab)
			continue
		}
		add(n, partTopIDs, "I32", 4, len(ids), o.TopK)
		add(n, partTopLogits, "F32", 4, len(ids), o.TopK)
		add(n, partLogSumExp, "F32", 4, len(ids))
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

// A referenceWriter writes the logits of one prompt after the other.
type referenceWriter struct {
	f           *atomicfile.File
	err         error // of f
	m           Subject
	topK        int
	base        bool
	rows        []float32 // (blockRows, Vocab)
	out         []byte
	lanes       []topLane
	progress    func(done, total int)
	done, total int
}

func (w *referenceWriter) write(b []byte) {
	if w.err == nil {
		_, w.err = w.f.Write(b)
	}
}

// prompt writes the logits of the positions of p.
func (w *referenceWriter) prompt(ctx context.Context, p *Prompt) error {
	logits, err := w.m.Score(ctx, p.IDs)
	if err != nil {
		return err
	}
	var top topBuffers
	if w.topK > 0 {
		top = newTopBuffers(p.To-p.From, w.topK)
	}
	v := w.m.Vocab()
	w.rows = grow(w.rows, min(blockRows, p.To-p.From)*v)
	for from := p.From; from < p.To && w.err == nil; from += blockRows {
		n := min(blockRows, p.To-from)
		rows := w.rows[:n*v]
		if err := logits.Rows(ctx, rows, from, n); err != nil {
			return err
		}
		for t := range n {
			if err := finite("model", rows[t*v:][:v]); err != nil {
				return fmt.Errorf("position %d: %w", from+t, err)
			}
		}
		if w.base {
			if err := w.baseRows(ctx, rows, n); err != nil {
				return err
			}
		} else if w.topK == 0 {
			w.out = appendFloats(w.out[:0], rows)
			w.write(w.out)
		} else if err := parallel.Do(ctx, n, func(worker, t int) error {
			w.lanes[worker].keep(&top, from-p.From+t, rows[t*v:][:v])
			return nil
		}); err != nil {
			return err
		}
		w.done += n
		if w.progress != nil {
			w.progress(w.done, w.total)
		}
	}
	w.write(top.ids)
	w.write(top.logits)
	w.write(top.total)
	return w.err
}

// baseRows writes n rows of a base file.
func (w *referenceWriter) baseRows(ctx context.Context, rows []float32, n int) error {
	v, width := len(rows)/n, baseWidth(len(rows)/n)
	w.out = grow(w.out, n*width)
	err := parallel.Do(ctx, n, func(_, t int) error {
		appendBaseRow(w.out[t*width:t*width:(t+1)*width], rows[t*v:][:v])
		return nil
	})
	w.write(w.out)
	return err
}

func appendFloats(b []byte, x []float32) []byte {
	for _, v := range x {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(v))
	}
	return b
}

// topBuffers is the compact form of one prompt, as in the file.
type topBuffers struct {
	k                  int
	ids, logits, total []byte
}

func newTopBuffers(n, k int) topBuffers {
	return topBuffers{k, make([]byte, 4*n*k), make([]byte, 4*n*k), make([]byte, 4*n)}
}

// A topLane is one worker's scratch.
type topLane struct {
	best []topLogit
}

type topLogit struct {
	logit float32
	id    int32
}

// keep stores the k largest logits of position t, the largest first and of
// equals the lowest id first.
func (l *topLane) keep(b *topBuffers, t int, logits []float32) {
	l.best = l.best[:0]
	for id, v := range logits {
		if len(l.best) == b.k {
			if v <= l.best[b.k-1].logit {
				continue
			}
			l.best = l.best[:b.k-1]
		}
		at, _ := slices.BinarySearchFunc(l.best, v, func(e topLogit, v float32) int {
			if e.logit >= v {
				return -1
			}
			return 1
		})
		l.best = slices.Insert(l.best, at, topLogit{v, int32(id)})
	}
	for i, e := range l.best {
		binary.LittleEndian.PutUint32(b.ids[4*(t*b.k+i):], uint32(e.id))
		binary.LittleEndian.PutUint32(b.logits[4*(t*b.k+i):], math.Float32bits(e.logit))
	}
	binary.LittleEndian.PutUint32(b.total[4*t:], math.Float32bits(float32(logSumExp(logits, nil))))
}
