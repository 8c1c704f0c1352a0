package tokenizer_test

import (
	"thimble/internal/tokenizer"
	"thimble/internal/tokenizer/tokenfile"
)

// Package tokenfile imports this one, so its tests get the readers through variables.
func init() {
	tokenizer.ParseJSON = func(b []byte) (*tokenizer.Data, error) { return tokenfile.ParseJSON(b, nil) }
	tokenizer.ParseSentencePiece = tokenfile.ParseSentencePiece
}
