// Package mobile runs a model inside an app: it opens a container, holds conversations
// and streams answers. All types are simple, so that gomobile can bind the package;
// cmd/libthimble is the same for C, Swift and Kotlin. docs/MOBILE.md shows apps.
//
//	m, err := mobile.Open("smol.thimble", nil)
//	chat, err := m.NewChat(m.DefaultSettings())
//	err = chat.Say("Why is the sky blue?")
//	for {
//		text, err := chat.Next()
//		if err != nil || text == "" {
//			break
//		}
//		fmt.Print(text)
//	}
//
// A Model and its Chats may be used from any goroutine. Calls on one Chat wait for each
// other, except Cancel. All cores compute one token of one Chat at a time, so several Chats
// take turns.
package mobile

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"thimble/format"
	"thimble/internal/generate"
	"thimble/internal/model"
	"thimble/internal/session"
	"thimble/internal/transformer"
)

// Options say how a model computes.
type Options struct {
	// Context is the number of positions of a Chat at most; 0 means the model's. The KV
	// cache grows up to it.
	Context int
	// KV is the type of the KV cache, such as "int8", "k8v4" or "f16"; "" means float32.
	KV string
	// Float computes linear layers in float32 also if they are stored as integers. Without
	// it, their inputs are rounded to 8 bits, which is faster.
	Float bool
	// Date is the date that chat templates tell the model, such as "2024-07-26"; "" means today.
	Date string
}

// A Model is an opened model. The weights of a container stay in the file, which is mapped; those
// of a GGUF file are copied to memory, if there is room.
type Model struct {
	mu     sync.Mutex
	chats  map[*Chat]bool // nil after Close
	model  *model.Model
	engine *session.Engine
}

// Open opens the container or GGUF file at path and verifies its checksums. o may be nil.
// The file must stay as it is until Close.
func Open(path string, o *Options) (*Model, error) {
	if o == nil {
		o = new(Options)
	}
	a, err := transformer.ParseArithmetic("", o.KV)
	if err != nil {
		return nil, err
	}
	now := time.Now
	if o.Date != "" {
		date, err := time.Parse(time.DateOnly, o.Date)
		if err != nil {
			return nil, fmt.Errorf("the date %.40q: want one such as 2024-07-26", o.Date)
		}
		now = func() time.Time { return date }
	}
	m, err := format.Open(path)
	if err != nil {
		return nil, err
	}
	e, err := session.New(context.Background(), m, session.Options{Arithmetic: a, Integers: !o.Float, Context: o.Context, Now: now})
	if err != nil {
		m.Close()
		return nil, err
	}
	return &Model{chats: map[*Chat]bool{}, model: m, engine: e}, nil
}

// Close ends all Chats and unmaps the file. It waits for a token that is being computed.
func (m *Model) Close() error {
	m.mu.Lock()
	chats := m.chats
	m.chats = nil
	m.mu.Unlock()
	if chats == nil {
		return nil
	}
	for c := range chats {
		c.end()
	}
	m.engine.Close()
	return m.model.Close()
}

// Context returns the number of positions of a Chat at most.
func (m *Model) Context() int { return m.engine.Context }

// HasTemplate reports whether the model has a chat template, which Say needs.
func (m *Model) HasTemplate() bool { return m.engine.Template() != "" }

// WeightBytes returns the size of the weights. The system keeps those that are in use in
// memory, and may drop and read them again.
func (m *Model) WeightBytes() int64 {
	_, bytes := m.model.Size()
	return bytes
}

// CacheBytes returns the size of the KV caches of all Chats.
func (m *Model) CacheBytes() (n int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for c := range m.chats {
		n += c.cacheBytes.Load()
	}
	return n
}

// Settings are those of a Chat. The zero values mean none.
type Settings struct {
	System            string  // the system message
	Temperature       float64 // 0 takes the most likely token
	TopK              int
	TopP              float64
	MinP              float64
	RepetitionPenalty float64
	Seed              int64
	MaxTokens         int // of an answer; 0 means up to the end of the context

	stop []string
}

// AddStop ends answers before a text.
func (s *Settings) AddStop(text string) {
	if text != "" {
		s.stop = append(s.stop, text)
	}
}

// DefaultSettings returns what the model's authors recommend, if the file says, and
// otherwise the zero Settings.
func (m *Model) DefaultSettings() *Settings {
	g := m.model.Generation
	return &Settings{Temperature: g.Temperature, TopK: g.TopK, TopP: g.TopP, MinP: g.MinP, RepetitionPenalty: g.RepetitionPenalty}
}

