// Package chat renders conversations as the text that a model was trained on. It uses
// the model's chat template, a Jinja program, in the same way as apply_chat_template of
// transformers.
package chat

import (
	"errors"
	"fmt"
	"time"
	"unicode/utf8"

	"thimble/internal/chat/jinja"
	"thimble/internal/chat/python"
	"thimble/internal/tokenizer"
)

// A Template is a compiled chat template.
type Template struct {
	compiled *jinja.Template
	specials map[string]string
}

// Compile compiles a template. specials are variables for it, as Specials returns them.
//
// A template is an untrusted program. It ends within the limits of package jinja; Start
// also limits its time and memory, in a separate process.
func Compile(source string, specials map[string]string) (*Template, error) {
	if !utf8.ValidString(source) {
		return nil, errors.New("chat template: not UTF-8")
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
func (t *Template) Render(c Conversation) (string, error) {
	variables, err := t.variables(c)
	if err != nil {
		return "", fmt.Errorf("conversation: %w", err)
	}
	text, err := t.compiled.Render(variables)
	if rejection := (*jinja.Rejection)(nil); errors.As(err, &rejection) {
		return "", fmt.Errorf("chat template: rejects this conversation: %w", err)
	}
	if err != nil {
		return "", fmt.Errorf("chat template: %w", err)
	}
	return text, nil
}

func (t *Template) variables(c Conversation) (map[string]python.Value, error) {
	list := make([]any, len(c.Messages))
	for i, m := range c.Messages {
		list[i] = aliasReasoning(m)
	}
	messages, err := jinjaValue(list)
	if err != nil {
		return nil, err
	}
	var tools python.Value
	if len(c.Tools) > 0 {
		if tools, err = jinjaValue(c.Tools); err != nil {
			return nil, err
		}
	}
	variables := map[string]python.Value{
		"messages":              messages,
		"tools":                 tools,
		"documents":             nil,
		"add_generation_prompt": c.Generate,
		"strftime_now":          &python.Func{Name: "strftime_now", Call: strftimeNow(c.Now)},
	}
	for name, content := range t.specials {
		variables[name] = content
	}
	return variables, nil
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
