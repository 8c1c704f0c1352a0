// Package generate continues token sequences with a model: the one loop behind
// text generation, benchmarks and the tasks of the verifier.
package generate

import (
	"context"
	"slices"

	"thimble/internal/logits"
	"thimble/internal/model"
	"thimble/internal/parallel"
	"thimble/internal/transformer"
)

// A Generator runs one model over one sequence after the other. It computes what
// a sequence has in common with the one before it only once. It serves one
// goroutine, which it spreads over all cores.
type Generator struct {
	spec    *model.Spec
	decoder *transformer.Decoder
	cache   *transformer.Cache
	held    []int     // ids in cache
	rows    []float32 // scratch: rows of logits
}

// New returns a Generator of m, which computes in arithmetic a.
func New(m *model.Model, a transformer.Arithmetic) (*Generator, error) {
	d, err := transformer.NewWith(m, a)
	if err != nil {
		return nil, err
	}
	cache, err := d.NewCache(min(m.Spec.Context, model.MaxLength))
	if err != nil {
		return nil, err
	}
	return &Generator{spec: &m.Spec, decoder: d, cache: cache}, nil
}

// Spec is what the model computes.
func (g *Generator) Spec() *model.Spec { return g.spec }

// CacheBytes is the memory that keys and values take.
func (g *Generator) CacheBytes() int64 { return g.cache.Bytes() }

// Reset forgets the last sequence, so that the next one is computed in full.
func (g *Generator) Reset() {
	g.cache.Truncate(0)
	g.held = g.held[:0]
}

// feed brings ids into the cache and returns the hidden states of their last
// positions, from position skip on, which is at most from.
func (g *Generator) feed(ctx context.Context, ids []int, from int) (h *transformer.Hidden, skip int, err error) {
	for skip < min(len(g.held), from) && g.held[skip] == ids[skip] {
		skip++
	}
	g.cache.Truncate(skip)
	g.held = g.held[:skip]
	if h, err = g.decoder.Feed(ctx, g.cache, ids[skip:], 0); err == nil {
		g.held = append(g.held, ids[skip:]...)
	}
	return h, skip, err
}

// Logits returns those of the token after ids, (Vocab), which may be overwritten
// and are valid until the next call. ids is not empty and fits the model's
// context. A logit that is not finite is an error.
func (g *Generator) Logits(ctx context.Context, ids []int) ([]float32, error) {
	h, skip, err := g.feed(ctx, ids, len(ids)-1)
	if err != nil {
		return nil, err
	}
	row := g.row(1)
	if err := h.Logits(ctx, row, len(ids)-1-skip, 1); err != nil {
		return nil, err
	}
	return row, logits.Finite("model", row)
}

// row returns scratch for n rows of logits.
func (g *Generator) row(n int) []float32 {
	if cap(g.rows) < n*g.spec.Vocab {
		g.rows = make([]float32, n*g.spec.Vocab)
	}
	return g.rows[:n*g.spec.Vocab]
}

// likelihoodRows is how many positions' logits LogLikelihood holds at a time.
const likelihoodRows = 64

// LogLikelihood returns the log of the probability, in nats, that the model gives
// to ids[from:] after ids[:from]. Neither is empty.
func (g *Generator) LogLikelihood(ctx context.Context, ids []int, from int) (float64, error) {
	h, skip, err := g.feed(ctx, ids[:len(ids)-1], from-1)
	if err != nil {
		return 0, err
	}
	sum, each, v := 0.0, make([]float64, likelihoodRows), g.spec.Vocab
	for at := from; at < len(ids); at += likelihoodRows {
		n := min(likelihoodRows, len(ids)-at)
		rows := g.row(n)
		if err := h.Logits(ctx, rows, at-1-skip, n); err != nil {
			return 0, err
		}
		err := parallel.Do(ctx, n, func(_, i int) error {
			row := rows[i*v:][:v]
			each[i] = float64(row[ids[at+i]]) - logits.LogSumExp(row, nil)
			return logits.Finite("model", row)
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

// Ends reports whether the model ends a text with this token.
func (g *Generator) Ends(id int) bool { return slices.Contains(g.spec.EOS, id) }

// Continue appends up to n tokens to ids and returns those it appended. pick
// chooses each from its logits, which it may overwrite: logits.Argmax or a
// Sampler's Pick. Continue stops before a token that ends the text, and after one
// for which emit returns false. emit may be nil.
func (g *Generator) Continue(ctx context.Context, ids []int, n int, pick func(logits []float32) int, emit func(id int) (more bool, err error)) ([]int, error) {
	all := slices.Clone(ids)
	for range n {
		row, err := g.Logits(ctx, all)
		if err != nil {
			return nil, err
		}
		id := pick(row)
		if g.Ends(id) {
			break
		}
		all = append(all, id)
		if emit == nil {
			continue
		}
		if more, err := emit(id); err != nil {
			return nil, err
		} else if !more {
			break
		}
	}
	return all[len(ids):], nil
}
