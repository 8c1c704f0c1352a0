package reference

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"thimble/internal/checkpoint"
	"thimble/internal/defect"
	"thimble/internal/kernel"
	"thimble/internal/mmap"
	"thimble/internal/model"
	"thimble/internal/parallel"
	"thimble/verify/metric"
)

// The tensors of prompt N in a reference file are named prompt.N.KIND. Each prompt
// has input_ids and, unless all T positions are scored, scored. Row r of the other
// tensors belongs to the r-th of the R scored positions. A full file has logits. A
// compact file has topk_ids, topk_logits and logsumexp, and may also have next_logits,
// the logits of the next tokens, and the tokens of a tail (see type tail).
const (
	tensorIDs        = "input_ids"   // I64 [T]
	tensorScored     = "scored"      // I64 [2], the first scored position and the one after the last
	tensorLogits     = "logits"      // F32, F16 or BF16 [R, V]
	tensorTopIDs     = "topk_ids"    // I32 [R, K]
	tensorTopLogits  = "topk_logits" // F32 [R, K]
	tensorLogSumExp  = "logsumexp"   // F32 [R], over all V logits
	tensorNextLogits = "next_logits" // F32 [R], any number where no token follows
	tensorTailCounts = "tail_counts" // I32 [R], tokens in each row of the next two, which have N in all
	tensorTailIDs    = "tail_ids"    // I32 [N]
	tensorTailLogits = "tail_logits" // F32 [N]
	tensorTailStep   = "tail_step"   // F32 [1]
)

// tensorKinds lists all kinds.
var tensorKinds = []string{
	tensorIDs, tensorScored, tensorLogits, tensorTopIDs, tensorTopLogits, tensorLogSumExp, tensorNextLogits,
	tensorTailCounts, tensorTailIDs, tensorTailLogits, tensorTailStep,
}

// A File is an open reference file. It is the Reference of its own prompts, and
// serves one goroutine.
type File struct {
	path       string
	form       Form
	prompts    []filePrompt
	startsText bool      // prompts begin with the text itself; see StartWith
	next       int       // the prompt at which find starts to search
	rows       []float32 // see full
	close      func() error

	metadata map[string]string
}

// Metadata returns the file's record of how it was made, or nil if its format has none.
func (f *File) Metadata() map[string]string { return f.metadata }

// A filePrompt is a prompt of a file with its stored distributions.
type filePrompt struct {
	Prompt
	Distribution
	logits *storedLogits // nil if the file does not keep them all
}

// Open opens a reference file and checks its structure: the names, types and shapes of
// its tensors, that prompts are numbered from 0 without a gap, and that token ids are in
// the vocabulary. It recognizes a llama.cpp base file by its first bytes. Logits are
// read, and checked to be finite, only when they are compared. The caller must close the
// File.
func Open(path string) (*File, error) {
	f := &File{path: path}
	read, err := f.openKLDBase()
	if err == nil && read == nil {
		var file *checkpoint.Checkpoint
		if file, err = checkpoint.Open(path); err == nil {
			f.close, f.metadata, read = file.Close, file.Metadata, func() error { return f.read(file) }
		}
	}
	if err != nil {
		return nil, err
	}
	if err := parallel.Guard(read); err != nil {
		if errors.Is(err, parallel.ErrFault) {
			err = fmt.Errorf("%s: %w", defect.Printable(path), err)
		}
		return nil, errors.Join(err, f.close())
	}
	return f, nil
}

// openKLDBase returns a function that reads a llama.cpp base file, or nil if f is not
// one.
func (f *File) openKLDBase() (read func() error, err error) {
	if info, err := os.Stat(f.path); err != nil || !info.Mode().IsRegular() {
		return nil, err
	}
	file, err := mmap.Open(f.path)
	if err != nil {
		return nil, err
	}
	found := false
	err = parallel.Guard(func() error {
		found = bytes.HasPrefix(file.Data, []byte(kldBaseMagic))
		return nil
	})
	if err != nil || !found {
		return nil, errors.Join(err, file.Close())
	}
	f.close = file.Close
	return func() error { return f.readKLDBase(file.Data) }, nil
}

// Close releases the file. After it, nothing that f returned may be used.
func (f *File) Close() error { return f.close() }

// Prompts returns the prompts of the file, with the scored positions that it records.
// The caller must not write to their IDs.
func (f *File) Prompts() []Prompt {
	all := make([]Prompt, len(f.prompts))
	for i := range f.prompts {
		all[i] = f.prompts[i].Prompt
	}
	return all
}

// Form describes what the file keeps of a position.
func (f *File) Form() Form { return f.form }

// Distribution returns the stored Distribution of the prompt with these ids. If several
// prompts have the same ids, successive calls return one after the other.
func (f *File) Distribution(_ context.Context, ids []int) (Distribution, error) {
	p, err := f.find(ids)
	if err != nil {
		return nil, err
	}
	return p.Distribution, nil
}

// find returns the prompt with these ids: the next one after the last it found.
func (f *File) find(ids []int) (*filePrompt, error) {
	for i := range f.prompts {
		at := (f.next + i) % len(f.prompts)
		if p := &f.prompts[at]; slices.Equal(p.IDs, ids) {
			f.next = at + 1
			return p, nil
		}
	}
	return nil, fmt.Errorf("%s: holds no prompt with these %d token ids", defect.Printable(f.path), len(ids))
}

// Scorer returns a Scorer that reads the logits of a full file. It fails for a file that
// keeps less.
func (f *File) Scorer() (Scorer, error) {
	switch {
	case f.form.TopK > 0:
		return nil, fmt.Errorf("%s: a compact reference keeps no more than the top %d logits", defect.Printable(f.path), f.form.TopK)
	case f.prompts[0].logits == nil:
		return nil, fmt.Errorf("%s: a base file of llama.cpp keeps no logits", defect.Printable(f.path))
	}
	return fileScorer{f}, nil
}

