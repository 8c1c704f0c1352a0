// Package chat renders conversations as the text that a model was trained on. It uses
// the model's chat template, a Jinja program, in the same way as apply_chat_template of
// transformers.
package chat

import (
	"errors"
	"fmt"
	"time"

	"github.com/ardanlabs/jinja"

	"thimble/internal/tokenizer"
)

// maxOutput is the most bytes that one conversation may render to.
const maxOutput = 64 << 20

// A Template is a compiled chat template.
type Template struct {
	compiled *jinja.Template
	specials map[string]string
}

// Compile compiles a template. specials are variables for it, as Specials returns them.
//
// A template is an untrusted program. It can loop forever, and one that recurses or
// doubles a string without end kills the process that renders it. Start therefore uses a
// separate process.
func Compile(source string, specials map[string]string) (t *Template, err error) {
	defer recoverPanic(&err)
	source, err = literalText(source)
	if err != nil {
		return nil, fmt.Errorf("chat template: %w", err)
	}
	compiled, err := jinja.Compile(source)
	if err != nil {
		return nil, fmt.Errorf("chat template: %w", err)
	}
	return &Template{compiled, specials}, nil
}

// A Conversation is what a template renders.
type Conversation struct {
	Messages []Message `json:"messages"`
	Tools    []any     `json:"tools,omitempty"`    // functions that the model may call, each an Object
	Generate bool      `json:"generate,omitempty"` // the text ends with the prompt for an answer
	Now      time.Time `json:"now,omitzero"`       // for strftime_now; zero means fixedDate
}

// Render returns the text of a conversation.
func (t *Template) Render(c Conversation) (text string, err error) {
	defer recoverPanic(&err)
	list := make([]jinja.Value, len(c.Messages))
	for i, m := range c.Messages {
		list[i] = jinjaValue(aliasReasoning(m))
	}
	tools := jinja.None()
	if len(c.Tools) > 0 {
		tools = jinjaValue(c.Tools)
	}
	data := map[string]jinja.Value{
		"messages":              jinja.NewList(list),
		"tools":                 tools,
		"documents":             jinja.None(),
		"add_generation_prompt": jinja.NewBool(c.Generate),
		"raise_exception":       jinja.NewCallable("raise_exception", raiseException),
		"strftime_now":          jinja.NewCallable("strftime_now", strftimeNow(c.Now)),
	}
	for name, content := range t.specials {
		data[name] = jinja.NewString(content)
	}
	text, err = t.compiled.RenderValues(data)
	switch {
	case err != nil:
		return "", fmt.Errorf("chat template: %w", err)
	case len(text) > maxOutput:
		return "", fmt.Errorf("chat template: renders one conversation as %d bytes, more than %d", len(text), maxOutput)
	}
	return text, nil
}

// recoverPanic turns a panic of the library into an error.
func recoverPanic(err *error) {
	if p := recover(); p != nil {
		*err = fmt.Errorf("chat template: %v", p)
	}
}

// raiseException implements raise_exception, which a template calls to reject a
// conversation.
func raiseException(args []jinja.Value, _ map[string]jinja.Value) (jinja.Value, error) {
	if len(args) == 1 && args[0].IsString() {
		return jinja.Undefined(), fmt.Errorf("rejects this conversation: %s", args[0].AsString())
	}
	return jinja.Undefined(), errors.New("rejects this conversation")
}

// Specials returns the variables of a template that hold special tokens of the
// tokenizer, such as bos_token.
func Specials(d *tokenizer.Data) map[string]string {
	specials := map[string]string{}
	for name, id := range map[string]int{"bos_token": d.BOS, "eos_token": d.EOS, "pad_token": d.Pad, "unk_token": d.Unk} {
		if id < 0 || id >= len(d.Tokens) {
			continue
		}
		specials[name] = string(d.Tokens[id])
		for _, a := range d.Added {
			if int(a.ID) == id {
				specials[name] = a.Content
			}
		}
	}
	return specials
}
