package transformer

import (
	"slices"
	"testing"

	"thimble/internal/qtensor"
)

// cacheOf returns a cache with n positions, two heads and three steps. No two of
// its numbers are the same.
func cacheOf(t *testing.T, scheme qtensor.Scheme, n, capacity int) *Cache {
	t.Helper()
	c := &Cache{limit: capacity}
	for range 3 {
		c.steps = append(c.steps, &entry{k: newStore(scheme, 4, 16), v: newStore(scheme, 4, 4), heads: 2, headDim: 4, keyStride: 16})
	}
	c.entries = c.steps
	if err := c.reserve(capacity); err != nil {
		t.Fatal(err)
	}
	for step := range c.steps {
		k, v := newRows(n, 8), newRows(n, 8)
		for pos := range n {
			for i := range 8 {
				k.row(pos)[i], v.row(pos)[i] = float32(100*step+10*pos+i), float32(-100*step-10*pos-i)
			}
		}
		if err := c.append(step, k, v); err != nil {
			t.Fatal(err)
		}
	}
	c.used = n
	return c
}

func TestCacheDifference(t *testing.T) {
	for _, text := range []string{"f32", "f16", "int8/row", "int4/row/asym"} {
		t.Run(text, func(t *testing.T) {
			scheme, err := qtensor.ParseScheme(text)
			if err != nil {
				t.Fatal(err)
			}
			a, b := cacheOf(t, scheme, 5, 5), cacheOf(t, scheme, 4, 7)
			wantDifference(t, "equal caches", a, b, -1, -1)
			b.Copy(2, 0)
			wantDifference(t, "position 2 overwritten", a, b, 0, 2)
			b.Truncate(2)
			wantDifference(t, "position 2 truncated", b, a, -1, -1)
			b.used = 4
			checkCopied(t, b, 2, 0)

			// The position counts before the step.
			late := cacheOf(t, scheme, 5, 5)
			if err := late.steps[2].v.put(&late.rounder, late.capacity+1, make([]float32, 4)); err != nil {
				t.Fatal(err)
			}
			late.Copy(3, 0)
			wantDifference(t, "a value of step 2 at position 1, and position 3", a, late, 2, 1)
		})
	}
}

func wantDifference(t *testing.T, what string, a, b *Cache, step, position int) {
	t.Helper()
	if s, p := a.Difference(b); s != step || p != position {
		t.Errorf("%s: the difference is at step %d, position %d, want %d, %d", what, s, p, step, position)
	}
}

// checkCopied fails unless position to of c equals position from in every step and
// head.
func checkCopied(t *testing.T, c *Cache, to, from int) {
	t.Helper()
	x, y := make([]float32, c.steps[0].keyStride), make([]float32, c.steps[0].keyStride)
	for step := range c.steps {
		for h := range 2 {
			for _, s := range []*store{&c.steps[step].k, &c.steps[step].v} {
				u := s.read(x, &qtensor.Reader{}, h*c.capacity+to, 1)[:4]
				v := s.read(y, &qtensor.Reader{}, h*c.capacity+from, 1)[:4]
				if !slices.Equal(u, v) {
					t.Errorf("step %d, head %d: position %d is %v, position %d is %v", step, h, to, u, from, v)
				}
			}
		}
	}
}
