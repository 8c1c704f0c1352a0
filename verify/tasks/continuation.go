package tasks

import (
	"context"
	"slices"

	"thimble/internal/logits"
	"thimble/verify/metric"
	"thimble/verify/reference"
)

// Continuations compares how reference and model continue the first half of each
// prompt if they take the likeliest token each time.
type Continuations struct {
	Tokens      int          `json:"tokens"`             // of each
	Prefixes    []int        `json:"prefixes"`           // for each prompt, the number of tokens before the first that differs
	Divergences []Divergence `json:"partings,omitempty"` // the earliest first
}

// A Divergence is the point at which two continuations first differ.
type Divergence struct {
	Prompt        int           `json:"prompt"`
	Prefix        int           `json:"prefix"`         // number of equal tokens before it
	Before        []int         `json:"before"`         // the last few ids before it
	Text          string        `json:"text,omitempty"` // of Before
	Reference     metric.Choice `json:"reference"`      // the reference's token
	Model         metric.Choice `json:"model"`          // the model's
	ReferenceText string        `json:"reference_text,omitempty"`
	ModelText     string        `json:"model_text,omitempty"` // what each continues with
}

const (
	listedDivergences = 10 // most Divergences in Continuations
	contextTokens     = 16 // most ids in Divergence.Before
	continuedTokens   = 16 // most tokens of each text after a Divergence
)

// continuations lets both models continue the prompts.
func (b *Behaviour) continuations(ctx context.Context, prompts []reference.Prompt, text func([]int) string, progress func()) (*Continuations, error) {
	c := &Continuations{Tokens: b.Continue, Prefixes: make([]int, len(prompts))}
	for i := range prompts {
		d, err := b.diverge(ctx, prompts[i].IDs[:prompts[i].From], text)
		if err != nil {
			return nil, err
		}
		if c.Prefixes[i] = b.Continue; d != nil {
			c.Prefixes[i], d.Prompt = d.Prefix, i
			c.Divergences = append(c.Divergences, *d)
		}
		progress()
	}
	slices.SortStableFunc(c.Divergences, func(a, b Divergence) int { return a.Prefix - b.Prefix })
	c.Divergences = c.Divergences[:min(len(c.Divergences), listedDivergences)]
	return c, nil
}

// diverge continues a prompt until the two models differ, and returns nil if they do
// not. A token that ends a text is compared like any other, and is the last.
func (b *Behaviour) diverge(ctx context.Context, prompt []int, text func([]int) string) (*Divergence, error) {
	ids := slices.Clone(prompt)
	for n := range b.Continue {
		want, err := b.Reference.Logits(ctx, ids)
		if err != nil {
			return nil, err
		}
		got, err := b.Model.Logits(ctx, ids)
		if err != nil {
			return nil, err
		}
		theirs, ours := logits.Argmax(want), logits.Argmax(got)
		if theirs != ours {
			d := &Divergence{
				Prefix: n, Before: slices.Clone(ids[max(0, len(ids)-contextTokens):]),
				Reference: metric.ChoiceOf(theirs, want, got), Model: metric.ChoiceOf(ours, want, got),
			}
			return d, b.spell(ctx, d, ids, min(continuedTokens, b.Continue-n), text)
		}
		if ids = append(ids, ours); b.Reference.Ends(ours) {
			break
		}
	}
	return nil, nil
}

// spell adds to d, which follows ids, the text of up to n tokens of each
// continuation.
func (b *Behaviour) spell(ctx context.Context, d *Divergence, ids []int, n int, text func([]int) string) error {
	if text == nil {
		return nil
	}
	d.Text = text(d.Before)
	for _, side := range []struct {
		g    *Generator
		c    *metric.Choice
		text *string
	}{{b.Reference, &d.Reference, &d.ReferenceText}, {b.Model, &d.Model, &d.ModelText}} {
		side.c.Text = text([]int{side.c.ID})
		all := append(slices.Clone(ids), side.c.ID)
		for len(all) < len(ids)+n && !side.g.Ends(all[len(all)-1]) {
			row, err := side.g.Logits(ctx, all)
			if err != nil {
				return err
			}
			all = append(all, logits.Argmax(row))
		}
		*side.text = text(all[len(ids):])
	}
	return nil
}

// addContinuations adds c and its metrics.
func (o *Outcome) addContinuations(c *Continuations, seed uint64) {
	o.Continuations = c
	lengths, whole := make([]float64, len(c.Prefixes)), make([]float64, len(c.Prefixes))
	for i, n := range c.Prefixes {
		lengths[i] = float64(n)
		if n == c.Tokens {
			whole[i] = 1
		}
	}
	o.Metrics.PrefixMean, o.Metrics.PrefixWhole = metric.Value(metric.Mean(lengths)), metric.Value(metric.Mean(whole))
	o.addInterval("prefix_mean", lengths, 0, float64(c.Tokens), seed)
	o.addInterval("prefix_whole", whole, 0, 1, seed)
	slices.Sort(lengths)
	o.Metrics.PrefixMedian = metric.Value(metric.Quantile(lengths, 0.5))
}
