package selftest

import (
	"cmp"
	_ "embed"
	"fmt"

	"thimble/internal/model"
	"thimble/internal/texts"
	"thimble/verify/reference"
)

// Length and number of the chunks of the built-in text: enough for faults to show.
const (
	builtinContext = 128
	builtinChunks  = 2
)

// builtinText is plain English with a few numbers, a list and a line of code:
// neighbouring tokens differ, and predictions depend on distant ones.
//
//go:embed prompt.txt
var builtinText string

// Prompts splits the built-in text into chunks. A context or number of chunks of
// 0 means the default.
func Prompts(m *model.Model, context, chunks int) ([]reference.Prompt, error) {
	tok, _, err := texts.Tokenizer(m)
	if err != nil {
		return nil, err
	}
	if err := texts.CheckContext(m, context, fmt.Sprintf("use --context %d or less", m.Spec.Context)); err != nil {
		return nil, err
	}
	length := cmp.Or(context, min(builtinContext, m.Spec.Context))
	prompts, err := reference.TextPrompts(tok.Encode(builtinText, true), length, cmp.Or(chunks, builtinChunks), tok.Start())
	if err != nil {
		return nil, fmt.Errorf("the built-in text: %w", err)
	}
	return prompts, nil
}
