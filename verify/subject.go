package verify

import (
	"context"

	"thimble/internal/model"
	"thimble/internal/transformer"
)

// A decoded subject scores prompts with our own decoder.
type decoded struct {
	decoder *transformer.Decoder
	vocab   int
	atOnce  int // prompt tokens fed at a time
}

// NewSubject returns a Subject that runs m in float32. Prompts are fed atOnce
// tokens at a time: 1 goes through the KV cache as text generation does, 0
// takes a number that bounds memory. The scores do not depend on it.
func NewSubject(m *model.Model, atOnce int) (Subject, error) {
	return NewSubjectWith(m, Arithmetic{}, atOnce)
}

// NewSubjectWith is NewSubject with an arithmetic. It fails if that makes no
// difference to m.
func NewSubjectWith(m *model.Model, a Arithmetic, atOnce int) (Subject, error) {
	d, err := transformer.NewWith(m, a)
	if err != nil {
		return nil, err
	}
	if atOnce <= 0 {
		atOnce = usuallyFed
	}
	return &decoded{d, m.Spec.Vocab, atOnce}, nil
}

func (s *decoded) Vocab() int { return s.vocab }

func (s *decoded) Score(ctx context.Context, ids []int) (Logits, error) {
	cache, err := s.decoder.NewCache(len(ids))
	if err != nil {
		return nil, err
	}
	return feed(ctx, s.decoder, cache, ids, s.atOnce)
}

// usuallyFed is how many tokens are fed at once, which bounds memory.
const usuallyFed = 512

// feed runs ids behind what cache holds, atOnce at a time.
func feed(ctx context.Context, d *transformer.Decoder, cache *transformer.Cache, ids []int, atOnce int) (all pieces, err error) {
	for len(ids) > 0 {
		n := min(atOnce, len(ids))
		h, err := d.Forward(ctx, cache, ids[:n])
		if err != nil {
			return nil, err
		}
		all, ids = append(all, h), ids[n:]
	}
	return all, nil
}

// pieces are the hidden states of a prompt in the parts that it was fed in.
type pieces []*transformer.Hidden

func (p pieces) Rows(ctx context.Context, dst []float32, from, n int) error {
	if n == 0 {
		return nil
	}
	vocab := len(dst) / n
	for _, h := range p {
		if from >= h.Len() {
			from -= h.Len()
			continue
		}
		k := min(n, h.Len()-from)
		if err := h.Logits(ctx, dst[:k*vocab], from, k); err != nil {
			return err
		}
		dst, n, from = dst[k*vocab:], n-k, 0
		if n == 0 {
			break
		}
	}
	return nil
}
