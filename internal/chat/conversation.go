package chat

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"thimble/internal/defect"
	"thimble/internal/strictjson"
)

// NewMessage returns a message with a role and a text.
func NewMessage(role, content string) Message { return newMessage(role, content) }

// parseConversation reads what a Process sends.
func parseConversation(line []byte) (c Conversation, err error) {
	v, err := ParseValue("conversation", line)
	if err != nil {
		return c, err
	}
	o, _ := v.(Object)
	list, _ := o.find("messages")
	messages, ok := list.([]any)
	if !ok {
		return c, defect.Corrupt("conversation", "messages", "want a list")
	}
	for _, v := range messages {
		m, ok := v.(Object)
		if !ok {
			return c, defect.Corrupt("conversation", "messages", "want objects")
		}
		c.Messages = append(c.Messages, m)
	}
	tools, _ := o.find("tools")
	c.Tools, _ = tools.([]any)
	generate, _ := o.find("generate")
	c.Generate, _ = generate.(bool)
	if now, ok := o.find("now"); ok {
		text, _ := now.(string)
		if c.Now, err = time.Parse(time.RFC3339Nano, text); err != nil {
			return c, defect.Corrupt("conversation", "now", "want a time")
		}
	}
	return c, nil
}

// ParseValue reads a JSON value, with objects as Object and numbers as json.Number. file
// names it in errors.
func ParseValue(file string, text []byte) (any, error) {
	d := strictjson.NewDecoder(file, 0, text)
	v, err := tree(d)
	if err == nil {
		err = d.End()
	}
	return v, err
}

// APIMessage returns the message of a request of OpenAI's chat API as templates want it:
// the content is one string, and the arguments of tool calls are objects. The error is a
// sentence about v.
func APIMessage(v any) (Message, error) {
	o, ok := v.(Object)
	if !ok {
		return nil, fmt.Errorf("want an object")
	}
	role, _ := o.find("role")
	if r, ok := role.(string); !ok || r == "" {
		return nil, fmt.Errorf("role: want a string")
	}
	m := Message{}
	hasContent := false
	for _, member := range o {
		var err error
		switch member.Key {
		case "content":
			hasContent = true
			member.Value, err = plainContent(member.Value)
		case "tool_calls":
			member.Value, err = decodedCalls(member.Value)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", member.Key, err)
		}
		if member.Value != nil || member.Key == "content" {
			m = append(m, member)
		}
	}
	if !hasContent && !completeWithout(m) {
		return nil, fmt.Errorf("content: is missing")
	} else if !hasContent {
		m = append(m, Member{"content", ""})
	}
	return m, nil
}

// completeWithout reports whether a message needs no content: it has tool calls or reasoning.
func completeWithout(m Message) bool {
	return slices.ContainsFunc(append([]string{"tool_calls"}, reasoningKeys...), func(key string) bool {
		v, _ := m.find(key)
		return v != nil
	})
}

// plainContent returns the text of a content: a string, null, or a list of parts.
func plainContent(v any) (any, error) {
	switch v := v.(type) {
	case nil:
		return "", nil
	case string:
		return v, nil
	case []any:
		var b strings.Builder
		for _, part := range v {
			o, _ := part.(Object)
			kind, _ := o.find("type")
			text, _ := o.find("text")
			s, ok := text.(string)
			if kind != "text" || !ok {
				return nil, fmt.Errorf("this model takes parts of type text only")
			}
			b.WriteString(s)
		}
		return b.String(), nil
	}
	return nil, fmt.Errorf("want a string or a list of parts")
}

// decodedCalls returns tool calls with their arguments, which the API has as a string
// of JSON, as values.
func decodedCalls(v any) (any, error) {
	list, ok := v.([]any)
	if v != nil && !ok {
		return nil, fmt.Errorf("want a list")
	}
	var calls []any
	for _, call := range list {
		o, _ := call.(Object)
		f, _ := o.find("function")
		function, ok := f.(Object)
		name, _ := function.find("name")
		if _, isText := name.(string); !ok || !isText {
			return nil, fmt.Errorf("want objects with a function that has a name")
		}
		arguments, _ := function.find("arguments")
		if text, isText := arguments.(string); isText {
			if strings.TrimSpace(text) == "" {
				text = "{}" // clients replay a call without arguments like this
			}
			v, err := ParseValue("arguments", []byte(text))
			if err != nil {
				return nil, fmt.Errorf("arguments of %s: want a string of JSON", defect.Printable(name.(string)))
			}
			function = function.with("arguments", v)
		}
		calls = append(calls, o.with("function", function))
	}
	if len(calls) == 0 {
		return nil, nil
	}
	return calls, nil
}

// compact returns a JSON value in its shortest form, with members in their order.
func compact(v any) string {
	text, err := json.Marshal(v)
	if err != nil {
		return "{}" // values of ParseValue can be marshaled
	}
	return string(text)
}
