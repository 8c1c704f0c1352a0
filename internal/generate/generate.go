// Package generate continues token sequences with a model. Text generation,
// benchmarks and the verifier's tasks share its loop.
package generate

import (
	"context"
	"slices"

	"thimble/internal/logits"
	"thimble/internal/model"
	"thimble/internal/parallel"
	"thimble/internal/transformer"
)

// A Generator runs a model over a series of sequences. It computes a prefix that a
// sequence shares with the previous one only once. It uses all cores but is not safe
// for concurrent use.
type Generator struct {
	spec    *model.Spec
	decoder *transformer.Decoder
	cache   *transformer.Cache
	cached  []int     // ids of the tokens in cache
	rows    []float32 // scratch: rows of logits
}

// New returns a Generator for m that computes in arithmetic a.
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

// Spec returns the model's Spec.
func (g *Generator) Spec() *model.Spec { return g.spec }

// CacheBytes returns the size of the KV cache in bytes.
func (g *Generator) CacheBytes() int64 { return g.cache.Bytes() }

// Reset empties the KV cache, so that the next sequence is computed in full.
func (g *Generator) Reset() {
	g.cache.Truncate(0)
	g.cached = g.cached[:0]
}

// feed makes the cache hold ids and returns the hidden states from position skip on,
// those it had to compute. skip is at most from.
func (g *Generator) feed(ctx context.Context, ids []int, from int) (h *transformer.Hidden, skip int, err error) {
	skip = g.keep(ids[:from])
	if h, err = g.decoder.Feed(ctx, g.cache, ids[skip:], 0); err == nil {
		g.cached = append(g.cached, ids[skip:]...)
	}
	return h, skip, err
}

// Prefill makes the cache hold ids, so that the next call has less to compute.
func (g *Generator) Prefill(ctx context.Context, ids []int) error {
	if n := g.keep(ids); n == len(ids) {
		return nil
	}
	_, _, err := g.feed(ctx, ids, len(ids))
	return err
}

// Shared returns the length of the prefix of ids that is in the cache.
func (g *Generator) Shared(ids []int) (n int) {
	for n < min(len(g.cached), len(ids)) && g.cached[n] == ids[n] {
		n++
	}
	return n
}

// keep truncates the cache to the longest prefix that it shares with ids, and to which it can go
// back, and returns its length.
func (g *Generator) keep(ids []int) (n int) {
	n = g.cache.Truncate(g.Shared(ids))
	g.cached = g.cached[:n]
	return n
}

// Logits returns the logits of the token after ids, (Vocab). The caller may overwrite
// them; they are valid until the next call. ids must not be empty and must fit the
// model's context. Logits returns an error if a logit is not finite.
func (g *Generator) Logits(ctx context.Context, ids []int) ([]float32, error) {
	row, last := g.scratch(1), len(ids)-1
	if g.keep(ids[:last]) == last {
		if err := g.decoder.Next(ctx, g.cache, ids[last], row); err != nil {
			return nil, err
		}
		g.cached = append(g.cached, ids[last])
		return row, logits.Finite("model", row)
	}
	h, skip, err := g.feed(ctx, ids, last)
	if err != nil {
		return nil, err
	}
	if err := h.Logits(ctx, row, last-skip, 1); err != nil {
		return nil, err
	}
	return row, logits.Finite("model", row)
}

// scratch returns memory for n rows of logits.
func (g *Generator) scratch(n int) []float32 {
	if cap(g.rows) < n*g.spec.Vocab {
		g.rows = make([]float32, n*g.spec.Vocab)
	}
	return g.rows[:n*g.spec.Vocab]
}

// likelihoodRows is the number of positions whose logits LogLikelihood computes at a
// time.
const likelihoodRows = 64

// LogLikelihood returns the natural log of the probability that the model assigns to
// ids[from:] after ids[:from]. Neither part may be empty.
func (g *Generator) LogLikelihood(ctx context.Context, ids []int, from int) (float64, error) {
	h, skip, err := g.feed(ctx, ids[:len(ids)-1], from-1)
	if err != nil {
		return 0, err
	}
	sum, each, v := 0.0, make([]float64, likelihoodRows), g.spec.Vocab
	for at := from; at < len(ids); at += likelihoodRows {
		n := min(likelihoodRows, len(ids)-at)
		rows := g.scratch(n)
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

// Ends reports whether the token ends a text.
func (g *Generator) Ends(id int) bool { return slices.Contains(g.spec.EOS, id) }

// Continue generates up to n tokens after ids and returns them. It calls pick, such as
// logits.Argmax or a Sampler's Pick, to choose each token from its logits, which pick
// may overwrite, and then emit, if that is not nil. Continue stops before a token that
// ends the text, and after one for which emit returns false.
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
