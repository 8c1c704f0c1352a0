package selftest

import (
	"context"

	"thimble/internal/model"
	"thimble/internal/transformer"
	"thimble/verify/reference"
)

// A cacheFault is a mistake in running a model: it changes the KV cache after
// position at, and the tokens that follow read it.
type cacheFault func(c *transformer.Cache, at int)

// overwriteCacheEntry lets the next token overwrite its predecessor's cache slot,
// as if the position counter were one too low.
func overwriteCacheEntry(t *faultTarget) (*injected, string) {
	return t.withCacheFault(func(c *transformer.Cache, at int) { c.Truncate(at) })
}

// repeatCacheEntry leaves the keys and values of the previous position in the slot of
// the last one.
func repeatCacheEntry(t *faultTarget) (*injected, string) {
	return t.withCacheFault(func(c *transformer.Cache, at int) { c.Copy(at, at-1) })
}

// cacheOperation is the Operation of a Place in the cache.
const cacheOperation = "kv cache"

func (t *faultTarget) withCacheFault(f cacheFault) (*injected, string) {
	at := cacheFaultPosition(t.ids)
	if at < 0 {
		return nil, "the text has no three different tokens in a row"
	}
	return &injected{model: t.m, cacheFault: f, want: Place{Step: 0, Block: t.m.Spec.Schedule[0], Operation: cacheOperation, Token: at, Channel: -1}}, ""
}

// cacheFaultPosition chooses the position of a cache fault: in the second quarter of a
// text, which is before the scored positions, and between two tokens that differ from
// its own. It returns -1 if there is no such position.
func cacheFaultPosition(ids []int) int {
	for at := max(1, len(ids)/4); at+1 < len(ids); at++ {
		if ids[at] != ids[at-1] && ids[at] != ids[at+1] {
			return at
		}
	}
	return -1
}

// A faultyScorer scores prompts, with a cache fault in every prompt that is long
// enough.
type faultyScorer struct {
	decoder *transformer.Decoder
	vocab   int
	fault   cacheFault // nil for no fault
}

func (s *faultyScorer) Vocab() int { return s.vocab }

func (s *faultyScorer) Score(ctx context.Context, ids []int) (reference.Prediction, error) {
	_, p, err := s.run(ctx, ids)
	return p, err
}

// run scores ids, and also returns the cache.
func (s *faultyScorer) run(ctx context.Context, ids []int) (*transformer.Cache, reference.Prediction, error) {
	cache, err := s.decoder.NewCache(len(ids))
	if err != nil {
		return nil, nil, err
	}
	at := cacheFaultPosition(ids)
	if at < 0 {
		p, err := s.decoder.Feed(ctx, cache, ids, 0)
		return cache, p, err
	}
	before, err := s.decoder.Feed(ctx, cache, ids[:at+1], 0)
	if err != nil {
		return nil, nil, err
	}
	if s.fault != nil {
		s.fault(cache, at)
	}
	after, err := s.decoder.Feed(ctx, cache, ids[at+1:], 0)
	if err != nil {
		return nil, nil, err
	}
	return cache, transformer.Join([]*transformer.Hidden{before, after}), nil
}

// locateCacheFault runs ids with the fault and without it, and returns the place where
// the two caches differ, or nil if they do not.
func locateCacheFault(ctx context.Context, m *model.Model, a reference.Arithmetic, f cacheFault, ids []int) (*Place, error) {
	d, err := transformer.NewWith(m, a)
	if err != nil {
		return nil, err
	}
	right, _, err := (&faultyScorer{decoder: d, vocab: m.Spec.Vocab}).run(ctx, ids)
	if err != nil {
		return nil, err
	}
	wrong, _, err := (&faultyScorer{d, m.Spec.Vocab, f}).run(ctx, ids)
	if err != nil {
		return nil, err
	}
	step, at := right.Difference(wrong)
	if at < 0 {
		return nil, nil
	}
	return &Place{Step: step, Block: m.Spec.Schedule[step], Operation: cacheOperation, Token: at, Channel: -1}, nil
}
