package server

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"time"
	"unicode/utf8"

	"thimble/internal/session"
)

// chatCompletions answers POST /v1/chat/completions.
func (s *Server) chatCompletions(w http.ResponseWriter, r *http.Request) error {
	b, o, err := s.read(w, r, chatFields)
	if err != nil {
		return err
	}
	if err := s.readMessages(b, o); err != nil {
		return err
	}
	if b.tools {
		for _, marker := range s.tools.Markers {
			if id := s.engine.TokenID(marker); id >= 0 {
				b.request.Keep = append(b.request.Keep, id)
			}
		}
	}
	prompt := func(ctx context.Context) ([]int, error) {
		ids, err := s.engine.Prompt(ctx, b.Conversation)
		if err != nil || b.prefix == "" {
			return ids, err
		}
		more, err := s.engine.Encode(ctx, b.prefix, false)
		return append(ids, more...), err
	}
	return s.answer(w, r, b, prompt, &chatForm{s: s, b: b, id: newID("chatcmpl-"), created: time.Now().Unix()})
}

// completions answers POST /v1/completions.
func (s *Server) completions(w http.ResponseWriter, r *http.Request) error {
	b, o, err := s.read(w, r, completionFields)
	if err != nil {
		return err
	}
	if member(o, "prompt") == nil {
		return invalid("prompt", "is missing")
	}
	b.request.Special = true
	for i, id := range b.ids {
		if vocab := s.engine.Model().Spec.Vocab; id < 0 || id >= vocab {
			return invalid("prompt", "token %d of the list is %d, want 0 to %d", i, id, vocab-1)
		}
		b.prompt += string(s.engine.TokenText(id))
	}
	if b.echo {
		b.prefix = b.prompt
	}
	prompt := func(ctx context.Context) ([]int, error) {
		if b.ids != nil {
			return b.ids, nil
		}
		return s.engine.Encode(ctx, b.prompt, true)
	}
	return s.answer(w, r, b, prompt, &textForm{s: s, b: b, id: newID("cmpl-"), created: time.Now().Unix()})
}

func newID(kind string) string { return kind + rand.Text() }

// A form is how an answer is written: that of chats or of completions.
type form interface {
	// whole returns the answer to a request that does not stream.
	whole(text, reason string, tokens []session.Token, u usage) any
	// first returns the events before the first part, part those of the next one, and last
	// those after the last part.
	first() []any
	part(text string, tokens []session.Token) []any
	last(reason string) []any
	// counted returns the event with the usage.
	counted(u usage) any
}

// usage counts tokens.
type usage struct {
	Prompt     int `json:"prompt_tokens"`
	Completion int `json:"completion_tokens"`
	Total      int `json:"total_tokens"`
	Details    struct {
		Cached int `json:"cached_tokens"`
	} `json:"prompt_tokens_details"`
}

// answer admits a request, generates its answer and writes it in a form.
func (s *Server) answer(w http.ResponseWriter, r *http.Request, b *body, prompt func(context.Context) ([]int, error), f form) error {
	if err := s.enter(); err != nil {
		return err
	}
	defer s.leave()
	ctx := r.Context()
	ids, err := prompt(ctx)
	if err != nil {
		return err
	}
	if len(ids) >= s.engine.Context {
		return &session.ContextError{Tokens: len(ids), Context: s.engine.Context}
	}
	slot, err := s.acquire(ctx, ids)
	if err != nil {
		return err
	}
	defer s.release(slot)
	var u usage
	u.Prompt, u.Details.Cached = len(ids), slot.Shared(ids[:len(ids)-1])
	a, err := slot.Begin(ids, b.request)
	if err != nil {
		return err
	}
	count := func() usage {
		u.Completion = len(a.IDs)
		u.Total = u.Prompt + u.Completion
		return u
	}
	if b.stream {
		return writeEvents(ctx, w, b, a, count, f)
	}
	return writeWhole(ctx, w, b, a, count, f)
}

