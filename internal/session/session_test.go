package session

import (
	"errors"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"thimble/convert"
	"thimble/internal/chat"
	"thimble/internal/logits"
	"thimble/internal/model"
	"thimble/internal/tokenizer"
)

const template = "{% for m in messages %}<{{ m.role }}>{{ m.content }}\n{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}"

func open(t *testing.T, template string) *Engine {
	t.Helper()
	return openChanged(t, func(_ *model.Model, d *tokenizer.Data) { d.ChatTemplate = template })
}

func openChanged(t *testing.T, change func(m *model.Model, d *tokenizer.Data)) *Engine {
	t.Helper()
	m, err := convert.Open(filepath.Join("../../fixtures", "trained"), convert.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	d, err := m.Tokenizer()
	if err != nil {
		t.Fatal(err)
	}
	change(m, d)
	e, err := New(t.Context(), m, Options{Context: 200})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Close)
	return e
}

// The token after an answer in a chat template ends answers, also in that of tools.
func TestTurnEnds(t *testing.T) {
	const ends, other = "{% for m in messages %}{{ m.content }}<|endoftext|>{% endfor %}", "{% for m in messages %}{{ m.content }}\n{% endfor %}"
	for _, tt := range []struct{ chat, tools string }{{ends, ""}, {other, ends}, {"", ends}} {
		e := openChanged(t, func(m *model.Model, d *tokenizer.Data) {
			m.Spec.EOS = nil
			d.ChatTemplate, d.ToolTemplate = tt.chat, tt.tools
		})
		if !slices.Equal(e.ends, []int{0}) {
			t.Errorf("%q, for tools %q: %v end an answer, want 0", tt.chat, tt.tools, e.ends)
		}
	}
}

// A template that asks for the date gets that of the clock, and without one that of calibration.
func TestDate(t *testing.T) {
	e := open(t, "{{ strftime_now('%d %b %Y') }}")
	date := time.Date(2031, time.March, 9, 23, 0, 0, 0, time.UTC)
	for want, clock := range map[string]func() time.Time{"26 Jul 2024": nil, "09 Mar 2031": func() time.Time { return date }} {
		e.now = clock
		ids, err := e.Prompt(t.Context(), chat.Conversation{Messages: []chat.Message{chat.NewMessage("user", "x")}})
		if got := string(e.tok.Decode(ids)); got != want || err != nil {
			t.Errorf("%q, %v, want %q", got, err, want)
		}
	}
}

