package server

import (
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"

	"thimble/internal/chat"
)

// Any body of a request is read or refused with a status of the 4xx kind, in JSON.
func FuzzRequest(f *testing.F) {
	for _, body := range []string{
		`{"messages":[{"role":"user","content":"a"}],"max_tokens":1,"stop":["x"],"seed":1,"stream":true,"stream_options":{"include_usage":true}}`,
		`{"messages":[{"role":"user","content":[{"type":"text","text":"a"}]}],"tools":[{"type":"function","function":{"name":"f"}}],"tool_choice":{"function":{"name":"f"}}}`,
		`{"messages":[{"role":"assistant","tool_calls":[{"function":{"name":"f","arguments":"{}"}}]}],"logprobs":true,"top_logprobs":20}`,
		`{"prompt":["a"],"logprobs":5,"echo":true,"temperature":1e999}`, `{"n":2}`, `{"messages":[`, `[]`, `{"max_tokens":1e9,"top_k":-1}`,
	} {
		f.Add([]byte(body))
	}
	s := &Server{Options: Options{Name: "m", MaxBody: 1 << 16, MaxTokens: 100}, tools: chat.ToolStyleOf("tools <tool_call>")}
	f.Fuzz(func(t *testing.T, text []byte) {
		for _, own := range []map[string]field{chatFields, completionFields} {
			r := httptest.NewRequest("POST", "/", strings.NewReader(string(text)))
			w := httptest.NewRecorder()
			b, o, err := s.read(w, r, own)
			if err == nil {
				err = s.readMessages(b, o)
			}
			if err != nil {
				writeError(w, err)
				if w.Code < 400 || w.Code > 499 {
					t.Errorf("status %d for %v", w.Code, err)
				}
			} else if b.request.Tokens < 1 || b.request.Tokens > s.MaxTokens {
				t.Errorf("%d tokens", b.request.Tokens)
			}
		}
	})
}

// Each limit of docs/SECURITY.md is where it says.
func TestLimits(t *testing.T) {
	s := &Server{Options: Options{Name: "m", MaxBody: 1 << 20, MaxTokens: 100}}
	list := func(n int, item string) string {
		return "[" + strings.TrimSuffix(strings.Repeat(item+",", n), ",") + "]"
	}
	const message = `{"role":"user","content":"a"}`
	for _, c := range []struct {
		limit int
		body  func(n int) string
		want  string
	}{
		{maxStops, func(n int) string { return `"stop":` + list(n, `"x"`) }, "stop: want a string or a list of up to 16"},
		{maxTop, func(n int) string { return fmt.Sprint(`"logprobs":true,"top_logprobs":`, n) }, "top_logprobs: want 0 to 20"},
		{maxTools, func(n int) string { return `"tools":` + list(n, `{"function":{"name":"f"}}`) }, "tools: want a list of up to 128"},
		{maxMessage, func(n int) string { return `"messages":` + list(n, message) }, "want 1 to 4096 messages"},
		{1 << 20, func(n int) string {
			return `"user":"` + strings.Repeat("u", n-len(`{"user":"","messages":[]}`)-len(message)) + `"`
		}, "http: request body too large"},
	} {
		for _, n := range []int{c.limit, c.limit + 1} {
			text := "{" + c.body(n)
			if !strings.Contains(text, `"messages"`) {
				text += `,"messages":[` + message + "]"
			}
			w := httptest.NewRecorder()
			b, o, err := s.read(w, httptest.NewRequest("POST", "/", strings.NewReader(text+"}")), chatFields)
			if err == nil {
				err = s.readMessages(b, o)
			}
			if refused := err != nil && strings.Contains(err.Error(), c.want); refused != (n > c.limit) || err != nil && !refused {
				t.Errorf("%d of %d: %v, want ... %s", n, c.limit, err, c.want)
			}
		}
	}
}

// A misspelled member is named; what belongs to OpenAI's API or to other servers is ignored.
func TestMisspelledMembers(t *testing.T) {
	s := &Server{Options: Options{Name: "m", MaxBody: 1 << 16, MaxTokens: 100}}
	for member, meant := range map[string]string{
		"max_token": "max_tokens", "temprature": "temperature", "topP": "top_p", "max-tokens": "max_tokens", "strem": "stream", "message": "messages",
		"store": "", "metadata": "", "user": "", "prediction": "", "reasoning_effort": "", "verbosity": "", "web_search_options": "", "service_tier": "",
		"parallel_tool_calls": "", "prompt_cache_key": "", "safety_identifier": "", "function_call": "", "tool_choice": "",
		"min_tokens": "", "top_a": "", "typical_p": "", "cache_prompt": "", "prompt_logprobs": "", "repeat_penalty": "", "n_predict": "", "n_probs": "",
	} {
		_, _, err := s.read(httptest.NewRecorder(), httptest.NewRequest("POST", "/", strings.NewReader(fmt.Sprintf(`{%q: 1}`, member))), chatFields)
		want := ""
		if meant != "" {
			want = member + ": there is no such field; did you mean " + meant + "?"
		}
		if got := fmt.Sprint(err); got != want && (err != nil || want != "") {
			t.Errorf("%s: error is %v, want %q", member, err, want)
		}
	}
}
