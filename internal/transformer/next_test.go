package transformer_test

import (
	"slices"
	"testing"

	"thimble/internal/transformer"
)

// Next gives the bits of Forward and Logits, and allocates nothing once the cache has room.
func TestNext(t *testing.T) {
	for _, c := range []struct{ dir, scheme, activations, kv string }{
		{"llama-tied", "bf16", "", ""},
		{"trained", "int4/g32", "int8", ""},
		{"llama-tied", "int5/g32/asym", "int8", "int8"},
		{"gemma3", "int8/g32", "int8", ""},
		{"phi", "int4/g32", "", "k8v4"},
		{"families/falcon_h1", "bf16", "", ""},
		{"families/granitemoehybrid", "int8/g32", "int8", "k8v4"},
		{"families/falcon_h1-normed", "int4/g32", "int8", "int8"},
	} {
		m := integers(t, c.dir, c.scheme)
		d, err := transformer.NewWith(m, arithmetic(t, c.activations, c.kv))
		if err != nil {
			t.Fatal(err)
		}
		const n = 40
		ids, v := someTexts(&m.Spec)[0], m.Spec.Vocab
		for len(ids) < n {
			ids = append(ids, ids...)
		}
		ids = ids[:n]
		whole, err := d.NewCache(n)
		if err != nil {
			t.Fatal(err)
		}
		h, err := d.Forward(t.Context(), whole, ids)
		if err != nil {
			t.Fatal(err)
		}
		want := make([]float32, n*v)
		if err := h.Logits(t.Context(), want, 0, n); err != nil {
			t.Fatal(err)
		}
		cache, err := d.NewCache(n)
		if err != nil {
			t.Fatal(err)
		}
		got := make([]float32, v)
		at := 0
		next := func() {
			if err := d.Next(t.Context(), cache, ids[at], got); err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(got, want[at*v:][:v]) {
				t.Fatalf("%v: the logits of position %d differ", c, at)
			}
			at++
		}
		for range 33 { // the cache has room for 40 from here on
			next()
		}
		if testing.Short() {
			continue // the race detector empties pools
		}
		if allocated := testing.AllocsPerRun(5, next); allocated != 0 {
			t.Errorf("%v: a token allocates %v times", c, allocated)
		}
	}
}
