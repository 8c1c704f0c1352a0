package verify

import (
	"context"
	"slices"
)

// Remember returns a Subject that scores as s does and keeps what s made of the
// first prompts, of so many positions together, so that several models can be
// compared with one reference that runs once. The Logits of s must stay valid
// beyond the next Score, as those of NewSubject do: they hold Hidden float32 of a
// position.
func Remember(s Subject, positions int) Subject {
	return &remembering{Subject: s, left: positions}
}

type remembering struct {
	Subject
	left int
	kept []struct {
		ids []int
		Logits
	}
}

func (r *remembering) Score(ctx context.Context, ids []int) (Logits, error) {
	for _, k := range r.kept {
		if slices.Equal(k.ids, ids) {
			return k.Logits, nil
		}
	}
	l, err := r.Subject.Score(ctx, ids)
	if err == nil && len(ids) <= r.left {
		r.left -= len(ids)
		r.kept = append(r.kept, struct {
			ids []int
			Logits
		}{slices.Clone(ids), l})
	}
	return l, err
}
