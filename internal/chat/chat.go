// Package chat turns conversations into the text that a model was trained on,
// by the chat template that comes with the model: a Jinja program, rendered as
// transformers' apply_chat_template does, without tools and without the prompt
// of an answer to come.
package chat

import (
	"errors"
	"fmt"

	"github.com/ardanlabs/jinja"

	"thimble/internal/tokenizer"
)

// maxOutput bounds the text of one conversation, in bytes.
const maxOutput = 64 << 20

// A Template is a chat template that can be rendered.
type Template struct {
	compiled *jinja.Template
	specials map[string]string
}

// Compile reads a template. specials are the variables that it knows, as Specials
// returns them.
//
// A template is a stranger's program: it can loop for ever, and one that recurses
// or doubles a string ends the process that renders it. See Start.
func Compile(source string, specials map[string]string) (t *Template, err error) {
	defer contain(&err)
	source, err = plain(source)
	if err != nil {
		return nil, fmt.Errorf("chat template: %w", err)
	}
	compiled, err := jinja.Compile(source)
	if err != nil {
		return nil, fmt.Errorf("chat template: %w", err)
	}
	return &Template{compiled, specials}, nil
}

// Render returns the text of a conversation.
func (t *Template) Render(messages []Message) (text string, err error) {
	defer contain(&err)
	list := make([]jinja.Value, len(messages))
	for i, m := range messages {
		list[i] = value(thinking(m))
	}
	data := map[string]jinja.Value{
		"messages":              jinja.NewList(list),
		"tools":                 jinja.None(),
		"documents":             jinja.None(),
		"add_generation_prompt": jinja.NewBool(false),
		"raise_exception":       jinja.NewCallable("raise_exception", refuse),
		"strftime_now":          jinja.NewCallable("strftime_now", today),
	}
	for name, content := range t.specials {
		data[name] = jinja.NewString(content)
	}
	text, err = t.compiled.RenderValues(data)
	switch {
	case err != nil:
		return "", fmt.Errorf("chat template: %w", err)
	case len(text) > maxOutput:
		return "", fmt.Errorf("chat template: it makes %d bytes of one conversation, more than %d", len(text), maxOutput)
	}
	return text, nil
}

// contain makes an error of the library's panics.
func contain(err *error) {
	if p := recover(); p != nil {
		*err = fmt.Errorf("chat template: %v", p)
	}
}

// refuse is raise_exception, by which a template says what it cannot render.
func refuse(args []jinja.Value, _ map[string]jinja.Value) (jinja.Value, error) {
	if len(args) == 1 && args[0].IsString() {
		return jinja.Undefined(), fmt.Errorf("it refuses this conversation: %s", args[0].AsString())
	}
	return jinja.Undefined(), errors.New("it refuses this conversation")
}

// Specials are the variables by which a template names a tokenizer's special
// tokens, such as bos_token.
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
