package verify

import (
	"context"
	"slices"
)

// Continuations are what reference and model go on with after the first half of
// each prompt, taking the likeliest token each time.
type Continuations struct {
	Tokens   int       `json:"tokens"`             // of each
	Prefixes []int     `json:"prefixes"`           // of each prompt: tokens that are the same before the first that is not
	Partings []Parting `json:"partings,omitempty"` // the earliest first
}

// A Parting is where two continuations part.
type Parting struct {
	Prompt        int    `json:"prompt"`
	Prefix        int    `json:"prefix"`         // tokens that are the same
	Before        []int  `json:"before"`         // ids up to there, the last few
	Text          string `json:"text,omitempty"` // of Before
	Reference     Choice `json:"reference"`      // the reference's token
	Model         Choice `json:"model"`          // the model's
	ReferenceText string `json:"reference_text,omitempty"`
	ModelText     string `json:"model_text,omitempty"` // what each goes on with
}

// partedTokens is how many tokens of each text are shown where they part.
const partedTokens = 16

// continuations lets both models continue the prompts.
func (b *Behaviour) continuations(ctx context.Context, prompts []Prompt, text func([]int) string, progress func()) (*Continuations, error) {
	c := &Continuations{Tokens: b.Continue, Prefixes: make([]int, len(prompts))}
	for i := range prompts {
		p, err := b.part(ctx, prompts[i].IDs[:prompts[i].From], text)
		if err != nil {
			return nil, err
		}
		if c.Prefixes[i] = b.Continue; p != nil {
			c.Prefixes[i], p.Prompt = p.Prefix, i
			c.Partings = append(c.Partings, *p)
		}
		progress()
	}
	slices.SortStableFunc(c.Partings, func(a, b Parting) int { return a.Prefix - b.Prefix })
	c.Partings = c.Partings[:min(len(c.Partings), listedTokens)]
	return c, nil
}

// part continues a prompt to where the two models part; nil if they do not. A
// token that ends a text is one like any other, and the last.
func (b *Behaviour) part(ctx context.Context, prompt []int, text func([]int) string) (*Parting, error) {
	ids := slices.Clone(prompt)
	for n := range b.Continue {
		want, err := b.Reference.logits(ctx, ids)
		if err != nil {
			return nil, err
		}
		got, err := b.Model.logits(ctx, ids)
		if err != nil {
			return nil, err
		}
		theirs, _ := argmax(want)
		ours, _ := argmax(got)
		if theirs != ours {
			p := &Parting{
				Prefix: n, Before: slices.Clone(ids[max(0, len(ids)-contextTokens):]),
				Reference: choiceOf(theirs, want, got), Model: choiceOf(ours, want, got),
			}
			return p, b.spell(ctx, p, ids, min(partedTokens, b.Continue-n), text)
		}
		if ids = append(ids, ours); b.Reference.ends(ours) {
			break
		}
	}
	return nil, nil
}

// spell adds the texts of p, up to n tokens of each continuation.
func (b *Behaviour) spell(ctx context.Context, p *Parting, ids []int, n int, text func([]int) string) error {
	if text == nil {
		return nil
	}
	p.Text = text(p.Before)
	for _, side := range []struct {
		s    *Speaker
		c    *Choice
		text *string
	}{{b.Reference, &p.Reference, &p.ReferenceText}, {b.Model, &p.Model, &p.ModelText}} {
		side.c.Text = text([]int{side.c.ID})
		said := append(slices.Clone(ids), side.c.ID)
		for len(said) < len(ids)+n && !side.s.ends(said[len(said)-1]) {
			next, err := side.s.next(ctx, said)
			if err != nil {
				return err
			}
			said = append(said, next)
		}
		*side.text = text(said[len(ids):])
	}
	return nil
}
