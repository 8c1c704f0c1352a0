package chat

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"

	"github.com/ardanlabs/jinja"
)

// A Message is what one side says: an object with role and content, strings
// both, and whatever else a template may ask for.
type Message = Object

// An Object is one of JSON, its members in the order of the text, which a
// template can see. Values are nil, bool, json.Number, string, []any and Object.
type Object []Member

type Member struct {
	Key   string
	Value any
}

// Say returns a message.
func Say(role, content string) Message {
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

// thinking is m with what its author thought under the two names that templates
// ask for, whichever of three the data has, as transformers gives it to them
// (chat_template_utils.py, _alias_reasoning_fields).
func thinking(m Message) Message {
	for _, key := range []string{"reasoning_content", "thinking", "reasoning"} {
		thought, _ := m.find(key)
		if thought == nil {
			continue
		}
		named := Message{{"thinking", thought}} // what m has under this name comes after, and holds
		return append(append(named, m...), Member{"reasoning_content", thought})
	}
	return m
}

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

// value is v as the library has it.
func value(v any) jinja.Value {
	switch v := v.(type) {
	case bool:
		return jinja.NewBool(v)
	case string:
		return jinja.NewString(v)
	case json.Number:
		if !strings.ContainsAny(string(v), ".eE") {
			if n, err := v.Int64(); err == nil {
				return jinja.NewInt(n)
			}
		}
		f, _ := strconv.ParseFloat(string(v), 64) // what overflows is infinite, as in Python
		return jinja.NewFloat(f)
	case []any:
		list := make([]jinja.Value, len(v))
		for i := range v {
			list[i] = value(v[i])
		}
		return jinja.NewList(list)
	case Object:
		d := jinja.NewDict()
		for _, m := range v {
			d.AsDict().Set(m.Key, value(m.Value))
		}
		return d
	}
	return jinja.None()
}
