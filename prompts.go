package thimble

import (
	"cmp"
	"context"
	"fmt"

	"thimble/internal/defect"
	"thimble/internal/model"
	"thimble/internal/texts"
	"thimble/verify/reference"
)

// ChunkContext is the default length of a chunk of text, in tokens.
const ChunkContext = 512

// textPrompts splits the text at path into chunks of m's tokens. A context of 0 means
// ChunkContext, and 0 chunks mean all.
func textPrompts(ctx context.Context, m *model.Model, path string, context, chunks int) ([]reference.Prompt, error) {
	tok, _, err := texts.Tokenizer(m)
	if err != nil {
		return nil, err
	}
	length := cmp.Or(context, ChunkContext)
	if err := texts.CheckContext(m, length, fmt.Sprintf("use --context %d or less", m.Spec.Context)); err != nil {
		return nil, err
	}
	text, err := ReadText(ctx, "--text", path, MaxText)
	if err != nil {
		return nil, err
	}
	ids, err := Encode(ctx, tok, text, true)
	if err != nil {
		return nil, err
	}
	prompts, err := reference.TextPrompts(ids, length, chunks, tok.Start())
	if err != nil {
		return nil, fmt.Errorf("%s: %w", defect.Printable(path), err)
	}
	return prompts, nil
}
