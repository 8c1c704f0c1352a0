package verify

import (
	"context"
	"testing"

	"github.com/google/go-cmp/cmp"

	"thimble/convert"
)

// A counting subject knows how often it was asked.
type counting struct {
	Subject
	scored int
}

func (c *counting) Score(ctx context.Context, ids []int) (Logits, error) {
	c.scored++
	return c.Subject.Score(ctx, ids)
}

func TestRemember(t *testing.T) {
	m, err := convert.Open("../fixtures/llama-tied", convert.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	s, err := NewSubject(m, 0)
	if err != nil {
		t.Fatal(err)
	}
	ids := make([]int, 48)
	for i := range ids {
		ids[i] = i * 7 % m.Spec.Vocab
	}
	prompts, err := TextPrompts(ids, 16, 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	once := &counting{Subject: s}
	ref := Remember(once, 32) // room for two of the three
	var reports []*Report
	for range 3 {
		r, err := Run(t.Context(), ref, s, prompts, Options{})
		if err != nil {
			t.Fatal(err)
		}
		reports = append(reports, r)
	}
	if once.scored != 3+1+1 {
		t.Errorf("scored %d prompts, want 5", once.scored)
	}
	for _, r := range reports {
		if diff := cmp.Diff(reports[0].Metrics.PPLReference, r.Metrics.PPLReference); diff != "" || r.Metrics.KLMean != 0 || r.Metrics.MaxAbs != 0 {
			t.Errorf("%+v %s", r.Metrics, diff)
		}
	}
}
