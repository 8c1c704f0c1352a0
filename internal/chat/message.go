package chat

import (
	"bytes"
	"encoding/json"
	"slices"

	"thimble/internal/chat/python"
)

// A Message is one message of a conversation: an object with the strings role and
// content, and any other members that a template may use.
type Message = Object

// An Object is a JSON object. It keeps its members in the order of the text, because
// templates can observe the order. Values are nil, bool, json.Number, string, []any and
// Object.
type Object []Member

// A Member is a key of an Object and its value.
type Member struct {
	Key   string
	Value any
}

func newMessage(role, content string) Message {
	return Message{{"role", role}, {"content", content}}
}

func (o Object) find(key string) (any, bool) {
	for _, m := range o {
		if m.Key == key {
			return m.Value, true
		}
	}
	return nil, false
}

// with returns a copy of o with another value of a key that it has.
func (o Object) with(key string, value any) Object {
	o = slices.Clone(o)
	for i := range o {
		if o[i].Key == key {
			o[i].Value = value
		}
	}
	return o
}

// reasoningKeys are the members that hold a message's reasoning, in data and requests.
var reasoningKeys = []string{"reasoning_content", "thinking", "reasoning"}

// aliasReasoning returns m with its reasoning under both keys that templates use. Data
// has it under any of three keys. transformers does the same
// (chat_template_utils.py, _alias_reasoning_fields).
func aliasReasoning(m Message) Message {
	for _, key := range reasoningKeys {
		reasoning, _ := m.find(key)
		if reasoning == nil {
			continue
		}
		aliased := Message{{"thinking", reasoning}} // a "thinking" in m comes later and replaces it
		return append(append(aliased, m...), Member{"reasoning_content", reasoning})
	}
	return m
}

// MarshalJSON writes the members in order.
func (o Object) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	b.WriteByte('{')
	for i, m := range o {
		if i > 0 {
			b.WriteByte(',')
		}
		key, err := json.Marshal(m.Key)
		if err != nil {
			return nil, err
		}
		v, err := json.Marshal(m.Value)
		if err != nil {
			return nil, err
		}
		b.Write(append(append(key, ':'), v...))
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

// jinjaValue returns v as a value of a template, as json.loads of Python would.
func jinjaValue(v any) (python.Value, error) {
	switch v := v.(type) {
	case json.Number:
		return python.ParseNumber(string(v))
	case []any:
		list := make([]python.Value, len(v))
		for i := range v {
			var err error
			if list[i], err = jinjaValue(v[i]); err != nil {
				return nil, err
			}
		}
		return &python.List{Items: list}, nil
	case Object:
		d := python.NewDict()
		for _, m := range v {
			value, err := jinjaValue(m.Value)
			if err != nil {
				return nil, err
			}
			d.Set(m.Key, value)
		}
		return d, nil
	}
	return v, nil // nil, bool or string
}
