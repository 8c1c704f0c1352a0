package verify

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
	"thimble/internal/mmap"
	"thimble/internal/model"
	"thimble/internal/parallel"
)

// The tensors of prompt N in a reference file are named prompt.N.PART. A full
// file has input_ids and logits for each prompt, a compact one input_ids and the
// last three parts.
const (
	partIDs       = "input_ids"   // I64 [T]
	partLogits    = "logits"      // F32, F16 or BF16 [T, V]
	partTopIDs    = "topk_ids"    // I32 [T, K]
	partTopLogits = "topk_logits" // F32 [T, K]
	partLogSumExp = "logsumexp"   // F32 [T], over all V logits
)

// A Reference is an open reference file: prompts and the logits to be matched.
// It is a Subject for its own prompts. It serves one goroutine.
type Reference struct {
	path    string
	prompts []recorded
	compact bool
	base    bool // llama.cpp's form
	vocab   int  // 0 in a compact file
	topK    int  // 0 in a full file
	next    int  // where Score begins to look
	close   func() error
}

// OpenReference opens a reference file and checks its structure: the names, types
// and shapes of its tensors, prompts numbered from 0 without a gap, token ids
// inside the vocabulary. A base file of llama.cpp is known by its first bytes. Logits are read, and found to be finite or not, when a
// Run needs them. Close the Reference after use.
func OpenReference(path string) (*Reference, error) {
	r := &Reference{path: path}
	read, err := r.openBase()
	if err == nil && read == nil {
		var file *checkpoint.Checkpoint
		if file, err = checkpoint.Open(path); err == nil {
			r.close, read = file.Close, func() error { return r.read(file) }
		}
	}
	if err != nil {
		return nil, err
	}
	if err := parallel.Guard(read); err != nil {
		if errors.Is(err, parallel.ErrFault) {
			err = fmt.Errorf("%s: %w", defect.Printable(path), err)
		}
		return nil, errors.Join(err, r.close())
	}
	return r, nil
}

// openBase returns how to read the file as a base file, nil if it is none.
func (r *Reference) openBase() (read func() error, err error) {
	if info, err := os.Stat(r.path); err != nil || !info.Mode().IsRegular() {
		return nil, err
	}
	file, err := mmap.Open(r.path)
	if err != nil {
		return nil, err
	}
	is := false
	err = parallel.Guard(func() error {
		is = bytes.HasPrefix(file.Data, []byte(baseMagic))
		return nil
	})
	if err != nil || !is {
		return nil, errors.Join(err, file.Close())
	}
	r.close = file.Close
	return func() error { return r.readBase(file.Data) }, nil
}

// Close gives the file back. Logits of r must not be used afterwards.
func (r *Reference) Close() error { return r.close() }

// Prompts returns the prompts of the file, every position scored that has logits. Their ids are
// r's own, to be read only.
func (r *Reference) Prompts() []Prompt {
	ps := make([]Prompt, len(r.prompts))
	for i := range r.prompts {
		p := &r.prompts[i]
		ps[i] = Prompt{IDs: p.ids, From: p.from, To: p.to}
	}
	return ps
}

// Vocab is the number of logits of a position, or 0 for a compact reference,
// which does not say.
func (r *Reference) Vocab() int { return r.vocab }

// TopK is the number of logits that a compact reference keeps of each position,
// or 0 for a full one.
func (r *Reference) TopK() int { return r.topK }

// read sorts the tensors of a file by prompt and checks them.
func (r *Reference) read(file *checkpoint.Checkpoint) error {
	parts := make(map[int]map[string]*checkpoint.Tensor)
	for _, name := range file.Names() {
		n, part, ok := splitName(name)
		if !ok {
			return defect.Corrupt(r.path, name, "is not a tensor of a reference file, want prompt.N.%s, prompt.N.%s and the like", partIDs, partLogits)
		}
		if parts[n] == nil {
			parts[n] = make(map[string]*checkpoint.Tensor)
		}
		parts[n][part] = file.Tensors[name]
	}
	if len(parts) == 0 {
		return defect.Corrupt(r.path, "", "holds no prompts, want prompt.0.%s and prompt.0.%s", partIDs, partLogits)
	}
	r.prompts = make([]recorded, len(parts))
	for n := range r.prompts {
		if parts[n] == nil {
			return defect.Corrupt(r.path, "", "holds %d prompts but no prompt.%d: they are numbered from 0 without a gap", len(parts), n)
		}
		if err := r.prompt(n, parts[n]); err != nil {
			return err
		}
	}
	return nil
}

// splitName takes "prompt.N.PART" apart. N has no leading zeros.
func splitName(name string) (n int, part string, ok bool) {
	f := strings.Split(name, ".")
	if len(f) != 3 || f[0] != "prompt" {
		return 0, "", false
	}
	n, err := strconv.Atoi(f[1])
	if err != nil || n < 0 || strconv.Itoa(n) != f[1] {
		return 0, "", false
	}
	switch f[2] {
	case partIDs, partLogits, partTopIDs, partTopLogits, partLogSumExp:
		return n, f[2], true
	}
	return 0, "", false
}

