package tasks

import (
	"encoding/json"
	"maps"
	"slices"
	"strconv"

	"thimble/internal/strictjson"
)

// A Call is a function call.
type Call struct {
	Name      string
	Arguments map[string]any // by name: nil, bool, string, Number, []any or map[string]any
}

// Number is a number in its JSON spelling.
type Number = strictjson.Number

// expectedCall reads {"name": ..., "arguments": {...}}.
func expectedCall(d *strictjson.Decoder) (*Call, error) {
	c := &Call{Arguments: map[string]any{}}
	named := false
	err := d.Object(func(key string) (err error) {
		switch key {
		case "name":
			named = true
			c.Name, err = d.String()
		case "arguments":
			if d.Kind() != '{' {
				return d.Fail("want an object of arguments by name")
			}
			var v any
			v, err = d.Any()
			c.Arguments, _ = v.(map[string]any)
		default:
			return d.Fail("there is no such key, want name and arguments")
		}
		return err
	})
	if err == nil && !named {
		err = d.Fail("the call has no name")
	}
	return c, err
}

// triedObjects is the number of texts in braces that findObject tries to read as JSON.
const triedObjects = 16

// findObject returns the first JSON object in text. It skips text in braces that is not
// JSON. It returns nil if it finds no object, or if a brace is never closed.
func findObject(text string) map[string]any {
	at := 0
	for range triedObjects {
		for at < len(text) && text[at] != '{' {
			at++
		}
		n := strictjson.Enclosed(text[at:], "{", "}")
		if n == 0 {
			return nil
		}
		if v, err := strictjson.Decode("", []byte(text[at:at+n])); err == nil {
			return v.(map[string]any)
		}
		at++
	}
	return nil
}

// The keys that models use for the name and the arguments of a call.
var (
	callNames     = []string{"name", "intent", "function", "api"}
	callArguments = []string{"arguments", "parameters", "args"}
)

// callIn returns the first call in a text that a model wrote, or nil if there is none.
func callIn(text string) *Call {
	o := findObject(text)
	if inner, ok := o["function"].(map[string]any); ok { // as in OpenAI's API
		o = inner
	}
	c := &Call{Arguments: map[string]any{}}
	named := false
	for _, key := range callNames {
		if name, ok := o[key].(string); ok && !named {
			c.Name, named = name, true
		}
	}
	if !named {
		return nil
	}
	for _, key := range callArguments {
		v, ok := o[key]
		if !ok {
			continue
		}
		if written, ok := v.(string); ok { // JSON in a string, also as in OpenAI's API
			v, _ = strictjson.Decode("", []byte(written))
		}
		if c.Arguments, ok = v.(map[string]any); !ok {
			return nil
		}
		break
	}
	return c
}

// sameStructure reports whether the arguments of two calls have the same names.
func (c *Call) sameStructure(d *Call) bool {
	return slices.Equal(slices.Sorted(maps.Keys(c.Arguments)), slices.Sorted(maps.Keys(d.Arguments)))
}

// same reports whether two calls have the same name and arguments.
func (c *Call) same(d *Call) bool {
	return c.Name == d.Name && sameValue(c.Arguments, d.Arguments)
}

// sameValue reports whether two JSON values are equal. Numbers are compared by value,
// however they are spelled.
func sameValue(a, b any) bool {
	switch a := a.(type) {
	case map[string]any:
		b, ok := b.(map[string]any)
		if !ok || len(a) != len(b) {
			return false
		}
		for key, v := range a {
			if w, ok := b[key]; !ok || !sameValue(v, w) {
				return false
			}
		}
		return true
	case []any:
		b, ok := b.([]any)
		return ok && slices.EqualFunc(a, b, sameValue)
	case Number:
		b, ok := b.(Number)
		if !ok {
			return false
		}
		x, errX := strconv.ParseFloat(string(a), 64)
		y, errY := strconv.ParseFloat(string(b), 64)
		return a == b || errX == nil && errY == nil && x == y
	}
	return a == b
}

// String formats c as JSON, with the arguments sorted by name.
func (c *Call) String() string {
	text, err := json.Marshal(struct {
		Name      string         `json:"name"`
		Arguments map[string]any `json:"arguments"`
	}{c.Name, plain(c.Arguments).(map[string]any)})
	if err != nil {
		return c.Name
	}
	return string(text)
}

// plain converts strictjson's values to values that package json writes unchanged.
func plain(v any) any {
	switch v := v.(type) {
	case map[string]any:
		m := make(map[string]any, len(v))
		for key, w := range v {
			m[key] = plain(w)
		}
		return m
	case []any:
		a := make([]any, len(v))
		for i, w := range v {
			a[i] = plain(w)
		}
		return a
	case Number:
		return json.Number(v)
	}
	return v
}
