package verify

import (
	"context"

	"thimble/internal/model"
	"thimble/internal/transformer"
)

// A slip is a mistake in running a model: it is made in the cache behind position
// at, and what follows reads it.
type slip func(c *transformer.Cache, at int)

// slipPosition puts the next token on the place of the last one, as if one less
// had been counted.
func slipPosition(s *specimen) (*injected, string) {
	return s.slipping(func(c *transformer.Cache, at int) { c.Truncate(at) })
}

// reuseEntry leaves the keys and values of the position before where those of the
// last one should be.
func reuseEntry(s *specimen) (*injected, string) {
	return s.slipping(func(c *transformer.Cache, at int) { c.Copy(at, at-1) })
}

// cacheOp is where slips are.
const cacheOp = "kv cache"

func (s *specimen) slipping(f slip) (*injected, string) {
	at := slipAt(s.ids)
	if at < 0 {
		return nil, "the text has no three different tokens in a row"
	}
	return &injected{model: s.m, slip: f, want: Place{Step: 0, Block: s.m.Spec.Schedule[0], Operation: cacheOp, Token: at, Channel: -1}}, ""
}

// slipAt chooses the position of a slip: in the second quarter of a text, which
// is before what is scored of it, and with other tokens on both sides. It is -1
// where there is none.
func slipAt(ids []int) int {
	for at := max(1, len(ids)/4); at+1 < len(ids); at++ {
		if ids[at] != ids[at-1] && ids[at] != ids[at+1] {
			return at
		}
	}
	return -1
}

// slipped is decoded with a slip in every prompt that is long enough.
type slipped struct {
	decoded
	slip slip
}

func (s *slipped) Score(ctx context.Context, ids []int) (Logits, error) {
	_, all, err := s.run(ctx, ids)
	return all, err
}

// run scores ids, with a slip if there is one, and returns the cache too.
func (s *slipped) run(ctx context.Context, ids []int) (*transformer.Cache, pieces, error) {
	cache, err := s.decoder.NewCache(len(ids))
	if err != nil {
		return nil, nil, err
	}
	at := slipAt(ids)
	all, err := feed(ctx, s.decoder, cache, ids[:at+1], usuallyFed)
	if err != nil {
		return nil, nil, err
	}
	if at >= 0 && s.slip != nil {
		s.slip(cache, at)
	}
	rest, err := feed(ctx, s.decoder, cache, ids[at+1:], usuallyFed)
	return cache, append(all, rest...), err
}

// locateSlip returns where the caches of two runs over ids part, one with a slip
// and one without.
func locateSlip(ctx context.Context, m *model.Model, a Arithmetic, f slip, ids []int) (*Place, error) {
	d, err := transformer.NewWith(m, a)
	if err != nil {
		return nil, err
	}
	right, _, err := (&slipped{decoded: decoded{decoder: d}}).run(ctx, ids)
	if err != nil {
		return nil, err
	}
	wrong, _, err := (&slipped{decoded{decoder: d}, f}).run(ctx, ids)
	if err != nil {
		return nil, err
	}
	step, at := right.Difference(wrong)
	if at < 0 {
		return nil, nil
	}
	return &Place{Step: step, Block: m.Spec.Schedule[step], Operation: cacheOp, Token: at, Channel: -1}, nil
}
