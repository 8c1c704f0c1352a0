package server

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"thimble/internal/chat"
	"thimble/internal/session"
	"thimble/internal/spell"
)

// body is a request of either kind.
type body struct {
	chat.Conversation
	prompt  string
	ids     []int // the prompt as tokens, instead
	request session.Request
	stream  bool
	usage   bool   // a last chunk with the usage
	prefix  string // how the answer must begin
	tools   bool   // the answer may be calls
	echo    bool
}

// limits of a request, beside Options.
const (
	maxStops   = 16
	maxTop     = 20 // logprobs, as in OpenAI's API
	maxTools   = 128
	maxMessage = 4096 // messages
)

// A field reads one member of a request. ok is false if the value has the wrong type.
type field struct {
	want string
	read func(b *body, v any) (ok bool)
}

// number reads a number into place(b).
func number(place func(*body) *float64) field {
	return field{"a number", func(b *body, v any) bool {
		n, ok := v.(json.Number)
		if !ok {
			return false
		}
		x, err := n.Float64()
		*place(b) = x
		return err == nil
	}}
}

// wholeNumber returns a whole number that 32 bits hold.
func wholeNumber(v any) (int, bool) {
	n, ok := v.(json.Number)
	if !ok {
		return 0, false
	}
	x, err := n.Int64()
	return int(x), err == nil && x >= -1<<31 && x < 1<<31
}

// fields are the members of both kinds of request that have a meaning here.
var fields = map[string]field{
	"temperature":           number(func(b *body) *float64 { return &b.request.Temperature }),
	"top_p":                 number(func(b *body) *float64 { return &b.request.TopP }),
	"min_p":                 number(func(b *body) *float64 { return &b.request.MinP }),
	"repetition_penalty":    number(func(b *body) *float64 { return &b.request.RepetitionPenalty }),
	"top_k":                 {"a whole number; 0 or -1 is no limit", readTopK},
	"max_tokens":            {"a positive whole number, or -1 for no limit", readTokens},
	"max_completion_tokens": {"a positive whole number, or -1 for no limit", readTokens},
	"seed": {"a whole number", func(b *body, v any) bool {
		n, ok := v.(json.Number)
		if !ok {
			return false
		}
		x, err := n.Int64()
		b.request.Seed = uint64(x)
		return err == nil
	}},
	"n": {"1: this server gives one answer to a request", func(_ *body, v any) bool { return v == json.Number("1") }},
	"stop": {fmt.Sprintf("a string or a list of up to %d", maxStops), func(b *body, v any) bool {
		if s, ok := v.(string); ok {
			v = []any{s}
		}
		list, ok := v.([]any)
		b.request.Stop = nil
		for _, v := range list {
			s, isText := v.(string)
			ok = ok && isText
			b.request.Stop = append(b.request.Stop, s)
		}
		return ok && len(list) <= maxStops
	}},
	"stream": {"true or false", func(b *body, v any) (ok bool) {
		b.stream, ok = v.(bool)
		return ok
	}},
	"stream_options": {"an object", func(b *body, v any) bool {
		o, ok := v.(chat.Object)
		for _, m := range o {
			if m.Key == "include_usage" {
				b.usage, ok = m.Value.(bool)
			}
		}
		return ok
	}},
}

// readTopK reads how many tokens to sample from. As in vLLM, -1 is all of them.
func readTopK(b *body, v any) (ok bool) {
	b.request.TopK, ok = wholeNumber(v)
	if b.request.TopK == -1 {
		b.request.TopK = 0
	}
	return ok
}

// readTokens reads the length of an answer. As in llama.cpp, -1 is no limit.
func readTokens(b *body, v any) bool {
	n, ok := v.(json.Number)
	if !ok {
		return false
	}
	x, err := n.Int64()
	b.request.Tokens = int(min(max(x, 0), 1<<31-1))
	return err == nil && (x > 0 || x == -1)
}

// refused are members of which only one value changes nothing; others would change the answer
// in a way that this server does not know.
var refused = map[string]string{
	"frequency_penalty": "0", "presence_penalty": "0", "logit_bias": "{}", "best_of": "1", "suffix": `""`,
	"response_format": `{"type":"text"}`, "modalities": `["text"]`, "functions": "[]", "audio": "{}",
}

// ignored are members of other servers that are one letter from a member of ours. Of OpenAI's
// own members, those without a meaning here are ignored, too; none is so near to another.
var ignored = []string{"top_a"}

// names returns the names of members in a fixed order.
func names[V any](members map[string]V) []string { return slices.Sorted(maps.Keys(members)) }

// read reads the body of a request: the members that both kinds share, and those of own.
func (s *Server) read(w http.ResponseWriter, r *http.Request, own map[string]field) (*body, chat.Object, error) {
	text, err := io.ReadAll(http.MaxBytesReader(w, r.Body, s.MaxBody))
	if err != nil {
		return nil, nil, err
	}
	v, err := chat.ParseValue("request", text)
	if err != nil {
		return nil, nil, &apiError{http.StatusBadRequest, "invalid_request_error", "invalid_json", "", err.Error()}
	}
	o, ok := v.(chat.Object)
	if !ok {
		return nil, nil, &apiError{http.StatusBadRequest, "invalid_request_error", "invalid_json", "", "the request is not a JSON object"}
	}
	b := &body{request: s.Defaults}
	b.request.Seed = rand.Uint64()
	for _, m := range o {
		if err := s.readMember(b, m, own); err != nil {
			return nil, nil, err
		}
	}
	for _, stop := range b.request.Stop {
		if stop == "" {
			return nil, nil, invalid("stop", "a text is empty")
		}
	}
	if b.request.Tokens == 0 || b.request.Tokens > s.MaxTokens {
		b.request.Tokens = s.MaxTokens
	}
	if err := b.request.Check(); err != nil {
		name, _, _ := strings.Cut(err.Error(), " ")
		return nil, nil, invalid(name, "%s", strings.TrimPrefix(err.Error(), name+" "))
	}
	return b, o, nil
}

