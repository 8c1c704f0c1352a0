package chat

import (
	"encoding/json"
	"strings"
	"testing"
)

func oneLine(t *testing.T, err error) {
	t.Helper()
	if err != nil && strings.ContainsFunc(err.Error(), func(r rune) bool { return r < ' ' }) {
		t.Errorf("not one clean line: %q", err)
	}
}

// Any line of a file of conversations is read or refused in one line.
func FuzzParseLine(f *testing.F) {
	for _, line := range []string{
		`{"messages":[{"role":"user","content":"a"},{"role":"assistant","content":null}]}`, `{"conversations":[{"from":"human","value":"a"}]}`,
		`{"text":"a"}`, `{"text":1}`, `{"messages":[],"text":""}`, `{"messages":[{"role":[]}]}`, strings.Repeat("[", 100), `{"text":"\ud800"}`,
	} {
		f.Add([]byte(line))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		l, err := ParseLine("f", 7, line)
		oneLine(t, err)
		if err == nil && l.Messages == nil && !json.Valid(line) {
			t.Errorf("%q is not JSON", line)
		}
	})
}

// Any message of a request is read or refused in one line, and what is read has a role.
func FuzzMessage(f *testing.F) {
	for _, text := range []string{
		`{"role":"user","content":[{"type":"text","text":"a"},{"type":"image_url"}]}`, `{"role":"assistant","tool_calls":[{"function":{"arguments":"{\"a\":1}"}}]}`,
		`{"role":"tool","content":null}`, `{"role":""}`, `5`, `{"role":"a","tool_calls":[{"function":{"arguments":"{"}}]}`,
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		v, err := ParseValue("f", text)
		if err != nil {
			oneLine(t, err)
			return
		}
		m, err := APIMessage(v)
		oneLine(t, err)
		if role, ok := m.find("role"); err == nil && (!ok || role == "") {
			t.Errorf("%q has no role", text)
		}
	})
}

// What a model writes is split into text and calls, whose arguments are JSON, in every style.
func FuzzCalls(f *testing.F) {
	for _, text := range []string{
		`a<tool_call>{"name":"f","arguments":{"x":[1,"}"]}}</tool_call>`, `[TOOL_CALLS] [{"name":"f","arguments":{}},{"name":"g"}]`,
		`{"name":"f","parameters":{}}; {"name":`, `<|python_tag|>{"name":1}`, `<tool_call><tool_call>`, `[TOOL_CALLS][ARGS]{`,
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		for i := range toolStyles {
			s := &toolStyles[i]
			if n := s.Safe(text); n < 0 || n > len(text) {
				t.Errorf("%s: %d of %d bytes are safe", s.name, n, len(text))
			}
			for _, forced := range []bool{false, true} {
				content, calls := s.Parse(text, forced)
				if len(content) > len(text) {
					t.Errorf("%s: the content is longer than the text", s.name)
				}
				for _, c := range calls {
					if c.Name == "" || !json.Valid([]byte(c.Arguments)) {
						t.Errorf("%s: call %q with %q", s.name, c.Name, c.Arguments)
					}
				}
			}
		}
	})
}
