package chat

import (
	"strings"

	"thimble/internal/strictjson"
)

// A ToolCall is a function that a model calls.
type ToolCall struct {
	Name      string
	Arguments string // a JSON object
}

// A ToolStyle is how the models of one family write tool calls.
type ToolStyle struct {
	name      string
	hints     []string // the chat template contains one of them
	open      string   // before a call
	close     string   // after a call, may be missing at the end of the text
	list      bool     // a list of calls follows open
	bare      bool     // the whole text may be calls, without open
	arguments string   // key of the arguments
	Markers   []string // special tokens that are part of the text of a call
}

// toolStyles are, in this order: Qwen 2 and 3, SmolLM and Nous Hermes; Mistral (v3 and
// later); Llama 3.1 to 3.3 (its "JSON based tool calling").
var toolStyles = []ToolStyle{
	{name: "hermes", hints: []string{"<tool_call>"}, open: "<tool_call>", close: "</tool_call>", arguments: "arguments", Markers: []string{"<tool_call>", "</tool_call>"}},
	{name: "mistral", hints: []string{"[TOOL_CALLS]"}, open: "[TOOL_CALLS]", list: true, arguments: "arguments", Markers: []string{"[TOOL_CALLS]", "[ARGS]"}},
	{name: "llama3", hints: []string{"<|python_tag|>", `"parameters": `}, open: "<|python_tag|>", close: ";", bare: true, arguments: "parameters", Markers: []string{"<|python_tag|>"}},
}

// ToolStyleOf returns the style of the models that use a chat template, or nil if the
// template does not say.
func ToolStyleOf(template string) *ToolStyle {
	if !strings.Contains(template, "tools") {
		return nil
	}
	for i, s := range toolStyles {
		for _, hint := range s.hints {
			if strings.Contains(template, hint) {
				return &toolStyles[i]
			}
		}
	}
	return nil
}

// Prefix returns how a call of the function called name begins, up to its arguments. With
// an empty name it returns how any call begins.
func (s *ToolStyle) Prefix(name string) string {
	text := s.open
	if s.bare {
		text = ""
	}
	switch {
	case s.list:
		text += ` [`
	case !s.bare:
		text += "\n"
	}
	text += `{"name": "`
	if name != "" {
		text += name + `", "` + s.arguments + `": `
	}
	return text
}

// Safe returns how much of text, the start of an answer, cannot be part of a call.
func (s *ToolStyle) Safe(text string) int {
	if s.bare {
		start := len(text) - len(strings.TrimLeft(text, " \n\t"))
		if rest := text[start:]; rest == "" || rest[0] == '{' {
			return 0
		}
	}
	if at := strings.Index(text, s.open); at >= 0 {
		return at
	}
	return len(text) - overlap(text, s.open)
}

// overlap returns the length of the longest proper prefix of word that text ends with.
func overlap(text, word string) int {
	for n := min(len(text), len(word)-1); n > 0; n-- {
		if strings.HasSuffix(text, word[:n]) {
			return n
		}
	}
	return 0
}

// Parse divides an answer into text and calls. An answer that is not well-formed calls
// is text. Of one that had to begin as a call, what follows the calls is dropped: small
// models forget the end of a call and go on.
func (s *ToolStyle) Parse(text string, forced bool) (content string, calls []ToolCall) {
	content, rest, found := strings.Cut(text, s.open)
	if !found {
		if !s.bare || !strings.HasPrefix(strings.TrimSpace(text), "{") {
			return text, nil
		}
		content, rest = "", text
	}
	var ok bool
	if s.list {
		calls, ok = s.parseList(rest, forced)
	} else {
		calls, ok = s.parseEach(rest, forced)
	}
	if !ok || len(calls) == 0 {
		return text, nil
	}
	return strings.TrimSpace(content), calls
}

// parseEach reads calls that are separated by close and open. If forced is set, it ends at
// what is no call.
func (s *ToolStyle) parseEach(text string, forced bool) (calls []ToolCall, ok bool) {
	for strings.TrimSpace(text) != "" {
		text = strings.TrimPrefix(strings.TrimSpace(text), s.open)
		v, rest := firstValue(text)
		call, ok := s.call(v)
		if !ok {
			return calls, forced
		}
		calls = append(calls, call)
		rest = strings.TrimSpace(rest)
		after, closed := strings.CutPrefix(rest, s.close)
		if !closed && rest != "" {
			return calls, forced
		}
		text = after
	}
	return calls, true
}

// parseList reads a JSON list of calls, or the newer form NAME[ARGS]{...}. If forced is set,
// more may follow.
func (s *ToolStyle) parseList(text string, forced bool) (calls []ToolCall, ok bool) {
	if !strings.HasPrefix(strings.TrimSpace(text), "[") {
		for part := range strings.SplitSeq(text, s.open) {
			name, arguments, _ := strings.Cut(part, "[ARGS]")
			v, rest := firstValue(arguments)
			if o, isObject := v.(Object); isObject && strings.TrimSpace(rest) == "" && strings.TrimSpace(name) != "" {
				calls = append(calls, ToolCall{strings.TrimSpace(name), compact(o)})
			} else {
				return nil, false
			}
		}
		return calls, true
	}
	v, rest := firstValue(text)
	list, _ := v.([]any)
	if strings.TrimSpace(rest) != "" && !forced {
		return nil, false
	}
	for _, v := range list {
		call, ok := s.call(v)
		if !ok {
			return nil, false
		}
		calls = append(calls, call)
	}
	return calls, true
}

// call reads an object with a name and arguments, which some models write as a string.
func (s *ToolStyle) call(v any) (c ToolCall, ok bool) {
	o, _ := v.(Object)
	name, _ := o.find("name")
	if c.Name, ok = name.(string); !ok || c.Name == "" {
		return c, false
	}
	c.Arguments = "{}"
	for _, key := range []string{"arguments", "parameters"} {
		switch v, _ := o.find(key); v := v.(type) {
		case Object:
			c.Arguments = compact(v)
		case string:
			inner, rest := firstValue(v)
			if _, isObject := inner.(Object); !isObject || strings.TrimSpace(rest) != "" {
				return c, false
			}
			c.Arguments = compact(inner)
		}
	}
	return c, true
}

// firstValue reads the JSON object or list at the start of text, after white space, and
// returns what follows it.
func firstValue(text string) (v any, rest string) {
	end := strictjson.Enclosed(text, "{[", "}]")
	if end == 0 {
		return nil, text
	}
	v, err := ParseValue("tool call", []byte(text[:end]))
	if err != nil {
		return nil, text
	}
	return v, text[end:]
}
