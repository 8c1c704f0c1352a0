package chat

import (
	"errors"
	"strings"
)

// A Shape is a chat template as the texts around the messages. Many templates are no more
// than that.
type Shape struct {
	Default               string // begins a conversation without a system message
	SystemPre, SystemPost string // around a system message, which comes first
	System                bool   // the template accepts system messages
	UserPre, UserPost     string
	AssistantPre          string // also the prompt for the next answer
	AssistantPost         string
}

// errShape reports a template that is not a Shape.
var errShape = errors.New("the chat template does more than put texts around messages")

// Placeholders for the contents of messages. Templates may trim spaces, so there are none
// at the ends.
const (
	systemProbe    = "5e1f system 91a0"
	userProbe      = "77c3 question d2b8"
	assistantProbe = "b04d answer 3f6e"
	secondProbe    = "19ea second 8c57"
)

// ShapeOf finds the shape of the template that render renders, and checks it on a
// conversation that it was not derived from. The error wraps errors of render.
func ShapeOf(render func([]Message) (string, error)) (s Shape, err error) {
	system, user := newMessage("system", systemProbe), newMessage("user", userProbe)
	assistant, second := newMessage("assistant", assistantProbe), newMessage("user", secondProbe)
	plain, err := pieces(render, user, assistant, second)
	if err != nil {
		return s, err
	}
	ended, err := pieces(render, user, assistant)
	if err != nil {
		return s, err
	}
	var ok [4]bool
	s.UserPost, s.AssistantPost = plain[3], ended[2]
	s.AssistantPre, ok[0] = strings.CutPrefix(plain[1], s.UserPost)
	s.UserPre, ok[1] = strings.CutPrefix(plain[2], s.AssistantPost)
	s.Default, ok[2] = strings.CutSuffix(plain[0], s.UserPre)
	ok[3] = true
	if with, err := pieces(render, system, user, assistant, second); err == nil {
		s.System, s.SystemPre = true, with[0]
		s.SystemPost, ok[3] = strings.CutSuffix(with[1], s.UserPre)
	}
	if ok != [4]bool{true, true, true, true} {
		return Shape{}, errShape
	}
	long := []Message{user, assistant, second, newMessage("assistant", systemProbe), newMessage("user", "x")}
	if s.System {
		long = append([]Message{newMessage("system", "x")}, long...)
	}
	if text, err := render(long); err != nil || text != s.text(long) {
		return Shape{}, errShape
	}
	return s, nil
}

// pieces renders messages and returns the texts before, between and after their contents.
func pieces(render func([]Message) (string, error), messages ...Message) (all []string, err error) {
	text, err := render(messages)
	if err != nil {
		return nil, err
	}
	for _, m := range messages {
		content, _ := m.find("content")
		before, after, ok := strings.Cut(text, content.(string))
		if !ok {
			return nil, errShape
		}
		all, text = append(all, before), after
	}
	return append(all, text), nil
}

// text renders messages, without the prompt for the next answer.
func (s *Shape) text(messages []Message) string {
	var b strings.Builder
	for i, m := range messages {
		role, _ := m.find("role")
		content, _ := m.find("content")
		pre, post := s.UserPre, s.UserPost
		switch role {
		case "system":
			pre, post = s.SystemPre, s.SystemPost
		case "assistant":
			pre, post = s.AssistantPre, s.AssistantPost
		}
		if i == 0 && role != "system" {
			b.WriteString(s.Default)
		}
		b.WriteString(pre + content.(string) + post)
	}
	return b.String()
}
