package chat

import (
	"slices"
	"testing"
)

func style(t *testing.T, template string) *ToolStyle {
	t.Helper()
	s := ToolStyleOf(template)
	if s == nil {
		t.Fatalf("%q has no style", template)
	}
	return s
}

// Calls are read as each family writes them; anything else stays text.
func TestParseCalls(t *testing.T) {
	const hermes, mistral, llama = "{{ tools }}<tool_call>", "{{ tools }}[TOOL_CALLS]", `{{ tools }}{"name": function name, "parameters": dictionary}`
	weather := ToolCall{"weather", `{"city":"Rome","days":2}`}
	for _, tt := range []struct {
		template, text, content string
		calls                   []ToolCall
	}{
		{hermes, "<tool_call>\n{\"name\": \"weather\", \"arguments\": {\"city\": \"Rome\", \"days\": 2}}\n</tool_call>", "", []ToolCall{weather}},
		{hermes, "Sure.\n<tool_call>{\"name\": \"weather\", \"arguments\": \"{\\\"city\\\": \\\"Rome\\\", \\\"days\\\": 2}\"}", "Sure.", []ToolCall{weather}},
		{hermes, "<tool_call>{\"name\": \"a\", \"arguments\": {}}</tool_call>\n<tool_call>{\"name\": \"b\"}</tool_call>", "", []ToolCall{{"a", "{}"}, {"b", "{}"}}},
		{hermes, "<tool_call>{\"name\": \"a}\", \"arguments\": {\"x\": \"}</tool_call>\"}}</tool_call>", "", []ToolCall{{"a}", `{"x":"}\u003c/tool_call\u003e"}`}}},
		{hermes, "<tool_call>{\"name\": ", "<tool_call>{\"name\": ", nil},
		{hermes, "<tool_call>{\"name\": 3}</tool_call>", "<tool_call>{\"name\": 3}</tool_call>", nil},
		{hermes, "<tool_call>{\"name\": \"a\"}</tool_call> and more", "<tool_call>{\"name\": \"a\"}</tool_call> and more", nil},
		{hermes, "<tool_call>{\"name\": \"a\", \"arguments\": \"no\"}", "<tool_call>{\"name\": \"a\", \"arguments\": \"no\"}", nil},
		{hermes, "{\"name\": \"weather\"}", "{\"name\": \"weather\"}", nil},
		{hermes, "Hello", "Hello", nil},
		{mistral, "[TOOL_CALLS] [{\"name\": \"weather\", \"arguments\": {\"city\": \"Rome\", \"days\": 2}}, {\"name\": \"b\", \"arguments\": {}}]", "", []ToolCall{weather, {"b", "{}"}}},
		{mistral, "[TOOL_CALLS]weather[ARGS]{\"city\": \"Rome\", \"days\": 2}[TOOL_CALLS]b[ARGS]{}", "", []ToolCall{weather, {"b", "{}"}}},
		{mistral, "[TOOL_CALLS]weather", "[TOOL_CALLS]weather", nil},
		{mistral, "[TOOL_CALLS] [1]", "[TOOL_CALLS] [1]", nil},
		{llama, `{"name": "weather", "parameters": {"city": "Rome", "days": 2}}`, "", []ToolCall{weather}},
		{llama, `<|python_tag|>{"name": "weather", "parameters": {"city": "Rome", "days": 2}}; {"name": "b", "parameters": {}}`, "", []ToolCall{weather, {"b", "{}"}}},
		{llama, `{"answer": 3}`, `{"answer": 3}`, nil},
		{llama, `Paris`, `Paris`, nil},
	} {
		content, calls := style(t, tt.template).Parse(tt.text, false)
		if content != tt.content || !slices.Equal(calls, tt.calls) {
			t.Errorf("%q: %q, %q; want %q, %q", tt.text, content, calls, tt.content, tt.calls)
		}
	}
	// An answer that had to be a call is one, whatever follows it.
	for _, tt := range [][2]string{
		{hermes, "<tool_call>\n{\"name\": \"a\"}\n\nIt is sunny."}, {hermes, "<tool_call>{\"name\": \"a\"}</tool_call> and more"},
		{mistral, "[TOOL_CALLS] [{\"name\": \"a\"}] and more"}, {llama, "{\"name\": \"a\"} and more"},
	} {
		if content, calls := style(t, tt[0]).Parse(tt[1], true); content != "" || !slices.Equal(calls, []ToolCall{{"a", "{}"}}) {
			t.Errorf("%q, which had to be a call: %q, %q", tt[1], content, calls)
		}
	}
	if content, calls := style(t, hermes).Parse("<tool_call>{\"name\": ", true); calls != nil || content == "" {
		t.Errorf("half a call is %q, %q", content, calls)
	}
	if s := ToolStyleOf("{{ messages }}<tool_call>"); s != nil {
		t.Errorf("a template without tools has style %s", s.name)
	}
}

