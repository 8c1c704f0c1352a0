package verify

import (
	"cmp"
	"slices"
)

// How many positions a report lists, and how many token ids before each.
const (
	listedTokens  = 10
	contextTokens = 16
)

// A Token is one scored position, with what the two models made of it.
type Token struct {
	Prompt    int    `json:"prompt"`
	Position  int    `json:"position"`
	KL        Value  `json:"kl"`
	Before    []int  `json:"before"`         // ids up to and with that of the position, the last few
	Text      string `json:"text,omitempty"` // of Before
	Next      int    `json:"next"`           // the id that follows, -1 at the end
	NextText  string `json:"next_text,omitempty"`
	Reference Choice `json:"reference"` // the reference's first choice
	Model     Choice `json:"model"`     // the model's
}

// A Choice is a token that may come next.
type Choice struct {
	ID         int    `json:"id"`
	Text       string `json:"text,omitempty"`
	PReference Value  `json:"p_reference"` // its probability there; null where a compact reference left it out
	PModel     Value  `json:"p_model"`
}

// Flips are the positions where the model's first choice is not the reference's.
type Flips struct {
	Count int     `json:"count"`
	Worst []Token `json:"worst"` // those where the reference was surest that its own is the better one
}

// place is a position by prompt and index of its score.
type place struct {
	prompt, at int
	s          *score
}

// lost is by how much the reference prefers its own first choice to the model's.
func (p place) lost() float64 {
	if q := p.s.model.PReference; q.Known() {
		return float64(p.s.reference.PReference - q)
	}
	return float64(p.s.reference.PReference)
}

// worst counts the places that of takes and describes those with its largest
// numbers, of equals the first ones in the text.
func (r *run) worst(of func(place) (float64, bool), text func([]int) string) (count int, tokens []Token) {
	type rated struct {
		place
		by float64
	}
	var all []rated
	for i := range r.prompts {
		for at := range r.prompts[i].scores {
			p := place{i, at, &r.prompts[i].scores[at]}
			if by, ok := of(p); ok {
				all = append(all, rated{p, by})
			}
		}
	}
	slices.SortStableFunc(all, func(a, b rated) int { return cmp.Compare(b.by, a.by) })
	tokens = make([]Token, min(len(all), listedTokens))
	for i := range tokens {
		tokens[i] = r.token(all[i].place, text)
	}
	return len(all), tokens
}

// token describes p, in words where text is not nil.
func (r *run) token(p place, text func([]int) string) Token {
	prompt := &r.prompts[p.prompt]
	position := prompt.from + p.at
	t := Token{
		Prompt: p.prompt, Position: position, KL: Value(p.s.kl), Next: -1, Reference: p.s.reference, Model: p.s.model,
		Before: slices.Clone(prompt.ids[max(0, position+1-contextTokens) : position+1]),
	}
	if position+1 < len(prompt.ids) {
		t.Next = prompt.ids[position+1]
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

// tokens adds flips and worst positions to the report of a comparison.
func (r *run) tokens(rep *Report, text func([]int) string) {
	if !rep.Metrics.KLMean.Known() {
		return
	}
	rep.Flips = &Flips{}
	rep.Flips.Count, rep.Flips.Worst = r.worst(func(p place) (float64, bool) { return p.lost(), !p.s.top1 }, text)
	_, rep.WorstTokens = r.worst(func(p place) (float64, bool) { return p.s.kl, p.s.kl > 0 }, text)
}
