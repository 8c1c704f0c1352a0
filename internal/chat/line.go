package chat

import (
	"encoding/json"
	"fmt"

	"thimble/internal/defect"
	"thimble/internal/strictjson"
)

// A Line is a line of a JSONL file: a text or the messages of a conversation.
type Line struct {
	Text     string
	Messages []Message // nil for a text
}

// ParseLine parses a line, which begins at byte base of file:
//
//	{"messages": [{"role": "user", "content": "..."}, ...]}
//	{"conversations": [{"from": "human", "value": "..."}, ...]}   (ShareGPT)
//	{"text": "..."}
//
// ParseLine ignores other keys, which describe the origin of a line. It rejects tools,
// because a template would write them into the text.
func ParseLine(file string, base int, line []byte) (*Line, error) {
	d := strictjson.NewDecoder(file, base, line)
	start := *d
	v, err := tree(d)
	if err == nil {
		err = d.End()
	}
	if err != nil {
		return nil, err
	}
	fail := func(field, format string, args ...any) error {
		return &defect.CorruptError{File: file, Off: int64(base), Field: field, Why: fmt.Sprintf(format, args...)}
	}
	o, ok := v.(Object)
	if !ok {
		return nil, start.Fail("want an object with messages, conversations or text")
	}
	for _, key := range []string{"tools", "functions"} {
		if v, ok := o.find(key); ok && !empty(v) {
			return nil, fail(key, "conversations with tools are not supported; leave such lines out")
		}
	}
	var found []string
	for _, key := range []string{"messages", "conversations", "text"} {
		if _, ok := o.find(key); ok {
			found = append(found, key)
		}
	}
	if len(found) != 1 {
		return nil, fail("", "want one of messages, conversations and text, found %d of them", len(found))
	}
	v, _ = o.find(found[0])
	if found[0] == "text" {
		text, ok := v.(string)
		if !ok {
			return nil, fail("text", "want a string")
		}
		return &Line{Text: text}, nil
	}
	list, _ := v.([]any)
	if len(list) == 0 {
		return nil, fail(found[0], "want a list of messages")
	}
	l := &Line{Messages: []Message{}}
	for i, v := range list {
		m, why := message(v, found[0] == "conversations")
		if why != "" {
			return nil, fail(fmt.Sprintf("%s[%d]", found[0], i), "%s", why)
		}
		l.Messages = append(l.Messages, m)
	}
	return l, nil
}

// shareGPTRoles maps the speakers in ShareGPT's data to roles.
var shareGPTRoles = map[string]string{"human": "user", "user": "user", "gpt": "assistant", "assistant": "assistant", "system": "system"}

// message checks one message, and converts it if it is in ShareGPT's form. why is "" if
// the message is valid.
func message(v any, shareGPT bool) (m Message, why string) {
	o, ok := v.(Object)
	if !ok {
		return nil, "want an object"
	}
	keys := [2]string{"role", "content"}
	if shareGPT {
		keys = [2]string{"from", "value"}
	}
	var fields [2]string
	for i, key := range keys {
		v, _ := o.find(key)
		if fields[i], ok = v.(string); !ok {
			return nil, key + ": want a string"
		}
	}
	if shareGPT {
		role, ok := shareGPTRoles[fields[0]]
		if !ok {
			return nil, fmt.Sprintf("from: %q is not one of human, gpt and system", defect.Printable(fields[0]))
		}
		return newMessage(role, fields[1]), ""
	}
	if v, ok := o.find("tool_calls"); ok && !empty(v) {
		return nil, "tool_calls: conversations with tools are not supported; leave such lines out"
	}
	return o, ""
}

func empty(v any) bool {
	list, ok := v.([]any)
	return v == nil || ok && len(list) == 0
}

// tree reads any value, with objects as Object and numbers as json.Number.
func tree(d *strictjson.Decoder) (any, error) {
	switch d.Kind() {
	case '{':
		o := Object{}
		err := d.Object(func(key string) error {
			v, err := tree(d)
			o = append(o, Member{key, v})
			return err
		})
		return o, err
	case '[':
		list := []any{}
		err := d.Array(func(int) error {
			v, err := tree(d)
			list = append(list, v)
			return err
		})
		return list, err
	}
	v, err := d.Any()
	if n, ok := v.(strictjson.Number); ok {
		return json.Number(n), err
	}
	return v, err
}
