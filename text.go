package thimble

import (
	"context"

	"thimble/internal/texts"
	"thimble/internal/tokenizer"
)

// A Tokenizer turns text into token ids and back.
type Tokenizer = tokenizer.Tokenizer

// MaxText is the maximum size of a text, in bytes.
const MaxText = texts.MaxBytes

// ReadText reads a text of at most limit bytes from the file at path, or from
// standard input for "-". It returns as soon as ctx ends, even while a pipe blocks. Errors
// name flag, the option that path is the value of.
func ReadText(ctx context.Context, flag, path string, limit int64) (string, error) {
	return texts.Read(ctx, flag, path, limit)
}

// Encode returns the tokens of text. If special is set, it adds the tokens that start
// and end a text. A long text takes seconds; Encode returns ctx's error as soon as ctx
// ends.
func Encode(ctx context.Context, tok *Tokenizer, text string, special bool) ([]int, error) {
	return texts.Encode(ctx, tok, text, special)
}
