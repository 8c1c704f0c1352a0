package session

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"strings"

	"thimble/internal/chat"
)

// A Chat is a conversation of a user with a model.
type Chat struct {
	Messages []chat.Message // so far; the caller may replace them between answers

	s      *Session
	answer *Answer
	text   strings.Builder // of answer
	plain  bool            // answer continues a text and is no message
}

// NewChat returns a Chat in s that begins with a system message, unless system is "".
func (s *Session) NewChat(system string) *Chat {
	c := &Chat{s: s}
	c.Reset(system)
	return c
}

// Reset starts the conversation again.
func (c *Chat) Reset(system string) {
	c.answer, c.Messages = nil, nil
	if system != "" {
		c.Messages = append(c.Messages, chat.NewMessage("system", system))
	}
}

// Say adds a message of the user and begins the answer. After an error the conversation
// is as it was.
func (c *Chat) Say(ctx context.Context, text string, r Request) error {
	c.End()
	messages := append(c.Messages[:len(c.Messages):len(c.Messages)], chat.NewMessage("user", text))
	ids, err := c.s.engine.Prompt(ctx, chat.Conversation{Messages: messages})
	if err != nil {
		return err
	}
	a, err := c.s.Begin(ids, r)
	if err != nil {
		return err
	}
	c.Messages, c.answer, c.plain = messages, a, false
	return nil
}

// Continue begins to continue a text, without the template and apart from the conversation.
func (c *Chat) Continue(ctx context.Context, text string, r Request) error {
	c.End()
	ids, err := c.s.engine.Encode(ctx, text, true)
	if err != nil {
		return err
	}
	r.Special = true
	a, err := c.s.Begin(ids, r)
	if err == nil {
		c.answer, c.plain = a, true
	}
	return err
}

// Next returns the next part of the answer, or io.EOF after the last one.
func (c *Chat) Next(ctx context.Context) (string, error) {
	if c.answer == nil {
		return "", io.EOF
	}
	p, err := c.answer.Next(ctx)
	c.text.WriteString(p.Text)
	if errors.Is(err, io.EOF) {
		c.End()
	}
	return p.Text, err
}

// End ends the answer, whose text so far becomes a message of the conversation.
func (c *Chat) End() {
	if c.answer != nil && !c.plain {
		c.Messages = append(c.Messages, chat.NewMessage("assistant", c.text.String()))
	}
	c.answer = nil
	c.text.Reset()
}

// Answer returns the answer that is being generated, or nil.
func (c *Chat) Answer() *Answer { return c.answer }

// Line returns the conversation as a line of JSON.
func (c *Chat) Line() ([]byte, error) {
	text, err := json.Marshal(chat.Conversation{Messages: c.Messages})
	return append(text, '\n'), err
}