// What is safe to show never contains a part of a call, and text is shown at once.
func TestSafe(t *testing.T) {
	const hermes, llama = "{{ tools }}<tool_call>", "{{ tools }}<|python_tag|>"
	for _, tt := range []struct {
		template, text string
		want           int
	}{
		{hermes, "Hi there", 8}, {hermes, "Hi <", 3}, {hermes, "Hi <b", 5}, {hermes, "Hi <tool_cal", 3}, {hermes, "a<tool_call>b", 1},
		{hermes, "{", 1}, {llama, "{", 0}, {llama, " \n", 0}, {llama, "Hi {", 4}, {llama, "Hi <|py", 3},
	} {
		if got := style(t, tt.template).Safe(tt.text); got != tt.want {
			t.Errorf("%q: %d bytes are safe, want %d", tt.text, got, tt.want)
		}
	}
	for _, text := range []string{style(t, hermes).Prefix("f") + "{}}</tool_call>", style(t, llama).Prefix("f") + "{}}", style(t, "tools [TOOL_CALLS]").Prefix("f") + "{}}]"} {
		s := style(t, hermes)
		if text[0] == '{' {
			s = style(t, llama)
		} else if text[0] == '[' {
			s = style(t, "tools [TOOL_CALLS]")
		}
		if _, calls := s.Parse(text, false); !slices.Equal(calls, []ToolCall{{"f", "{}"}}) {
			t.Errorf("%q: %q", text, calls)
		}
	}
}

// Tools and the prompt for an answer reach the template, across the process.
func TestConversation(t *testing.T) {
	const source = "{{ tools[0].function.name if tools else 'none' }}{% for m in messages %}|{{ m.content }}{% endfor %}{% if add_generation_prompt %}>{% endif %}"
	tool := Object{{"function", Object{{"name", "f"}}}}
	c := Conversation{Messages: []Message{NewMessage("user", "a")}, Tools: []any{tool}, Generate: true}
	template, err := Compile(source, nil)
	if err != nil {
		t.Fatal(err)
	}
	if text, err := template.Render(c); err != nil || text != "f|a>" {
		t.Errorf("%q, %v", text, err)
	}
	r := &Renderer{command: server(t).Args, source: source, turn: make(chan struct{}, 1)}
	for range 2 {
		if text, err := r.Render(t.Context(), c); err != nil || text != "f|a>" {
			t.Errorf("%q, %v", text, err)
		}
	}
	r.process.err = errShape // as after a template that exceeded a limit
	r.process.cmd.Process.Kill()
	if _, err := r.Render(t.Context(), c); err == nil {
		t.Error("a process that has ended renders")
	}
	if text, err := r.Render(t.Context(), Conversation{Messages: c.Messages}); err != nil || text != "none|a" {
		t.Errorf("after an error: %q, %v", text, err)
	}
	r.Close()
}
