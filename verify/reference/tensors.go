package reference

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"thimble/internal/checkpoint"
	"thimble/internal/defect"
	"thimble/internal/model"
)

// promptTensors holds the tensors of one prompt in a file. It keeps the first error.
type promptTensors struct {
	path    string
	n       int
	tensors map[string]*checkpoint.Tensor
	taken   int
	err     error
}

var (
	i64    = []checkpoint.DType{checkpoint.I64}
	i32    = []checkpoint.DType{checkpoint.I32}
	f32    = []checkpoint.DType{checkpoint.F32}
	floats = []checkpoint.DType{checkpoint.F32, checkpoint.F16, checkpoint.BF16}
)

// has reports whether there is a tensor of this kind.
func (s *promptTensors) has(kind string) bool { return s.tensors[kind] != nil }

// take returns a tensor, which must have one of the types and the given shape. A 0 in
// shape stands for any positive length. After an error, take returns nil.
func (s *promptTensors) take(kind string, types []checkpoint.DType, shape ...int) *checkpoint.Tensor {
	t, ok := s.tensors[kind]
	fits := func(got, want int) bool { return got > 0 && (got == want || want == 0) }
	switch {
	case s.err != nil:
		return nil
	case !ok:
		s.fail(kind, "tensor is missing")
		return nil
	case !slices.Contains(types, t.DType):
		s.fail(kind, "type is %s, want %s", t.DType, typesText(types))
		return nil
	case !slices.EqualFunc(t.Shape, shape, fits):
		s.fail(kind, "shape is %s, want %s", shapeText(t.Shape, "0"), shapeText(shape, "any"))
		return nil
	case t.Source != nil:
		s.fail(kind, "is not stored in row-major order; call contiguous() on it and save it again")
		return nil
	}
	s.taken++
	return t
}

func (s *promptTensors) fail(kind, format string, args ...any) {
	s.err = defect.Corrupt(s.path, fmt.Sprintf("prompt.%d.%s", s.n, kind), format, args...)
}

// scored sets the scored positions of p if the file records them.
func (s *promptTensors) scored(p *Prompt) {
	if !s.has(tensorScored) {
		return
	}
	t := s.take(tensorScored, i64, 2)
	if s.err != nil {
		return
	}
	from, to := int64(binary.LittleEndian.Uint64(t.Data)), int64(binary.LittleEndian.Uint64(t.Data[8:]))
	if from < 0 || from >= to || to > int64(len(p.IDs)) {
		s.fail(tensorScored, "positions [%d, %d) are not in a prompt of %d tokens", from, to, len(p.IDs))
		return
	}
	p.From, p.To = int(from), int(to)
}

// top returns the tensors that a compact file keeps of p, with k logits for each
// position, or any number if k is 0.
func (s *promptTensors) top(p *Prompt, k int) *topPrompt {
	rows := p.To - p.From
	top := &topPrompt{path: s.path, n: s.n, first: p.From, ids: s.take(tensorTopIDs, i32, rows, k)}
	if s.err == nil {
		k = top.ids.Shape[1]
	}
	top.logits = s.take(tensorTopLogits, f32, rows, k)
	top.lse = s.take(tensorLogSumExp, f32, rows)
	if s.has(tensorNextLogits) {
		top.next = s.take(tensorNextLogits, f32, rows)
	}
	if s.has(tensorTailStep) {
		top.tail = s.tail(rows)
	}
	return top
}

// tail returns the tail of a prompt.
func (s *promptTensors) tail(rows int) *tail {
	step, counts := s.take(tensorTailStep, f32, 1), s.take(tensorTailCounts, i32, rows)
	if s.err != nil {
		return nil
	}
	t := &tail{step: float64(math.Float32frombits(binary.LittleEndian.Uint32(step.Data))), ends: make([]int, rows)}
	if !(t.step > 0 && t.step <= 1) {
		s.fail(tensorTailStep, "is %v, want more than 0 and at most 1", t.step)
		return nil
	}
	total := 0
	for i := range t.ends {
		n := int(int32(binary.LittleEndian.Uint32(counts.Data[4*i:])))
		if n < 0 || n > model.MaxVocab {
			s.fail(tensorTailCounts, "row %d: %d tokens, want 0 to %d", i, n, model.MaxVocab)
			return nil
		}
		total += n
		t.ends[i] = total
	}
	t.ids, t.logits = s.list(tensorTailIDs, i32, total), s.list(tensorTailLogits, f32, total)
	return t
}

// list returns a tensor of n elements. n may be 0.
func (s *promptTensors) list(kind string, types []checkpoint.DType, n int) *checkpoint.Tensor {
	if t := s.tensors[kind]; s.err == nil && n == 0 && t != nil && slices.Equal(t.Shape, []int{0}) {
		s.taken++
		return t
	}
	if s.err == nil && n == 0 {
		s.fail(kind, "want no elements, as %s says", tensorTailCounts)
		return nil
	}
	return s.take(kind, types, n)
}

// shapeText formats a shape, with zero in place of each 0.
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
