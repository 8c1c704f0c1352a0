package reference

import (
	"context"
	"slices"

	"thimble/internal/transformer"
)

// A Scorer computes the logits of prompts.
type Scorer interface {
	// Vocab returns the number of logits of a position.
	Vocab() int

	// Score runs a prompt. The Prediction is valid until the next call of Score,
	// unless the Scorer's documentation promises more.
	Score(ctx context.Context, ids []int) (Prediction, error)
}

// A Prediction holds the logits of one prompt.
type Prediction interface {
	// Logits writes the next-token logits of the positions [from, from+n) to dst,
	// (n, Vocab).
	Logits(ctx context.Context, dst []float32, from, n int) error
}

// NewScorer returns a Scorer that runs m in arithmetic a. It feeds prompts atOnce tokens
// at a time. 1 uses the KV cache as text generation does; 0 selects a number that bounds
// memory. The logits do not depend on atOnce. A Prediction stays valid after later calls
// of Score, and holds Hidden float32 for each position. NewScorer returns an error if a
// has no effect on m.
func NewScorer(m *Model, a Arithmetic, atOnce int) (Scorer, error) {
	d, err := transformer.NewWith(m, a)
	if err != nil {
		return nil, err
	}
	return &modelScorer{d, m.Spec.Vocab, atOnce}, nil
}

// A modelScorer scores prompts with Thimble's own decoder.
type modelScorer struct {
	decoder *transformer.Decoder
	vocab   int
	atOnce  int // number of prompt tokens to feed at a time; 0 for the decoder's choice
}

func (s *modelScorer) Vocab() int { return s.vocab }

func (s *modelScorer) Score(ctx context.Context, ids []int) (Prediction, error) {
	cache, err := s.decoder.NewCache(len(ids))
	if err != nil {
		return nil, err
	}
	return s.decoder.Feed(ctx, cache, ids, s.atOnce)
}

// CacheLogits returns a Scorer that scores as s does and keeps the Predictions of the
// first prompts, up to positions tokens in total. s then runs these prompts only once,
// however many models are compared with it. The Predictions of s must stay valid after
// the next Score, as those of NewScorer do.
func CacheLogits(s Scorer, positions int) Scorer {
	return &cachedScorer{Scorer: s, room: positions}
}

type cachedScorer struct {
	Scorer
	room int // positions that may still be kept
	kept []cachedPrediction
}

type cachedPrediction struct {
	ids []int
	Prediction
}

func (c *cachedScorer) Score(ctx context.Context, ids []int) (Prediction, error) {
	for _, k := range c.kept {
		if slices.Equal(k.ids, ids) {
			return k.Prediction, nil
		}
	}
	p, err := c.Scorer.Score(ctx, ids)
	if err == nil && len(ids) <= c.room {
		c.room -= len(ids)
		c.kept = append(c.kept, cachedPrediction{slices.Clone(ids), p})
	}
	return p, err
}