// A partSet is the tensors of one prompt in a file. Its first failure sticks.
type partSet struct {
	path  string
	n     int
	parts map[string]*checkpoint.Tensor
	taken int
	err   error
}

// take returns a part, which must have one of the types and the shape, where 0
// stands for any positive length; nil after a failure.
func (s *partSet) take(part string, types []checkpoint.DType, shape ...int) *checkpoint.Tensor {
	t, ok := s.parts[part]
	fits := func(got, want int) bool { return got > 0 && (got == want || want == 0) }
	switch {
	case s.err != nil:
		return nil
	case !ok:
		s.fail(part, "tensor is missing")
		return nil
	case !slices.Contains(types, t.DType):
		s.fail(part, "type is %s, want %s", t.DType, typesText(types))
		return nil
	case !slices.EqualFunc(t.Shape, shape, fits):
		s.fail(part, "shape is %s, want %s", shapeText(t.Shape, "0"), shapeText(shape, "any"))
		return nil
	case t.Source != nil:
		s.fail(part, "is not stored in row-major order; call contiguous() on it and save it again")
		return nil
	}
	s.taken++
	return t
}

func (s *partSet) fail(part, format string, args ...any) {
	s.err = defect.Corrupt(s.path, fmt.Sprintf("prompt.%d.%s", s.n, part), format, args...)
}

var (
	i64    = []checkpoint.DType{checkpoint.I64}
	i32    = []checkpoint.DType{checkpoint.I32}
	f32    = []checkpoint.DType{checkpoint.F32}
	floats = []checkpoint.DType{checkpoint.F32, checkpoint.F16, checkpoint.BF16}
)

// prompt checks the tensors of prompt n and records them. The first prompt's
// form and width bind the others.
func (r *Reference) prompt(n int, parts map[string]*checkpoint.Tensor) error {
	s := &partSet{path: r.path, n: n, parts: parts}
	p := recorded{n: n}
	ids := s.take(partIDs, i64, 0)
	if s.err != nil {
		return s.err
	}
	length := ids.Shape[0]
	if n == 0 {
		r.compact = parts[partLogits] == nil && parts[partTopIDs] != nil
	}
	if r.compact {
		p.topIDs = s.take(partTopIDs, i32, length, r.topK)
		if s.err == nil {
			r.topK = p.topIDs.Shape[1]
		}
		p.topLogits = s.take(partTopLogits, f32, length, r.topK)
		p.total = s.take(partLogSumExp, f32, length)
	} else {
		p.logits = s.take(partLogits, floats, length, r.vocab)
		if s.err == nil {
			r.vocab = p.logits.Shape[1]
		}
	}
	if s.err == nil && s.taken != len(parts) {
		s.fail(partLogits, "full and compact logits in one file, want one form for all prompts")
	}
	if s.err != nil {
		return s.err
	}
	p.ids, p.to = make([]int, length), length
	for t := range p.ids {
		id := int64(binary.LittleEndian.Uint64(ids.Data[8*t:]))
		if id < 0 || id >= model.MaxVocab || r.vocab > 0 && id >= int64(r.vocab) {
			s.fail(partIDs, "token id %d at position %d is outside the vocabulary of %d", id, t, cmp.Or(r.vocab, model.MaxVocab))
			return s.err
		}
		p.ids[t] = int(id)
	}
	r.prompts[n] = p
	return nil
}

// shapeText spells a shape, a 0 in it as zero.
func shapeText(shape []int, zero string) string {
	s := make([]string, len(shape))
	for i, n := range shape {
		if s[i] = strconv.Itoa(n); n == 0 {
			s[i] = zero
		}
	}
	return "[" + strings.Join(s, ", ") + "]"
}

func typesText(types []checkpoint.DType) string {
	s := make([]string, len(types))
	for i, t := range types {
		s[i] = string(t)
	}
	return strings.Join(s, ", ")
}

// Score finds the prompt with these ids: the one after the last it found, or the
// next that matches.
func (r *Reference) Score(_ context.Context, ids []int) (Logits, error) {
	for i := range r.prompts {
		at := (r.next + i) % len(r.prompts)
		if p := &r.prompts[at]; slices.Equal(p.ids, ids) {
			r.next = at + 1
			switch {
			case r.compact:
				return &topPrompt{p, r.path}, nil
			case r.base:
				return &basePrompt{p, r.path, r.vocab}, nil
			}
			return &fullPrompt{p, r.path}, nil
		}
	}
	return nil, fmt.Errorf("%s: holds no prompt with these %d token ids", defect.Printable(r.path), len(ids))
}