// request returns the Request for one answer.
func (s *Settings) request() (session.Request, error) {
	r := session.Request{Tokens: s.MaxTokens, Stop: s.stop, Sampling: generate.Sampling{
		Generation: model.Generation{Temperature: s.Temperature, TopK: s.TopK, TopP: s.TopP, MinP: s.MinP, RepetitionPenalty: s.RepetitionPenalty},
		Seed:       uint64(s.Seed),
	}}
	if s.MaxTokens < 0 || s.MaxTokens > math.MaxInt32 {
		return r, fmt.Errorf("max_tokens is %d, want 0 to %d", s.MaxTokens, math.MaxInt32)
	}
	return r, r.Check()
}

// Why an answer ended, as Chat.Reason returns it.
const (
	ReasonStop     = session.Stop    // the model ended it, or a stop text occurred
	ReasonLength   = session.Length  // it has Settings.MaxTokens tokens
	ReasonContext  = session.Context // the context is full
	ReasonCanceled = "canceled"
)

// errClosed reports the use of a Chat after its end.
var errClosed = errors.New("the chat or its model is closed")

// A Chat is a conversation with its own KV cache, so that a turn computes only what is new.
type Chat struct {
	mu         sync.Mutex
	model      *Model
	settings   Settings
	session    *session.Session // nil after Close
	chat       *session.Chat
	reason     string
	cacheBytes atomic.Int64

	cancelling sync.Mutex
	ctx        context.Context // of the answer
	cancel     context.CancelFunc
}

// NewChat begins a conversation. s may be nil; later changes of it have no effect.
func (m *Model) NewChat(s *Settings) (*Chat, error) {
	if s == nil {
		s = new(Settings)
	}
	if _, err := s.request(); err != nil {
		return nil, err
	}
	ses, err := m.engine.NewSession()
	if err != nil {
		return nil, err
	}
	c := &Chat{model: m, settings: *s, session: ses, chat: ses.NewChat(s.System)}
	c.renew()
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.chats == nil {
		return nil, errClosed
	}
	m.chats[c] = true
	return c, nil
}

// renew makes the context of the next answer.
func (c *Chat) renew() {
	c.cancelling.Lock()
	defer c.cancelling.Unlock()
	if c.cancel != nil {
		c.cancel()
	}
	c.ctx, c.cancel = context.WithCancel(context.Background())
}

// begin calls f, which begins an answer.
func (c *Chat) begin(text string, f func(*session.Chat, context.Context, string, session.Request) error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.session == nil {
		return errClosed
	}
	r, err := c.settings.request()
	if err != nil {
		return err
	}
	c.renew()
	c.reason = ""
	return f(c.chat, c.ctx, text, r)
}

// Say adds a message of the user to the conversation. Next then returns the answer. An
// answer that has not ended stays in the conversation as far as it got. If the
// conversation no longer fits the context, Say returns an error and the conversation
// stays as it was.
func (c *Chat) Say(text string) error { return c.begin(text, (*session.Chat).Say) }

// Continue begins to continue a text, without the chat template and apart from the
// conversation, as thimble run does. Next then returns the continuation.
func (c *Chat) Continue(text string) error { return c.begin(text, (*session.Chat).Continue) }

// Next returns the next part of the answer, one or more whole characters, and "" after
// the last one. Bytes that are not UTF-8 become U+FFFD.
func (c *Chat) Next() (string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.session == nil {
		return "", errClosed
	}
	a := c.chat.Answer()
	if a == nil {
		return "", nil
	}
	text, err := c.chat.Next(c.ctx)
	c.cacheBytes.Store(c.session.CacheBytes())
	switch {
	case err == io.EOF:
		c.reason = a.Reason
		return "", nil
	case c.ctx.Err() != nil:
		c.reason = ReasonCanceled
		c.chat.End()
		return "", nil
	case err != nil:
		c.chat.End()
	}
	return strings.ToValidUTF8(text, "\ufffd"), err
}

// Reason returns why the last answer ended, or "" before it has.
func (c *Chat) Reason() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.reason
}

// Cancel ends the answer: the call of Next in progress, or the next one, returns "".
func (c *Chat) Cancel() {
	c.cancelling.Lock()
	defer c.cancelling.Unlock()
	c.cancel()
}

// Reset begins the conversation again, with the same system message.
func (c *Chat) Reset() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.session != nil {
		c.chat.Reset(c.settings.System)
	}
}

// Close ends the conversation and frees its KV cache.
func (c *Chat) Close() {
	c.end()
	c.model.mu.Lock()
	defer c.model.mu.Unlock()
	delete(c.model.chats, c)
}

// end cancels the answer and drops the cache.
func (c *Chat) end() {
	c.Cancel()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.session, c.chat = nil, nil
	c.cacheBytes.Store(0)
}
