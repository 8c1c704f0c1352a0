package transformer

import (
	"slices"
	"testing"

	"thimble/internal/qtensor"
)

// cacheOf returns a cache of n positions of two heads, its numbers different.
func cacheOf(t *testing.T, scheme qtensor.Scheme, n, capacity int) *Cache {
	t.Helper()
	c := &Cache{limit: capacity, heads: 2, headDim: 4, keyStride: 16}
	for range 3 {
		c.steps = append(c.steps, entry{newStore(scheme, 4, 16), newStore(scheme, 4, 4)})
	}
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
		scheme, err := qtensor.ParseScheme(text)
		if err != nil {
			t.Fatal(err)
		}
		a, b := cacheOf(t, scheme, 5, 5), cacheOf(t, scheme, 4, 7)
		if step, pos := a.Difference(b); step != -1 || pos != -1 {
			t.Errorf("%s: equal caches differ at step %d, position %d", text, step, pos)
		}
		b.Copy(2, 0)
		if step, pos := a.Difference(b); step != 0 || pos != 2 {
			t.Errorf("%s: a difference at step 0, position 2, is found at %d, %d", text, step, pos)
		}
		b.Truncate(2)
		if step, pos := b.Difference(a); step != -1 || pos != -1 {
			t.Errorf("%s: a forgotten position differs at step %d, position %d", text, step, pos)
		}
		b.used = 4
		var x, y []float32
		for step := range b.steps {
			for h := range 2 {
				for _, s := range []*store{&b.steps[step].k, &b.steps[step].v} {
					u := s.read(&x, &qtensor.Reader{}, h*b.capacity+2, 1)[:4]
					v := s.read(&y, &qtensor.Reader{}, h*b.capacity, 1)[:4]
					if !slices.Equal(u, v) {
						t.Errorf("%s: step %d, head %d: position 2 is %v, position 0 %v", text, step, h, u, v)
					}
				}
			}
		}
		// A value of a late step at an early position comes first.
		late := cacheOf(t, scheme, 5, 5)
		if err := late.steps[2].v.put(&late.rounder, late.capacity+1, make([]float32, 4)); err != nil {
			t.Fatal(err)
		}
		late.Copy(3, 0)
		if step, pos := a.Difference(late); step != 2 || pos != 1 {
			t.Errorf("%s: the first difference, of step 2, position 1, is found at %d, %d", text, step, pos)
		}
	}
}