// readMember reads one member of a request. A null is no value.
func (s *Server) readMember(b *body, m chat.Member, own map[string]field) error {
	if m.Value == nil {
		return nil
	}
	if m.Key == "model" {
		if id, _ := m.Value.(string); id != s.Name {
			return s.unknownModel(id)
		}
		return nil
	}
	f, known := own[m.Key]
	if !known {
		f, known = fields[m.Key]
	}
	usual, listed := refused[m.Key]
	switch {
	case known && !f.read(b, m.Value):
		return invalid(m.Key, "want %s", f.want)
	case !known && !listed && !slices.Contains(ignored, m.Key):
		if meant := spell.Slip(m.Key, slices.Concat(names(own), names(fields), names(refused))); meant != "" {
			return &apiError{http.StatusBadRequest, "invalid_request_error", "unknown_parameter", m.Key, fmt.Sprintf("%s: there is no such field; did you mean %s?", m.Key, meant)}
		}
	}
	if listed {
		got, _ := json.Marshal(m.Value)
		if n, ok := m.Value.(json.Number); ok {
			x, _ := n.Float64()
			got = strconv.AppendFloat(nil, x, 'g', -1, 64) // 0.0 is 0
		}
		if string(got) != usual {
			return invalid(m.Key, "is not supported")
		}
	}
	return nil
}

// chatFields are the members of a chat request.
var chatFields = map[string]field{
	"messages": {"a list of messages", func(b *body, v any) bool { _, ok := v.([]any); return ok }}, // readMessages
	"logprobs": {"true or false", func(b *body, v any) (ok bool) {
		b.request.Logprobs, ok = v.(bool)
		return ok
	}},
	"top_logprobs": {fmt.Sprintf("0 to %d", maxTop), readTop},
	"tools": {fmt.Sprintf("a list of up to %d functions", maxTools), func(b *body, v any) bool {
		list, ok := v.([]any)
		b.Tools = list
		for _, t := range list {
			if _, isObject := t.(chat.Object); !isObject || toolName(t) == "" {
				return false
			}
		}
		return ok && len(list) <= maxTools
	}},
}

func readTop(b *body, v any) bool {
	n, ok := v.(json.Number)
	if !ok {
		return false
	}
	x, err := n.Int64()
	b.request.Top = int(x)
	return err == nil && x >= 0 && x <= maxTop
}

// completionFields are the members of a completion request.
var completionFields = map[string]field{
	"prompt": {"a string or a list of token ids; one request takes one", readPrompt},
	"logprobs": {"0 to 5", func(b *body, v any) bool {
		b.request.Logprobs = true
		return readTop(b, v) && b.request.Top <= 5
	}},
	"echo": {"true or false", func(b *body, v any) (ok bool) {
		b.echo, ok = v.(bool)
		return ok
	}},
}

// readPrompt reads a prompt, or a list that has one, which is a text or a list of tokens.
func readPrompt(b *body, v any) (ok bool) {
	list, isList := v.([]any)
	if isList && len(list) == 1 {
		if _, isNumber := list[0].(json.Number); !isNumber {
			v = list[0]
			list, isList = v.([]any)
		}
	}
	if !isList {
		b.prompt, ok = v.(string)
		return ok
	}
	b.ids = []int{}
	for _, v := range list {
		id, ok := wholeNumber(v)
		if !ok {
			return false
		}
		b.ids = append(b.ids, id)
	}
	return len(list) > 0
}

// toolName returns the name of a function in a list of tools, or "".
func toolName(v any) string {
	function, _ := member(v, "function").(chat.Object)
	name, _ := member(function, "name").(string)
	return name
}

func member(v any, key string) any {
	o, _ := v.(chat.Object)
	for _, m := range o {
		if m.Key == key {
			return m.Value
		}
	}
	return nil
}

// readMessages reads the messages of a chat request and what it says about tools.
func (s *Server) readMessages(b *body, o chat.Object) error {
	list, _ := member(o, "messages").([]any)
	if len(list) == 0 || len(list) > maxMessage {
		return invalid("messages", "want 1 to %d messages", maxMessage)
	}
	for i, v := range list {
		m, err := chat.APIMessage(v)
		if err != nil {
			return invalid(fmt.Sprintf("messages[%d]", i), "%v", err)
		}
		b.Messages = append(b.Messages, m)
	}
	return s.readToolChoice(b, member(o, "tool_choice"))
}

// readToolChoice decides whether the answer may, or must, be a call.
func (s *Server) readToolChoice(b *body, choice any) error {
	if choice == "none" || len(b.Tools) == 0 {
		if choice != nil && choice != "none" && choice != "auto" {
			return invalid("tool_choice", "there are no tools")
		}
		b.Tools = nil
		return nil
	}
	b.tools = s.tools != nil
	if choice == nil || choice == "auto" {
		return nil
	}
	if s.tools == nil {
		return invalid("tool_choice", "the chat template of this model does not say how tools are called")
	}
	name := ""
	if choice != "required" {
		if name = toolName(choice); name == "" {
			return invalid("tool_choice", `want "none", "auto", "required" or a function`)
		}
		known := false
		for _, t := range b.Tools {
			known = known || toolName(t) == name
		}
		if !known {
			return invalid("tool_choice", "there is no function %q among the tools", clip(name))
		}
	} else if len(b.Tools) == 1 {
		name = toolName(b.Tools[0])
	}
	b.prefix = s.tools.Prefix(name)
	return nil
}