// writeWhole writes an answer when it is complete.
func writeWhole(ctx context.Context, w http.ResponseWriter, b *body, a *session.Answer, count func() usage, f form) error {
	text := strings.Builder{}
	text.WriteString(b.prefix)
	var tokens []session.Token
	for {
		p, err := a.Next(ctx)
		if errors.Is(err, io.EOF) {
			return writeJSON(w, f.whole(text.String(), finish(a.Reason), tokens, count()))
		} else if err != nil {
			return err
		}
		text.WriteString(p.Text)
		tokens = append(tokens, p.Tokens...)
	}
}

// writeEvents writes an answer part by part.
func writeEvents(ctx context.Context, w http.ResponseWriter, b *body, a *session.Answer, count func() usage, f form) error {
	p, err := a.Next(ctx) // the status of an error is still open
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	e := newEvents(w)
	e.send(f.first()...)
	if b.prefix != "" {
		e.send(f.part(b.prefix, nil)...)
	}
	for ; err == nil; p, err = a.Next(ctx) {
		e.send(f.part(p.Text, p.Tokens)...)
	}
	if !errors.Is(err, io.EOF) {
		e.send(asAPI(err).body())
		return nil
	}
	e.send(f.last(finish(a.Reason))...)
	if b.usage {
		e.send(f.counted(count()))
	}
	e.done()
	return nil
}

// finish returns a reason as OpenAI's API has it.
func finish(reason string) string {
	if reason == session.Stop {
		return "stop"
	}
	return "length"
}

// events writes server-sent events.
type events struct {
	w       http.ResponseWriter
	control *http.ResponseController
}

func newEvents(w http.ResponseWriter) *events {
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-cache")
	return &events{w, http.NewResponseController(w)}
}

// send writes an event for each of list. Errors mean that the client is gone, which ends
// the request's context too.
func (e *events) send(list ...any) {
	for _, v := range list {
		text, err := json.Marshal(v)
		if err == nil {
			_, _ = e.w.Write(append(append([]byte("data: "), text...), "\n\n"...))
		}
	}
	if len(list) > 0 {
		_ = e.control.Flush()
	}
}

func (e *events) done() { _, _ = io.WriteString(e.w, "data: [DONE]\n\n") }

// object is a JSON object of an answer.
type object = map[string]any

// chatForm is that of chat completions.
type chatForm struct {
	s       *Server
	b       *body
	id      string
	created int64

	text string // of the answer so far, if it may have calls
	sent int    // bytes of text that were sent
	held []session.Token
}

func (f *chatForm) envelope(kind string, choices ...any) object {
	return object{"id": f.id, "object": kind, "created": f.created, "model": f.s.Name, "choices": append([]any{}, choices...)}
}

func (f *chatForm) whole(text, reason string, tokens []session.Token, u usage) any {
	message := object{"role": "assistant", "content": text, "refusal": nil}
	if f.b.tools {
		if content, calls := f.calls(text); calls != nil {
			message["content"], message["tool_calls"], reason = nil, calls, "tool_calls"
			if content != "" {
				message["content"] = content
			}
		}
	}
	o := f.envelope("chat.completion", object{"index": 0, "message": message, "finish_reason": reason, "logprobs": f.logprobs(tokens)})
	o["usage"] = u
	return o
}

// calls returns the calls of an answer, nil if it has none, and its other text.
func (f *chatForm) calls(text string) (content string, list []any) {
	content, calls := f.s.tools.Parse(text, f.b.prefix != "")
	for i, c := range calls {
		list = append(list, object{"index": i, "id": newID("call_"), "type": "function", "function": object{"name": c.Name, "arguments": c.Arguments}})
	}
	return content, list
}

func (f *chatForm) chunk(delta object, reason any, tokens []session.Token) any {
	return f.envelope("chat.completion.chunk", object{"index": 0, "delta": delta, "finish_reason": reason, "logprobs": f.logprobs(tokens)})
}

func (f *chatForm) first() []any {
	return []any{f.chunk(object{"role": "assistant", "content": ""}, nil, nil)}
}

