// Package session answers prompts and conversations with a model that several of them
// share. An Engine has the model; each Session has a KV cache of its own, which it keeps
// between turns.
package session

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"thimble/internal/chat"
	"thimble/internal/defect"
	"thimble/internal/generate"
	"thimble/internal/model"
	"thimble/internal/parallel"
	"thimble/internal/texts"
	"thimble/internal/tokenizer"
	"thimble/internal/transformer"
)

// Options are those of an Engine.
type Options struct {
	Arithmetic transformer.Arithmetic
	Integers   bool     // round activations to int8 if the model has layers that are stored as integers
	Context    int      // positions of a Session at most; 0 means the model's context
	Render     []string // the program that runs chat.Serve; see chat.NewRenderer

	// Now is the clock for chat templates, many of which tell the model the date. Without one the
	// date is that of calibration, the same on any day.
	Now func() time.Time

	// Progress, if not nil, is called while the weights are compared with their checksums, in
	// bytes.
	Progress func(done, total int64)
}

// An Engine holds a model and its chat template. It is safe for concurrent use.
type Engine struct {
	Context int // positions of a Session at most

	model      *model.Model
	tok        *tokenizer.Tokenizer
	data       *tokenizer.Data
	renderer   *chat.Renderer // nil if noTemplate is not
	noTemplate error
	now        func() time.Time // may be nil
	arithmetic transformer.Arithmetic
	ends       []int         // tokens that end an answer
	turn       chan struct{} // held by the Session that computes: it uses all cores
}

// New returns an Engine for m, after it has found no damage in the weights. The Engine uses
// m until Close, which leaves m open.
func New(ctx context.Context, m *model.Model, o Options) (*Engine, error) {
	var e *Engine
	var plain *model.Model
	err := parallel.Both(ctx, func() (err error) {
		e, err = prepare(ctx, m, &o)
		return err
	}, func(ctx context.Context) (err error) {
		plain, err = generate.Ready(ctx, m, o.Progress)
		return err
	})
	if err != nil {
		if e != nil {
			e.Close()
		}
		return nil, err
	}
	e.model = plain
	return e, nil
}

// prepare returns an Engine for m.
func prepare(ctx context.Context, m *model.Model, o *Options) (*Engine, error) {
	tok, data, err := texts.Tokenizer(m)
	if err != nil {
		return nil, err
	}
	if o.Context < 0 || o.Context > m.Spec.Context {
		return nil, fmt.Errorf("%s: a context of %d positions is out of range, want 1 to %d", defect.Printable(m.Path), o.Context, m.Spec.Context)
	}
	if o.Context == 0 {
		o.Context = m.Spec.Context
	}
	o.Arithmetic.Activations.Int8 = o.Arithmetic.Activations.Int8 || o.Integers && transformer.HasIntegers(m)
	e := &Engine{Context: o.Context, model: m, tok: tok, data: data, arithmetic: o.Arithmetic, ends: slices.Clone(m.Spec.EOS), now: o.Now, turn: make(chan struct{}, 1)}
	if e.renderer, e.noTemplate = chat.NewRenderer(o.Render, data); e.noTemplate == nil {
		e.findTurnEnds(ctx)
	}
	return e, ctx.Err()
}

// findTurnEnds adds the special tokens that follow an answer in the chat templates, which
// not every config lists among those that end a text.
func (e *Engine) findTurnEnds(ctx context.Context) {
	const answer = "b04d answer 3f6e"
	c := chat.Conversation{Messages: []chat.Message{chat.NewMessage("user", "x"), chat.NewMessage("assistant", answer)}}
	e.findTurnEnd(ctx, c, answer)
	if e.data.ToolTemplate != "" {
		function := chat.Object{{Key: "name", Value: "f"}, {Key: "description", Value: ""}, {Key: "parameters", Value: chat.Object{}}}
		c.Tools = []any{chat.Object{{Key: "type", Value: "function"}, {Key: "function", Value: function}}}
		e.findTurnEnd(ctx, c, answer)
	}
}

