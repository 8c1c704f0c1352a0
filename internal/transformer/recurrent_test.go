package transformer_test

import (
	"context"
	"path/filepath"
	"slices"
	"testing"

	"thimble/convert"
	"thimble/internal/model"
	"thimble/internal/transformer"
	"thimble/internal/transformer/recurrence"
)

// The state of the delta rule, and of a state space, is that of the positions in the cache, also
// after positions were discarded, a pass was stopped, or a position was overwritten.
func TestStates(t *testing.T) {
	for _, dir := range []string{"architectures/qwen3_5", "families/granitemoehybrid", "families/falcon_h1", "families/nemotron_h"} {
		t.Run(dir, func(t *testing.T) {
			m, err := convert.Open(filepath.Join(fixtures, dir), convert.Options{})
			if err != nil {
				t.Fatal(err)
			}
			defer m.Close()
			testStates(t, m)
		})
	}
}

func testStates(t *testing.T, m *model.Model) {
	d, err := transformer.New(m)
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	stopped, stop := context.WithCancel(ctx)
	stop()
	fed := func(c *transformer.Cache, ids ...int) []float32 {
		h, err := d.Forward(ctx, c, ids)
		if err != nil {
			t.Fatal(err)
		}
		logits := make([]float32, m.Spec.Vocab)
		if err := h.Logits(ctx, logits, len(ids)-1, 1); err != nil {
			t.Fatal(err)
		}
		return logits
	}
	cache := func() *transformer.Cache {
		c, err := d.NewCache(20)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	want := fed(cache(), 5, 6, 7, 8, 9, 10)
	same := func(name string, got []float32) {
		t.Helper()
		if !slices.Equal(got, want) {
			t.Errorf("%s: other logits", name)
		}
	}
	c := cache()
	fed(c, 5, 6, 7, 99, 98, 97, 96)
	c.Truncate(3)
	same("four positions discarded, three fed", fed(c, 8, 9, 10))
	c.Truncate(2)
	if _, err := d.Forward(stopped, c, []int{50, 51, 52, 53}); err == nil {
		t.Error("a stopped context gives no error")
	}
	fed(c, 7)
	same("a pass stopped", fed(c, 8, 9, 10))
	c.Truncate(5)
	other := cache()
	fed(other, 5, 6, 7, 8, 9)
	if step, position := c.Difference(other); step != -1 {
		t.Errorf("equal caches differ in step %d at position %d", step, position)
	}
	c.Copy(1, 0)
	if step, position := c.Difference(other); step != 0 || position != 1 {
		t.Errorf("a copied position differs in step %d at position %d", step, position)
	}
	if slices.Equal(fed(c, 10), want) {
		t.Error("a copied position leaves the state as it was")
	}
}

// After a long text a cache goes back some positions, or to the start, and the memory of what has
// no keys and values does not grow.
func TestLongPast(t *testing.T) {
	const n = 3*recurrence.Window + 20
	for _, dir := range []string{"families/lfm2", "architectures/qwen3_5", "families/granitemoehybrid"} {
		m, err := convert.Open(filepath.Join(fixtures, dir), convert.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer m.Close()
		d, err := transformer.New(m)
		if err != nil {
			t.Fatal(err)
		}
		ids := make([]int, n)
		for i := range ids {
			ids[i] = i * i % m.Spec.Vocab
		}
		logits := func(c *transformer.Cache, ids []int) []float32 {
			h, err := d.Feed(t.Context(), c, ids, 100)
			if err != nil {
				t.Fatal(err)
			}
			row := make([]float32, m.Spec.Vocab)
			if err := h.Logits(t.Context(), row, len(ids)-1, 1); err != nil {
				t.Fatal(err)
			}
			return row
		}
		cache := func() *transformer.Cache {
			c, err := d.NewCache(n)
			if err != nil {
				t.Fatal(err)
			}
			return c
		}
		h, err := d.Forward(t.Context(), cache(), ids)
		if err != nil {
			t.Fatal(err)
		}
		want := make([]float32, m.Spec.Vocab)
		if err := h.Logits(t.Context(), want, n-1, 1); err != nil {
			t.Fatal(err)
		}
		c := cache()
		logits(c, ids)
		if got := c.Truncate(n - 5); got != n-5 || !slices.Equal(logits(c, ids[n-5:]), want) {
			t.Errorf("%s: back to %d: %d, or other logits", dir, n-5, got)
		}
		if got := c.Truncate(7); got != 0 || !slices.Equal(logits(c, ids), want) {
			t.Errorf("%s: back to 7: %d, or other logits", dir, got)
		}
		keys := int64(n) * transformer.PositionBytes(&m.Spec)
		if most := keys + 2*transformer.FixedBytes(&m.Spec); c.Bytes() > most {
			t.Errorf("%s: the cache takes %d bytes, want at most %d", dir, c.Bytes(), most)
		}
	}
}
