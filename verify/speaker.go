package verify

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"thimble/internal/kernel"
	"thimble/internal/model"
	"thimble/internal/parallel"
	"thimble/internal/tokenizer"
	"thimble/internal/transformer"
)

// A Speaker is a model that texts are put to one after the other. What one has in
// common with the one before it is computed once.
type Speaker struct {
	spec    *model.Spec
	decoder *transformer.Decoder
	cache   *transformer.Cache
	held    []int     // ids in cache
	rows    []float32 // of logits
}

// NewSpeaker returns a Speaker of m.
func NewSpeaker(m *model.Model, a Arithmetic) (*Speaker, error) {
	d, err := transformer.NewWith(m, a)
	if err != nil {
		return nil, err
	}
	cache, err := d.NewCache(min(m.Spec.Context, model.MaxLength))
	if err != nil {
		return nil, err
	}
	return &Speaker{spec: &m.Spec, decoder: d, cache: cache}, nil
}

// read brings ids into the cache and returns the hidden states of their last
// positions, beginning with skip, which is at most from.
func (s *Speaker) read(ctx context.Context, ids []int, from int) (h pieces, skip int, err error) {
	for skip < min(len(s.held), from) && s.held[skip] == ids[skip] {
		skip++
	}
	s.cache.Truncate(skip)
	s.held = s.held[:skip]
	if h, err = feed(ctx, s.decoder, s.cache, ids[skip:], usuallyFed); err == nil {
		s.held = append(s.held, ids[skip:]...)
	}
	return h, skip, err
}

// logits returns those of the token after ids, valid until the next call.
func (s *Speaker) logits(ctx context.Context, ids []int) ([]float32, error) {
	h, skip, err := s.read(ctx, ids, len(ids)-1)
	if err != nil {
		return nil, err
	}
	s.rows = grow(s.rows, s.spec.Vocab)
	if err := h.Rows(ctx, s.rows, len(ids)-1-skip, 1); err != nil {
		return nil, err
	}
	return s.rows, finite("model", s.rows)
}

// next is the likeliest token after ids.
func (s *Speaker) next(ctx context.Context, ids []int) (int, error) {
	row, err := s.logits(ctx, ids)
	if err != nil {
		return 0, err
	}
	best, _ := argmax(row)
	return best, nil
}

// likelihood is the logarithm of the probability, in nats, of ids[from:] after
// ids[:from], of which there is at least one.
func (s *Speaker) likelihood(ctx context.Context, ids []int, from int) (float64, error) {
	h, skip, err := s.read(ctx, ids[:len(ids)-1], from-1)
	if err != nil {
		return 0, err
	}
	sum, each, v := 0.0, make([]float64, blockRows), s.spec.Vocab
	for at := from; at < len(ids); at += blockRows {
		n := min(blockRows, len(ids)-at)
		s.rows = grow(s.rows, n*v)
		if err := h.Rows(ctx, s.rows[:n*v], at-1-skip, n); err != nil {
			return 0, err
		}
		err := parallel.Do(ctx, n, func(_, i int) error {
			row := s.rows[i*v:][:v]
			each[i] = float64(row[ids[at+i]]) - logSumExp(row, nil)
			return finite("model", row)
		})
		if err != nil {
			return 0, err
		}
		for _, l := range each[:n] {
			sum += l
		}
	}
	return sum, nil
}

// ends says whether a token ends what the model says.
func (s *Speaker) ends(id int) bool { return slices.Contains(s.spec.EOS, id) }

// opening are the tokens of a text that a model is given: after the one that the
// tokenizer starts texts with, if it has one, and nothing at its end.
func opening(tok *tokenizer.Tokenizer, text string) []int {
	ids := tok.Encode(text, false)
	if bos := tok.Start(); bos >= 0 {
		ids = append([]int{bos}, ids...)
	}
	return ids
}

// start is what an empty text begins with.
func start(s *model.Spec) ([]int, error) {
	switch {
	case s.BOS >= 0:
		return []int{s.BOS}, nil
	case len(s.EOS) > 0:
		return []int{s.EOS[0]}, nil
	}
	return nil, errors.New("the prompt is empty and the model has no token that starts a text")
}

// choiceOf is a token with the logarithms of what the reference and the model
// give to it.
func choiceOf(id int, reference, model []float32) Choice {
	p := func(row []float32) Value {
		return Value(kernel.Exp64(float64(row[id]) - logSumExp(row, nil)))
	}
	return Choice{ID: id, PReference: p(reference), PModel: p(model)}
}

// checkVocabulary refuses tokens that a model does not have.
func checkVocabulary(ids []int, vocab int) error {
	for _, id := range ids {
		if id < 0 || id >= vocab {
			return fmt.Errorf("token id %d is outside the model's vocabulary of %d", id, vocab)
		}
	}
	return nil
}