// findTurnEnd adds the special token that follows an answer in a conversation.
func (e *Engine) findTurnEnd(ctx context.Context, c chat.Conversation, answer string) {
	text, err := e.renderer.Render(ctx, c)
	if err != nil {
		return // the template's error is that of the first conversation
	}
	_, after, _ := strings.Cut(text, answer)
	if ids := e.tok.Encode(strings.TrimSpace(after), false); len(ids) > 0 && e.tok.IsSpecial(ids[0]) && !slices.Contains(e.ends, ids[0]) {
		e.ends = append(e.ends, ids[0])
	}
}

// Close ends the process that renders, if there is one.
func (e *Engine) Close() {
	if e.renderer != nil {
		e.renderer.Close()
	}
}

// Model returns the model.
func (e *Engine) Model() *model.Model { return e.model }

// Template returns the source of the chat template, or "".
func (e *Engine) Template() string { return e.data.ChatTemplate }

// ToolTemplate returns the source of the chat template of conversations with tools, or "".
func (e *Engine) ToolTemplate() string { return cmp.Or(e.data.ToolTemplate, e.data.ChatTemplate) }

// ErrTemplate is wrapped by errors of a chat template, and of a model without one.
var ErrTemplate = errors.New("no prompt")

type templateError struct{ error }

func (templateError) Is(target error) bool { return target == ErrTemplate }
func (e templateError) Unwrap() error      { return e.error }

// Prompt returns the tokens of a conversation, which ends with the prompt for an answer.
func (e *Engine) Prompt(ctx context.Context, c chat.Conversation) ([]int, error) {
	if e.noTemplate != nil {
		return nil, templateError{fmt.Errorf("%s: %w", defect.Printable(e.model.Path), e.noTemplate)}
	}
	c.Generate = true
	if e.now != nil {
		c.Now = e.now()
	}
	text, err := e.renderer.Render(ctx, c)
	if err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, templateError{err}
	}
	ids, err := e.Encode(ctx, text, false)
	if err == nil && len(ids) == 0 {
		return nil, templateError{errors.New("the chat template makes an empty prompt of these messages; write more")}
	}
	return ids, err
}

// Encode returns the tokens of text, with those that start a text if special is set.
func (e *Engine) Encode(ctx context.Context, text string, special bool) ([]int, error) {
	ids, err := parallel.Await(ctx, func() ([]int, error) { return e.tok.Encode(text, special), nil })
	if err == nil && len(ids) == 0 && special {
		if e.model.Spec.BOS < 0 {
			return nil, errors.New("the prompt is empty and the model has no token that starts a text")
		}
		ids = []int{e.model.Spec.BOS}
	}
	return ids, err
}

// TokenText returns the bytes of a token.
func (e *Engine) TokenText(id int) []byte {
	text, _ := e.tok.Token(id)
	return text
}

// TokenID returns the id of the token with the given text, or -1.
func (e *Engine) TokenID(text string) int {
	if ids := e.tok.Encode(text, false); len(ids) == 1 {
		return ids[0]
	}
	return -1
}

// compute calls f while no other Session computes.
func (e *Engine) compute(ctx context.Context, f func() error) error {
	select {
	case e.turn <- struct{}{}:
		defer func() { <-e.turn }()
		return f()
	case <-ctx.Done():
		return ctx.Err()
	}
}

// A Session has a KV cache. Only one goroutine may use it at a time.
type Session struct {
	engine *Engine
	g      *generate.Generator
}

// NewSession returns a Session with an empty cache.
func (e *Engine) NewSession() (*Session, error) {
	g, err := generate.New(e.model, e.arithmetic)
	if err != nil {
		return nil, err
	}
	return &Session{e, g}, nil
}

// Shared returns how many of the first tokens of ids are in the cache.
func (s *Session) Shared(ids []int) int { return s.g.Shared(ids) }

// CacheBytes returns the size of the KV cache in bytes.
func (s *Session) CacheBytes() int64 { return s.g.CacheBytes() }
