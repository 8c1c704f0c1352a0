package verify

import (
	"cmp"
	"slices"

	"thimble/verify/metric"
)

const (
	listedTokens  = 10 // of each list of positions in a report
	contextTokens = 16 // ids before a listed position
)

// A Token is one scored position with the predictions of both models.
type Token struct {
	Prompt    int           `json:"prompt"`
	Position  int           `json:"position"`
	KL        metric.Value  `json:"kl"`
	Before    []int         `json:"before"`         // the last few ids, up to and including this position's
	Text      string        `json:"text,omitempty"` // of Before
	Next      int           `json:"next"`           // the id that follows, -1 at the end
	NextText  string        `json:"next_text,omitempty"`
	Reference metric.Choice `json:"reference"` // the reference's first choice
	Model     metric.Choice `json:"model"`     // the model's
}

// Flips are the positions where the model's first choice is not the reference's.
type Flips struct {
	Count int     `json:"count"`
	Worst []Token `json:"worst"` // those where the reference prefers its own choice most
}

// A position is a scored position: a prompt, and the index of its score.
type position struct {
	prompt, at int
	score      *metric.Score
}

// preference returns how much the reference prefers its own first choice to the
// model's.
func (p position) preference() float64 {
	if q := p.score.Model.PReference; q.Known() {
		return float64(p.score.Reference.PReference - q)
	}
	return float64(p.score.Reference.PReference)
}

// worst counts the positions that rate accepts, and describes those that it rates
// highest. Of equal ones it takes the first in the text.
func (r *run) worst(rate func(position) (by float64, ok bool), text func([]int) string) (count int, tokens []Token) {
	type rated struct {
		position
		by float64
	}
	var all []rated
	for i := range r.prompts {
		for at := range r.prompts[i].scores {
			p := position{i, at, &r.prompts[i].scores[at]}
			if by, ok := rate(p); ok {
				all = append(all, rated{p, by})
			}
		}
	}
	slices.SortStableFunc(all, func(a, b rated) int { return cmp.Compare(b.by, a.by) })
	tokens = make([]Token, min(len(all), listedTokens))
	for i := range tokens {
		tokens[i] = r.token(all[i].position, text)
	}
	return len(all), tokens
}

// token describes p, with its text unless text is nil.
func (r *run) token(p position, text func([]int) string) Token {
	prompt := &r.prompts[p.prompt]
	at := prompt.from + p.at
	t := Token{
		Prompt: p.prompt, Position: at, KL: metric.Value(p.score.KL), Next: -1, Reference: p.score.Reference, Model: p.score.Model,
		Before: slices.Clone(prompt.ids[max(0, at+1-contextTokens) : at+1]),
	}
	if at+1 < len(prompt.ids) {
		t.Next = prompt.ids[at+1]
	}
	if text != nil {
		t.Text = text(t.Before)
		t.Reference.Text, t.Model.Text = text([]int{t.Reference.ID}), text([]int{t.Model.ID})
		if t.Next >= 0 {
			t.NextText = text([]int{t.Next})
		}
	}
	return t
}

// addTokens adds flips and worst positions to the report of a comparison.
func (r *run) addTokens(rep *Report, text func([]int) string) {
	if !rep.Metrics.KLMean.Known() {
		return
	}
	rep.Flips = &Flips{}
	rep.Flips.Count, rep.Flips.Worst = r.worst(func(p position) (float64, bool) { return p.preference(), !p.score.Top1 }, text)
	_, rep.WorstTokens = r.worst(func(p position) (float64, bool) { return p.score.KL, p.score.KL > 0 }, text)
}
