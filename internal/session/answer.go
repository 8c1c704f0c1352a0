package session

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"thimble/internal/generate"
	"thimble/internal/logits"
	"thimble/internal/tokenizer"
)

// Request says how to answer.
type Request struct {
	generate.Sampling
	Tokens   int      // generate at most so many; 0 means up to the end of the context
	Stop     []string // end before one of these texts
	Special  bool     // special tokens are part of the text, and only the model's end tokens end it
	Keep     []int    // so are these, whatever Special is
	Logprobs bool     // report the log-probability of each token
	Top      int      // and of so many of the most likely ones
}

// The reasons why an answer ends.
const (
	Stop    = "stop"    // the model ended it, or a text of Request.Stop occurred
	Length  = "length"  // it has Request.Tokens tokens
	Context = "context" // the context is full
)

// A Piece is a part of an answer.
type Piece struct {
	Text   string // whole characters
	Tokens []Token
}

// A Token is a token of an answer.
type Token struct {
	ID      int
	Logprob float64 // natural, before Sampling; if Request.Logprobs is set
	Top     []Likely
}

// Likely is one of the most likely tokens.
type Likely struct {
	ID      int
	Logprob float64
}

// An Answer is what a Session generates after a prompt.
type Answer struct {
	Reason string // after the last Piece
	IDs    []int  // so far, without the token that ended it

	s       *Session
	r       Request
	prompt  int
	all     []int
	sampler *generate.Sampler
	stream  *tokenizer.Stream
	held    string // text that may be the start of a text of Request.Stop
	tokens  []Token
	done    bool
}

// A ContextError reports a prompt that does not fit the context.
type ContextError struct{ Tokens, Context int }

func (e *ContextError) Error() string {
	return fmt.Sprintf("the prompt has %d tokens and leaves no room for an answer in the context of %d", e.Tokens, e.Context)
}

// prefillStep is how many tokens of a prompt are computed at a time, so that other
// sessions and the end of a context wait no longer than that.
const prefillStep = 256

// Begin starts an answer to the prompt ids, which must not be empty. It ends the answer
// before.
func (s *Session) Begin(ids []int, r Request) (*Answer, error) {
	if err := r.Check(); err != nil {
		return nil, err
	}
	if len(ids) >= s.engine.Context {
		return nil, &ContextError{len(ids), s.engine.Context}
	}
	a := &Answer{s: s, r: r, prompt: len(ids), all: slices.Clone(ids), sampler: generate.NewSampler(r.Sampling), stream: s.engine.tok.Stream(ids)}
	a.sampler.See(ids...)
	return a, nil
}

// Next returns the next part of the answer, or io.EOF after the last one.
func (a *Answer) Next(ctx context.Context) (Piece, error) {
	for !a.done {
		text, err := a.step(ctx)
		if err != nil {
			return Piece{}, err
		}
		if p := a.release(text); p.Text != "" || a.done && len(p.Tokens) > 0 {
			return p, nil
		}
	}
	return Piece{}, io.EOF
}

// step generates a token and returns its text.
func (a *Answer) step(ctx context.Context) (text string, err error) {
	switch {
	case a.r.Tokens > 0 && len(a.IDs) == a.r.Tokens:
		a.end(Length)
		return string(a.stream.Flush()), nil
	case len(a.all) == a.s.engine.Context:
		a.end(Context)
		return string(a.stream.Flush()), nil
	}
	if len(a.IDs) == 0 {
		if err := a.prefill(ctx); err != nil {
			return "", err
		}
	}
	var t Token
	err = a.s.engine.compute(ctx, func() error {
		row, err := a.s.g.Logits(ctx, a.all)
		if err == nil {
			t = a.pick(row)
		}
		return err
	})
	if err != nil {
		return "", err
	}
	ends := a.s.engine.ends
	if a.r.Special { // a text, not a turn
		ends = a.s.g.Spec().EOS
	}
	if slices.Contains(ends, t.ID) {
		a.end(Stop)
		return string(a.stream.Flush()), nil
	}
	a.all = append(a.all, t.ID)
	a.IDs = a.all[a.prompt:]
	if a.r.Logprobs {
		a.tokens = append(a.tokens, t)
	}
	if a.s.engine.tok.IsSpecial(t.ID) && !a.r.Special && !slices.Contains(a.r.Keep, t.ID) {
		return "", nil
	}
	return string(a.stream.Add(t.ID)), nil
}

func (a *Answer) end(reason string) { a.Reason, a.done = reason, true }

// prefill computes the prompt in steps.
func (a *Answer) prefill(ctx context.Context) error {
	last := a.prompt - 1
	for at := a.s.g.Shared(a.all[:last]); at < last; {
		at = min(last, at+prefillStep)
		if err := a.s.engine.compute(ctx, func() error { return a.s.g.Prefill(ctx, a.all[:at]) }); err != nil {
			return err
		}
	}
	return nil
}

// pick chooses a token.
func (a *Answer) pick(row []float32) (t Token) {
	if !a.r.Logprobs {
		t.ID = a.sampler.Pick(row)
		return t
	}
	lse := logits.LogSumExp(row, nil)
	for _, id := range largest(row, a.r.Top) {
		t.Top = append(t.Top, Likely{id, float64(row[id]) - lse})
	}
	raw := slices.Clone(row) // Pick may change it
	t.ID = a.sampler.Pick(row)
	t.Logprob = float64(raw[t.ID]) - lse
	return t
}

// largest returns the indices of the n largest elements, in descending order.
func largest(row []float32, n int) (ids []int) {
	order := func(a, b int) int { return cmp.Or(cmp.Compare(row[b], row[a]), cmp.Compare(a, b)) }
	for id := range row {
		if len(ids) == n && (n == 0 || order(id, ids[n-1]) > 0) {
			continue
		}
		at, _ := slices.BinarySearchFunc(ids, id, order)
		ids = slices.Insert(ids, at, id)
		ids = ids[:min(n, len(ids))]
	}
	return ids
}

// release adds text to what is held back and returns what no stop text can begin in.
func (a *Answer) release(text string) (p Piece) {
	a.held += text
	cut, hold := -1, 0
	for _, stop := range a.r.Stop {
		if at := strings.Index(a.held, stop); stop != "" && at >= 0 && (cut < 0 || at < cut) {
			cut = at
		}
		for n := min(len(a.held), len(stop)-1); n > hold; n-- {
			if strings.HasSuffix(a.held, stop[:n]) {
				hold = n
			}
		}
	}
	switch {
	case cut >= 0:
		a.held = a.held[:cut]
		a.end(Stop)
		hold = 0
	case a.done:
		hold = 0
	}
	p.Text, a.held = a.held[:len(a.held)-hold], a.held[len(a.held)-hold:]
	if p.Text != "" || a.done {
		p.Tokens, a.tokens = a.tokens, nil
	}
	return p
}