func (f *chatForm) part(text string, tokens []session.Token) []any {
	if !f.b.tools {
		return []any{f.chunk(object{"content": text}, nil, tokens)}
	}
	f.text += text
	f.held = append(f.held, tokens...)
	safe := f.s.tools.Safe(f.text)
	if safe <= f.sent {
		return nil
	}
	return []any{f.rest(safe)}
}

// rest returns a chunk of the text up to byte end that was not sent.
func (f *chatForm) rest(end int) any {
	text, tokens := f.text[f.sent:end], f.held
	f.sent, f.held = end, nil
	return f.chunk(object{"content": text}, nil, tokens)
}

func (f *chatForm) last(reason string) (list []any) {
	if f.b.tools {
		if _, calls := f.calls(f.text); calls != nil {
			list, reason = append(list, f.chunk(object{"tool_calls": calls}, nil, f.held)), "tool_calls"
		} else if f.sent < len(f.text) {
			list = append(list, f.rest(len(f.text)))
		}
	}
	return append(list, f.chunk(object{}, reason, nil))
}

func (f *chatForm) counted(u usage) any {
	o := f.envelope("chat.completion.chunk")
	o["usage"] = u
	return o
}

// logprobs returns what the API has for tokens, nil unless the request asks for it.
func (f *chatForm) logprobs(tokens []session.Token) any {
	if !f.b.request.Logprobs || tokens == nil {
		return nil
	}
	content := []any{}
	for _, t := range tokens {
		top := []any{}
		for _, l := range t.Top {
			top = append(top, f.s.logprob(l.ID, l.Logprob))
		}
		o := f.s.logprob(t.ID, t.Logprob)
		o["top_logprobs"] = top
		content = append(content, o)
	}
	return object{"content": content, "refusal": nil}
}

func (s *Server) logprob(id int, logprob float64) object {
	text := s.engine.TokenText(id)
	bytes := make([]int, len(text))
	for i, b := range text {
		bytes[i] = int(b)
	}
	return object{"token": string(text), "logprob": logprob, "bytes": bytes}
}

// textForm is that of completions.
type textForm struct {
	s       *Server
	b       *body
	id      string
	created int64
	offset  int // characters before the next token
}

func (f *textForm) envelope(choices ...any) object {
	return object{"id": f.id, "object": "text_completion", "created": f.created, "model": f.s.Name, "choices": append([]any{}, choices...)}
}

func (f *textForm) choice(text string, reason any, tokens []session.Token) any {
	return f.envelope(object{"index": 0, "text": text, "finish_reason": reason, "logprobs": f.logprobs(tokens)})
}

func (f *textForm) whole(text, reason string, tokens []session.Token, u usage) any {
	f.offset = utf8.RuneCountInString(f.b.prefix)
	o := f.choice(text, reason, tokens).(object)
	o["usage"] = u
	return o
}

func (f *textForm) first() []any { return nil }

func (f *textForm) part(text string, tokens []session.Token) []any {
	return []any{f.choice(text, nil, tokens)}
}

func (f *textForm) last(reason string) []any { return []any{f.choice("", reason, nil)} }

func (f *textForm) counted(u usage) any {
	o := f.envelope()
	o["usage"] = u
	return o
}

func (f *textForm) logprobs(tokens []session.Token) any {
	if !f.b.request.Logprobs || tokens == nil {
		return nil
	}
	texts, each, tops, offsets := []string{}, []float64{}, []any{}, []int{}
	for _, t := range tokens {
		text := string(f.s.engine.TokenText(t.ID))
		top := object{}
		for _, l := range t.Top {
			top[string(f.s.engine.TokenText(l.ID))] = l.Logprob
		}
		texts, each, tops, offsets = append(texts, text), append(each, t.Logprob), append(tops, top), append(offsets, f.offset)
		f.offset += utf8.RuneCountInString(text)
	}
	return object{"tokens": texts, "token_logprobs": each, "top_logprobs": tops, "text_offset": offsets}
}