type fileScorer struct{ *File }

func (s fileScorer) Vocab() int { return s.form.Vocab }

func (s fileScorer) Score(_ context.Context, ids []int) (Prediction, error) {
	p, err := s.find(ids)
	if err != nil {
		return nil, err
	}
	return p.logits, nil
}

// storages lists the types of logits that round them.
var storages = map[checkpoint.DType]metric.Storage{
	checkpoint.F16:  {Name: "f16", Bits: 11, Least: 0x1p-24},
	checkpoint.BF16: {Name: "bf16", Bits: 8, Least: 0x1p-133},
}

// coarser returns the storage of fewer bits.
func coarser(a, b metric.Storage) metric.Storage {
	if a.Bits == 0 || b.Bits != 0 && b.Bits < a.Bits {
		return b
	}
	return a
}

// storedLogits is the Prediction of a tensor, (positions, Vocab).
type storedLogits struct {
	*checkpoint.Tensor
	first int // the position of row 0
}

func (l *storedLogits) Logits(_ context.Context, dst []float32, from, n int) error {
	if from < l.first || n < 0 || from+n > l.first+l.Shape[0] {
		return fmt.Errorf("positions [%d, %d) are not among the stored ones, [%d, %d)", from, from+n, l.first, l.first+l.Shape[0])
	}
	from -= l.first
	width := len(l.Data) / l.Shape[0] // bytes of a row
	src := l.Data[from*width : (from+n)*width]
	dst = dst[:n*l.Shape[1]]
	return parallel.Guard(func() error {
		switch l.DType {
		case checkpoint.F32:
			kernel.FromF32(dst, src)
		case checkpoint.F16:
			kernel.FromF16(dst, src)
		case checkpoint.BF16:
			kernel.FromBF16(dst, src)
		}
		return nil
	})
}

// read sorts the tensors of a file by prompt and checks them.
func (f *File) read(file *checkpoint.Checkpoint) error {
	tensors := make(map[int]map[string]*checkpoint.Tensor)
	for _, name := range file.Names() {
		n, kind, ok := splitName(name)
		if !ok {
			return defect.Corrupt(f.path, name, "is not a tensor of a reference file, such as prompt.N.%s and prompt.N.%s; compare with a model by --against", tensorIDs, tensorLogits)
		}
		if tensors[n] == nil {
			tensors[n] = make(map[string]*checkpoint.Tensor)
		}
		tensors[n][kind] = file.Tensors[name]
	}
	if len(tensors) == 0 {
		return defect.Corrupt(f.path, "", "holds no prompts, want prompt.0.%s and prompt.0.%s", tensorIDs, tensorLogits)
	}
	f.prompts = make([]filePrompt, len(tensors))
	compact := tensors[0][tensorLogits] == nil && tensors[0][tensorTopIDs] != nil
	for n := range f.prompts {
		if tensors[n] == nil {
			return defect.Corrupt(f.path, "", "holds %d prompts but no prompt.%d: they are numbered from 0 without a gap", len(tensors), n)
		}
		if err := f.readPrompt(n, tensors[n], compact); err != nil {
			return err
		}
	}
	return nil
}

// splitName splits "prompt.N.KIND". N has no leading zeros.
func splitName(name string) (n int, kind string, ok bool) {
	f := strings.Split(name, ".")
	if len(f) != 3 || f[0] != "prompt" {
		return 0, "", false
	}
	n, err := strconv.Atoi(f[1])
	if err != nil || n < 0 || strconv.Itoa(n) != f[1] {
		return 0, "", false
	}
	return n, f[2], slices.Contains(tensorKinds, f[2])
}

// readPrompt checks the tensors of prompt n and records them. All prompts must have the
// width of the first.
func (f *File) readPrompt(n int, tensors map[string]*checkpoint.Tensor, compact bool) error {
	s := &promptTensors{path: f.path, n: n, tensors: tensors}
	ids := s.take(tensorIDs, i64, 0)
	if s.err != nil {
		return s.err
	}
	length := ids.Shape[0]
	p := filePrompt{Prompt: Prompt{IDs: make([]int, length), To: length}}
	s.scored(&p.Prompt)
	rows := p.To - p.From
	if compact {
		top := s.top(&p.Prompt, f.form.TopK)
		if s.err == nil {
			f.form.TopK, f.form.Sampled = top.ids.Shape[1], f.form.Sampled || top.tail != nil
		}
		p.Distribution = top
	} else {
		p.logits = &storedLogits{s.take(tensorLogits, floats, rows, f.form.Vocab), p.From}
		if s.err == nil {
			f.form.Vocab = p.logits.Shape[1]
		}
		var stored metric.Storage
		if s.err == nil {
			stored = storages[p.logits.DType]
			f.form.Stored = coarser(f.form.Stored, stored)
		}
		p.Distribution = &full{Prediction: p.logits, vocab: f.form.Vocab, stored: stored, rows: &f.rows}
	}
	if s.err == nil && s.taken != len(tensors) {
		s.fail(tensorLogits, "full and compact logits in one file, want one form for all prompts")
	}
	if s.err != nil {
		return s.err
	}
	for t := range p.IDs {
		id := int64(binary.LittleEndian.Uint64(ids.Data[8*t:]))
		if id < 0 || id >= model.MaxVocab || f.form.Vocab > 0 && id >= int64(f.form.Vocab) {
			s.fail(tensorIDs, "token id %d at position %d is outside the vocabulary of %d", id, t, cmp.Or(f.form.Vocab, model.MaxVocab))
			return s.err
		}
		p.IDs[t] = int(id)
	}
	f.prompts[n] = p
	return nil
}