func newSession(t *testing.T, e *Engine) *Session {
	t.Helper()
	s, err := e.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// finish returns the whole text of an answer.
func finish(t *testing.T, next func() (string, error)) string {
	t.Helper()
	var b strings.Builder
	for {
		text, err := next()
		b.WriteString(text)
		if errors.Is(err, io.EOF) {
			return b.String()
		} else if err != nil {
			t.Fatal(err)
		}
	}
}

func text(t *testing.T, a *Answer) string {
	return finish(t, func() (string, error) {
		p, err := a.Next(t.Context())
		return p.Text, err
	})
}

// A long prompt, computed in steps and beside another session, has the tokens that a
// plain loop generates.
func TestAnswer(t *testing.T) {
	e := open(t, template)
	prompt, err := e.Encode(t.Context(), "package main\n\nfunc main() {", true)
	if err != nil {
		t.Fatal(err)
	}
	s, other := newSession(t, e), newSession(t, e)
	a, err := s.Begin(prompt, Request{Tokens: 30})
	if err != nil {
		t.Fatal(err)
	}
	b, err := other.Begin(prompt[:3], Request{Tokens: 30})
	if err != nil {
		t.Fatal(err)
	}
	for range 5 {
		if _, err := a.Next(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, err := b.Next(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	text(t, a)
	want, err := newSession(t, e).g.Continue(t.Context(), prompt, 30, logits.Argmax, nil)
	if err != nil || !slices.Equal(a.IDs, want) || a.Reason != Length {
		t.Errorf("%v (%s), %v; want %v", a.IDs, a.Reason, err, want)
	}
}

// A text to stop at never appears, not even its start, and the rest of the answer does.
func TestStopText(t *testing.T) {
	e := open(t, template)
	s := newSession(t, e)
	prompt, err := e.Encode(t.Context(), "The ", true)
	if err != nil {
		t.Fatal(err)
	}
	begin := func(r Request) string {
		r.Tokens = 40
		a, err := s.Begin(prompt, r)
		if err != nil {
			t.Fatal(err)
		}
		return text(t, a)
	}
	all := begin(Request{})
	for _, stop := range []string{all[9:14], all[5:6], all[len(all)-3:]} {
		want, _, _ := strings.Cut(all, stop)
		if got := begin(Request{Stop: []string{"never\x00", stop}}); got != want {
			t.Errorf("stop %q: %q, want %q", stop, got, want)
		}
	}
	if got := begin(Request{Stop: []string{all[:3] + "\x00", all + "x"}}); got != all {
		t.Errorf("%q, want all of %q", got, all)
	}
}

// The second turn computes only what is new, and says what one that computes all says.
func TestTurns(t *testing.T) {
	e := open(t, template)
	c := newSession(t, e).NewChat("Be brief.")
	r := Request{Tokens: 12}
	next := func() (string, error) { return c.Next(t.Context()) }
	if err := c.Say(t.Context(), "What is a map?", r); err != nil {
		t.Fatal(err)
	}
	finish(t, next)
	if err := c.Say(t.Context(), "And a slice?", r); err != nil {
		t.Fatal(err)
	}
	shared := c.s.Shared(c.answer.all)
	second := finish(t, next)
	if shared < 20 {
		t.Errorf("the second turn shares %d tokens with the first, want its prompt", shared)
	}
	again := newSession(t, e).NewChat("Be brief.")
	again.Messages = c.Messages[:3]
	if err := again.Say(t.Context(), "And a slice?", r); err != nil {
		t.Fatal(err)
	}
	if got := finish(t, func() (string, error) { return again.Next(t.Context()) }); got != second || len(c.Messages) != 5 {
		t.Errorf("%q, want %q; %d messages", got, second, len(c.Messages))
	}
	var full *ContextError
	if err := c.Say(t.Context(), strings.Repeat("long ", 200), r); !errors.As(err, &full) || len(c.Messages) != 5 {
		t.Errorf("%v with %d messages, want a ContextError and 5", err, len(c.Messages))
	}
	if err := c.Say(t.Context(), "More?", Request{}); err != nil {
		t.Fatal(err)
	}
	a := c.answer
	if finish(t, next); a.Reason != Context || len(a.all) != e.Context {
		t.Errorf("an answer without a limit ends by %q after %d positions, want the context", a.Reason, len(a.all))
	}
}

// The log-probabilities of all tokens are those of the softmax, and the most likely
// tokens come first.
func TestLogprobs(t *testing.T) {
	e := open(t, template)
	s := newSession(t, e)
	a, err := s.Begin([]int{5, 6, 7}, Request{Tokens: 3, Logprobs: true, Top: 2})
	if err != nil {
		t.Fatal(err)
	}
	var tokens []Token
	for {
		p, err := a.Next(t.Context())
		if err != nil {
			break
		}
		tokens = append(tokens, p.Tokens...)
	}
	if len(tokens) != 3 {
		t.Fatalf("%d tokens, want 3", len(tokens))
	}
	ids := []int{5, 6, 7}
	for _, token := range tokens {
		want, err := newSession(t, e).g.LogLikelihood(t.Context(), append(slices.Clone(ids), token.ID), len(ids))
		if err != nil || want != token.Logprob || token.Top[0].ID != token.ID || token.Top[0].Logprob < token.Top[1].Logprob {
			t.Errorf("%+v, want %g, %v", token, want, err)
		}
		ids = append(ids, token.ID)
	}
}

func TestNoTemplate(t *testing.T) {
	m := &model.Model{Path: "m"}
	e := &Engine{model: m, noTemplate: errors.New("there is none")}
	if _, err := e.Prompt(t.Context(), chat.Conversation{}); !errors.Is(err, ErrTemplate) || !strings.Contains(err.Error(), "there is none") {
		t.Error(err)
	}
}

// A template that writes nothing leaves no token to continue.
func TestEmptyPrompt(t *testing.T) {
	c := newSession(t, open(t, "{{ messages[-1].content }}")).NewChat("")
	if err := c.Say(t.Context(), "", Request{Tokens: 1}); !errors.Is(err, ErrTemplate) || !strings.Contains(err.Error(), "makes an empty prompt") {
		t.Error(err)
	}
	if err := c.Say(t.Context(), "The", Request{Tokens: 1}); err != nil {
		t.Error(err)
	}
}
