package server

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"thimble/convert"
	"thimble/internal/chat"
	"thimble/internal/session"
	"thimble/internal/tokenizer"
)

const renderName = "__render"

func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == renderName {
		if err := chat.Serve(os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

const template = "{% if messages[-1].content != 'nothing' %}{% if tools %}{{ tools | tojson }}<tool_call>{% endif %}{% for m in messages %}<{{ m.role }}>" +
	"{% if m.content == 'no' %}{{ raise_exception('no is no question') }}{% endif %}" +
	"{% if m.content == 'loop' %}{% for i in range(100000) %}{% for j in range(100000) %}{% endfor %}{% endfor %}{% endif %}" +
	"{{ m.content }}{% for c in m.tool_calls %}{{ c.function.arguments.city }}{% endfor %}\n{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}{% endif %}"

// serve starts a server of the trained fixture.
func serve(t *testing.T, change func(*Options)) (*Server, *httptest.Server) {
	t.Helper()
	return serveData(t, change, func(d *tokenizer.Data) { d.ChatTemplate = template })
}

// serveData is serve with a change of the tokenizer.
func serveData(t *testing.T, change func(*Options), set func(*tokenizer.Data)) (*Server, *httptest.Server) {
	t.Helper()
	m, err := convert.Open(filepath.Join("../../fixtures", "trained"), convert.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	d, err := m.Tokenizer()
	if err != nil {
		t.Fatal(err)
	}
	set(d)
	self, err := os.Executable() // TestMain renders
	if err != nil {
		t.Fatal(err)
	}
	e, err := session.New(t.Context(), m, session.Options{Context: 200, Render: []string{self, renderName}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Close)
	o := Options{Name: "trained", Parallel: 2, Queue: 2, MaxBody: 1 << 16, MaxTokens: 100, Timeout: time.Minute}
	if change != nil {
		change(&o)
	}
	s, err := New(e, o)
	if err != nil {
		t.Fatal(err)
	}
	h := httptest.NewServer(s)
	t.Cleanup(h.Close)
	return s, h
}

// post sends a request and returns the status and the answer.
func post(t *testing.T, h *httptest.Server, path, body string) (int, map[string]any) {
	t.Helper()
	r, err := h.Client().Post(h.URL+path, "application/json", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	var v map[string]any
	if err := json.NewDecoder(r.Body).Decode(&v); err != nil {
		t.Fatalf("%s: %v", body, err)
	}
	return r.StatusCode, v
}

// at returns a member of nested objects and lists, such as choices.0.text.
func at(v any, path string) any {
	for key := range strings.SplitSeq(path, ".") {
		switch x := v.(type) {
		case map[string]any:
			v = x[key]
		case []any:
			var i int
			if _, err := fmt.Sscan(key, &i); err != nil || i >= len(x) {
				return nil
			}
			v = x[i]
		default:
			return nil
		}
	}
	return v
}

// stream sends a request and returns the events of its answer.
func stream(t *testing.T, h *httptest.Server, path, body string) (events []any) {
	t.Helper()
	r, err := h.Client().Post(h.URL+path, "application/json", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	if kind := r.Header.Get("Content-Type"); kind != "text/event-stream" {
		t.Fatalf("the content type is %q", kind)
	}
	lines := bufio.NewScanner(r.Body)
	done := false
	for lines.Scan() {
		data, ok := strings.CutPrefix(lines.Text(), "data: ")
		if !ok || data == "[DONE]" {
			done = done || ok
			continue
		}
		var v any
		if err := json.Unmarshal([]byte(data), &v); err != nil || done {
			t.Fatalf("%q: %v", data, err)
		}
		events = append(events, v)
	}
	if !done {
		t.Error("the stream does not end in [DONE]")
	}
	return events
}

const question = `"messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": [{"type": "text", "text": "What is a map?"}]}]`

// A streamed answer is the whole one in parts, with the same usage and logprobs.
func TestStream(t *testing.T) {
	_, h := serve(t, nil)
	for _, tt := range []struct{ path, body, text, delta string }{
		{"/v1/chat/completions", question + `, "max_tokens": 20, "logprobs": true, "top_logprobs": 2`, "choices.0.message.content", "choices.0.delta.content"},
		{"/v1/completions", `"prompt": "The ", "max_tokens": 20, "temperature": 0.9, "top_p": 0.9, "seed": 5, "logprobs": 2, "echo": true`, "choices.0.text", "choices.0.text"},
	} {
		status, whole := post(t, h, tt.path, "{"+tt.body+"}")
		if status != http.StatusOK || at(whole, "choices.0.finish_reason") != "length" || at(whole, "usage.completion_tokens") != 20.0 {
			t.Fatalf("%s: %d %v", tt.body, status, whole)
		}
		events := stream(t, h, tt.path, "{"+tt.body+`, "stream": true, "stream_options": {"include_usage": true}}`)
		text := ""
		var reason any
		tokens, listed := 0, 0
		for _, e := range events {
			part, _ := at(e, tt.delta).(string)
			text += part
			if r := at(e, "choices.0.finish_reason"); r != nil {
				reason = r
			}
			for _, path := range []string{"choices.0.logprobs.content", "choices.0.logprobs.tokens"} {
				list, _ := at(e, path).([]any)
				tokens += len(list)
			}
		}
		for _, path := range []string{"choices.0.logprobs.content", "choices.0.logprobs.tokens"} {
			list, _ := at(whole, path).([]any)
			listed += len(list)
		}
		last := events[len(events)-1]
		if text == "" || text != at(whole, tt.text) || reason != "length" || tokens != 20 || listed != 20 || at(last, "usage.completion_tokens") != 20.0 ||
			!reflect.DeepEqual(at(last, "choices"), []any{}) {
			t.Errorf("%s: %q (%v, %d and %d tokens), want %q; the last event is %v", tt.path, text, reason, tokens, listed, at(whole, tt.text), last)
		}
	}
}

// Each wrong request gets a 4xx with an error in OpenAI's form.
func TestRefusals(t *testing.T) {
	_, h := serve(t, nil)
	long := strings.Repeat("word ", 400)
	for _, tt := range []struct {
		path, body string
		status     int
		want       string
	}{
		{"/v1/chat/completions", `{"messages": [`, 400, "the text ends"},
		{"/v1/chat/completions", `[]`, 400, "not a JSON object"},
		{"/v1/chat/completions", `{"messages": [], "messages": []}`, 400, "occurs twice"},
		{"/v1/chat/completions", strings.Repeat("[", 100), 400, "deep"},
		{"/v1/chat/completions", `{}`, 400, "messages: want 1 to 4096 messages"},
		{"/v1/chat/completions", `{"messages": [{"content": "x"}]}`, 400, "messages[0]: role: want a string"},
		{"/v1/chat/completions", `{"messages": [{"role": "user"}]}`, 400, "content: is missing"},
		{"/v1/chat/completions", `{"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}`, 400, "parts of type text only"},
		{"/v1/chat/completions", `{"messages": [{"role": "user", "content": "no"}]}`, 400, "no is no question"},
		{"/v1/chat/completions", `{"messages": [{"role": "user", "content": "nothing"}]}`, 400, "makes an empty prompt of these messages; write more"},
		{"/v1/chat/completions", `{"messages": [{"role": "user", "content": "` + long + `"}]}`, 400, "no room for an answer in the context of 200"},
		{"/v1/chat/completions", `{"model": "gpt-4", ` + question + `}`, 404, `there is no model "gpt-4"`},
		{"/v1/chat/completions", `{"n": 2, ` + question + `}`, 400, "n: want 1"},
		{"/v1/chat/completions", `{"temperature": -1, ` + question + `}`, 400, "temperature: is -1, want 0 to"},
		{"/v1/chat/completions", `{"top_p": "x", ` + question + `}`, 400, "top_p: want a number"},
		{"/v1/chat/completions", `{"max_tokens": 0, ` + question + `}`, 400, "max_tokens: want a positive whole number"},
		{"/v1/chat/completions", `{"seed": 1.5, ` + question + `}`, 400, "seed: want a whole number"},
		{"/v1/chat/completions", `{"stop": ["", "x"], ` + question + `}`, 400, "stop: a text is empty"},
		{"/v1/chat/completions", `{"top_logprobs": 21, ` + question + `}`, 400, "top_logprobs: want 0 to 20"},
		{"/v1/chat/completions", `{"logit_bias": {"5": 1}, ` + question + `}`, 400, "logit_bias: is not supported"},
		{"/v1/chat/completions", `{"response_format": {"type": "json_schema"}, ` + question + `}`, 400, "response_format: is not supported"},
		{"/v1/chat/completions", `{"tool_choice": "required", ` + question + `}`, 400, "tool_choice: there are no tools"},
		{"/v1/chat/completions", `{"tools": [{"type": "function"}], ` + question + `}`, 400, "tools: want a list"},
		{"/v1/chat/completions", `{"messages": "` + strings.Repeat("x", 1<<16) + `"}`, 413, "more than 65536 bytes"},
		{"/v1/completions", `{}`, 400, "prompt: is missing"},
		{"/v1/completions", `{"prompt": ["a", "b"]}`, 400, "one request takes one"},
		{"/v1/completions", `{"prompt": [[1], [2]]}`, 400, "one request takes one"},
		{"/v1/completions", `{"prompt": []}`, 400, "prompt: want a string or a list of token ids"},
		{"/v1/completions", `{"prompt": [1, 1024]}`, 400, "prompt: token 1 of the list is 1024, want 0 to 1023"},
		{"/v1/completions", `{"prompt": [-1]}`, 400, "token 0 of the list is -1"},
		{"/v1/completions", `{"prompt": [1.5]}`, 400, "prompt: want a string"},
		{"/v1/chat/completions", `{"top_k": -2, ` + question + `}`, 400, "top_k: is -2, want 0 to 4194304"},
		{"/v1/chat/completions", `{"top_k": 1.5, ` + question + `}`, 400, "top_k: want a whole number"},
		{"/v1/chat/completions", `{"temperature": 1e7, ` + question + `}`, 400, "temperature: is 10000000, want 0 to 1000000"},
		{"/v1/chat/completions", `{"max_tokens": -2, ` + question + `}`, 400, "max_tokens: want a positive whole number, or -1 for no limit"},
		{"/v1/chat/completions", `{"messages": [{"role": "assistant", "reasoning_content": null}]}`, 400, "content: is missing"},
		{"/v1/completions", `{"prompt": "` + long + `"}`, 400, "no room"},
		{"/v1/embeddings", `{}`, 404, "there is no /v1/embeddings"},
		{"/v1/models", `{}`, 405, "/v1/models takes GET"},
	} {
		status, v := post(t, h, tt.path, tt.body)
		message, _ := at(v, "error.message").(string)
		if status != tt.status || !strings.Contains(message, tt.want) || at(v, "error.type") != "invalid_request_error" {
			t.Errorf("%.80s: %d %v, want %d %q", tt.body, status, v, tt.status, tt.want)
		}
	}
	for _, headers := range []map[string]string{{"Origin": "http://evil.example"}, {"Host": "evil.example"}} {
		r, _ := http.NewRequest(http.MethodPost, h.URL+"/v1/completions", strings.NewReader(`{"prompt": "x"}`))
		r.Header.Set("Origin", headers["Origin"])
		r.Host = headers["Host"]
		if res, err := h.Client().Do(r); err != nil || res.StatusCode != http.StatusForbidden {
			t.Errorf("%v: %v, %v", headers, res, err)
		}
	}
	if status, v := post(t, h, "/v1/chat/completions", `{"response_format": {"type": "text"}, "n": 1, "frequency_penalty": 0.0, "user": "x", "max_tokens": 2, `+question+`}`); status != 200 {
		t.Errorf("usual values: %d %v", status, v)
	}
}

// What other servers take is the same here as there.
func TestOtherServers(t *testing.T) {
	_, h := serve(t, func(o *Options) { o.MaxTokens, o.Defaults.TopK, o.Defaults.Temperature = 12, 1, 1 })
	ask := func(path, body string) map[string]any {
		t.Helper()
		status, v := post(t, h, path, body)
		if status != http.StatusOK {
			t.Fatalf("%s: %d %v", body, status, v)
		}
		return v
	}
	for _, key := range []string{"max_tokens", "max_completion_tokens"} {
		v := ask("/v1/completions", `{"prompt": "The ", "`+key+`": -1}`)
		if n := at(v, "usage.completion_tokens"); n != 12.0 {
			t.Errorf("%s of -1: %v tokens, want all 12", key, n)
		}
	}
	of := func(topK string) any {
		return at(ask("/v1/completions", `{"prompt": "The ", "max_tokens": 12, "seed": 3`+topK+`}`), "choices.0.text")
	}
	if off, none := of(`, "top_k": 0`), of(`, "top_k": -1`); off != none || off == of("") {
		t.Errorf("top_k 0 gives %q, -1 %q, the default of one token %q", off, none, of(""))
	}
	d, err := convert.OpenTokenizer("../../fixtures/trained/tokenizer.json")
	if err != nil {
		t.Fatal(err)
	}
	tok, err := tokenizer.New(d)
	if err != nil {
		t.Fatal(err)
	}
	ids, _ := json.Marshal(tok.Encode("The map", true))
	want := at(ask("/v1/completions", `{"prompt": "The map", "max_tokens": 5}`), "choices.0.text")
	for _, prompt := range []string{string(ids), "[" + string(ids) + "]", `["The map"]`} {
		v := ask("/v1/completions", `{"prompt": `+prompt+`, "max_tokens": 5}`)
		if at(v, "choices.0.text") != want || at(v, "usage.prompt_tokens") != float64(len(tok.Encode("The map", true))) {
			t.Errorf("prompt %s: %v, want %q", prompt, v, want)
		}
		v = ask("/v1/completions", `{"prompt": `+prompt+`, "max_tokens": 5, "echo": true}`)
		if at(v, "choices.0.text") != "The map"+want.(string) {
			t.Errorf("prompt %s with echo: %v", prompt, v)
		}
	}
	for _, message := range []string{`"reasoning_content": "z"`, `"reasoning": "z", "content": null`, `"tool_calls": [{"function": {"name": "f", "arguments": "{}"}}]`} {
		ask("/v1/chat/completions", `{"max_tokens": 1, "messages": [{"role": "user", "content": "q"}, {"role": "assistant", `+message+`}, {"role": "user", "content": "x"}]}`)
	}
}

// A template that loops is a 4xx, and the next request gets an answer.
func TestTemplateLoops(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	_, h := serve(t, func(o *Options) { o.Timeout = 100 * time.Millisecond }) // 20 million steps take longer
	status, v := post(t, h, "/v1/chat/completions", `{"messages": [{"role": "user", "content": "loop"}]}`)
	if status != http.StatusRequestTimeout || at(v, "error.type") != "timeout_error" {
		t.Errorf("%d %v", status, v)
	}
	if status, v := post(t, h, "/v1/chat/completions", `{"max_tokens": 2, `+question+`}`); status != http.StatusOK {
		t.Errorf("the next request: %d %v", status, v)
	}
}

// Requests at once have the answers that each has alone.
func TestConcurrent(t *testing.T) {
	_, h := serve(t, func(o *Options) { o.Queue = 6 })
	body := func(i int) string {
		return fmt.Sprintf(`{"prompt": "Go %d", "max_tokens": 15, "temperature": 1, "seed": %d}`, i%3, i)
	}
	var want [8]any
	for i := range want {
		_, v := post(t, h, "/v1/completions", body(i))
		want[i] = at(v, "choices.0.text")
	}
	var all sync.WaitGroup
	for i := range want {
		all.Go(func() {
			if status, v := post(t, h, "/v1/completions", body(i)); status != http.StatusOK || at(v, "choices.0.text") != want[i] {
				t.Errorf("request %d: %d %v, want %v", i, status, v, want[i])
			}
		})
	}
	all.Wait()
}

// A request beyond the queue gets 429. A client that disconnects frees its slot, and no
// goroutine stays.
func TestDisconnect(t *testing.T) {
	s, h := serve(t, func(o *Options) { o.Parallel, o.Queue = 1, 0 })
	post(t, h, "/v1/completions", `{"prompt": "x", "max_tokens": 1}`) // starts what stays
	h.Client().CloseIdleConnections()
	before := runtime.NumGoroutine()
	ctx, cancel := context.WithCancel(t.Context())
	s.waiting <- struct{}{} // as one in progress
	if status, v := post(t, h, "/v1/completions", `{"prompt": "x"}`); status != http.StatusTooManyRequests || at(v, "error.type") != "rate_limit_error" {
		t.Errorf("beyond the queue: %d %v", status, v)
	}
	s.leave()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, h.URL+"/v1/completions", strings.NewReader(`{"prompt": "x", "stream": true}`))
	if err != nil {
		t.Fatal(err)
	}
	res, err := h.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(res.Body, make([]byte, 10)); err != nil {
		t.Fatal(err)
	}
	cancel()
	res.Body.Close()
	deadline := time.Now().Add(10 * time.Second)
	for len(s.waiting) > 0 || len(s.idle) < 1 || runtime.NumGoroutine() > before {
		h.Client().CloseIdleConnections()
		if time.Now().After(deadline) {
			t.Fatalf("%d requests, %d idle, %d goroutines after a disconnect; %d before", len(s.waiting), len(s.idle), runtime.NumGoroutine(), before)
		}
		time.Sleep(time.Millisecond)
	}
}

const tools = `"tools": [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}]`

// A conversation with tools has the template for them, if there is one.
func TestToolTemplate(t *testing.T) {
	for _, tt := range []struct{ chat, tools, plain, with string }{
		{"{{ raise_exception('default') }}", "{{ raise_exception('tool_use') }}", "conversation: default", "conversation: tool_use"},
		{"{{ raise_exception('default') }}", "", "conversation: default", "conversation: default"},
		{"", "{{ raise_exception('tool_use') }}", "none is named default", "conversation: tool_use"},
	} {
		_, h := serveData(t, nil, func(d *tokenizer.Data) { d.ChatTemplate, d.ToolTemplate = tt.chat, tt.tools })
		for body, want := range map[string]string{question: tt.plain, tools + ", " + question: tt.with} {
			status, v := post(t, h, "/v1/chat/completions", "{"+body+"}")
			if message, _ := at(v, "error.message").(string); status != 400 || !strings.Contains(message, want) {
				t.Errorf("%q, %q: %s: %d %v, want %q", tt.chat, tt.tools, body, status, v, want)
			}
		}
	}
}

// Tools reach the template, and tool_choice makes the answer begin as a call. What is no
// call in the end is text.
func TestToolChoice(t *testing.T) {
	_, h := serve(t, nil)
	_, plain := post(t, h, "/v1/chat/completions", `{"max_tokens": 4, `+question+`}`)
	_, with := post(t, h, "/v1/chat/completions", `{"max_tokens": 4, `+tools+`, `+question+`}`)
	if a, b := at(plain, "usage.prompt_tokens").(float64), at(with, "usage.prompt_tokens").(float64); b < a+20 {
		t.Errorf("the prompt has %v tokens with a tool, %v without", b, a)
	}
	const prefix = "<tool_call>\n" + `{"name": "weather", "arguments": `
	forced := `{"max_tokens": 4, "tool_choice": {"type": "function", "function": {"name": "weather"}}, ` + tools + `, ` + question
	_, v := post(t, h, "/v1/chat/completions", forced+`}`)
	content, _ := at(v, "choices.0.message.content").(string)
	if !strings.HasPrefix(content, prefix) {
		t.Errorf("%v does not begin with a call", v)
	}
	text := ""
	for _, e := range stream(t, h, "/v1/chat/completions", forced+`, "stream": true}`) {
		part, _ := at(e, "choices.0.delta.content").(string)
		text += part
	}
	if text != content {
		t.Errorf("streamed %q, want %q", text, content)
	}
	for arguments, want := range map[string]int{"": 200, " \\n": 200, "{}": 200, "{bad": 400} { // of a call that takes none
		status, v := post(t, h, "/v1/chat/completions", `{"max_tokens": 1, "messages": [{"role": "assistant", "content": null, "tool_calls": [{"id": "1", "type": "function", "function": {"name": "now", "arguments": "`+arguments+`"}}]}, {"role": "tool", "tool_call_id": "1", "content": "4"}]}`)
		if status != want {
			t.Errorf("arguments %q: %d %v", arguments, status, v)
		}
	}
	status, v := post(t, h, "/v1/chat/completions", `{"max_tokens": 4, "messages": [{"role": "user", "content": "x"}, {"role": "assistant", "content": null, "tool_calls": [{"id": "1", "type": "function", "function": {"name": "weather", "arguments": "{\"city\": \"Rome\"}"}}]}, {"role": "tool", "tool_call_id": "1", "content": "sunny"}]}`)
	if status != http.StatusOK {
		t.Errorf("a conversation with calls: %d %v", status, v)
	}
}

// A streamed call is one delta with the calls, and its text is not sent as content.
func TestStreamedCall(t *testing.T) {
	s, _ := serve(t, nil)
	f := &chatForm{s: s, b: &body{tools: true}}
	var events []any
	for _, part := range []string{"Sure. <to", "ol_call>", `{"name": "weather", "arguments": {"city": "Rome"}}`, "</tool_call>"} {
		events = append(events, f.part(part, nil)...)
	}
	events = append(events, f.last("stop")...)
	text, err := json.Marshal(events)
	if err != nil {
		t.Fatal(err)
	}
	var list []any
	if err := json.Unmarshal(text, &list); err != nil {
		t.Fatal(err)
	}
	if len(list) != 3 || at(list, "0.choices.0.delta.content") != "Sure. " || at(list, "1.choices.0.delta.tool_calls.0.function.name") != "weather" ||
		at(list, "1.choices.0.delta.tool_calls.0.function.arguments") != `{"city":"Rome"}` || at(list, "2.choices.0.finish_reason") != "tool_calls" {
		t.Errorf("%s", text)
	}
}

// The page loads nothing from elsewhere, and its policy allows its own script and style.
func TestPage(t *testing.T) {
	_, h := serve(t, nil)
	r, err := h.Client().Get(h.URL + "/")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	text, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	policy := r.Header.Get("Content-Security-Policy")
	if !strings.Contains(policy, scriptHash) || !strings.Contains(policy, styleHash) || !strings.Contains(policy, "default-src 'none'") {
		t.Errorf("policy %q", policy)
	}
	for _, bad := range []string{"http://", "https://", "src=", "@import", "url(", " style=", " onclick"} {
		if strings.Contains(string(text), bad) {
			t.Errorf("the page contains %q", bad)
		}
	}
	for _, path := range []string{"/health", "/v1/models", "/v1/models/trained"} {
		r, err := h.Client().Get(h.URL + path)
		if err != nil || r.StatusCode != http.StatusOK {
			t.Errorf("%s: %v, %v", path, r, err)
		}
		r.Body.Close()
	}
}
