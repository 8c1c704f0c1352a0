// Package texts reads texts and turns them into a model's tokens.
package texts

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"

	"thimble/internal/defect"
	"thimble/internal/model"
	"thimble/internal/parallel"
	"thimble/internal/tokenizer"
	"thimble/internal/units"
)

// MaxBytes is the maximum size of a text, in bytes.
const MaxBytes = 1 << 30

// Read reads a text of at most limit bytes from the file at path, or from standard input for
// "-". It returns as soon as ctx ends, even while a pipe blocks. Errors name flag, the option
// that path is the value of.
func Read(ctx context.Context, flag, path string, limit int64) (string, error) {
	return parallel.Await(ctx, func() (string, error) {
		in := os.Stdin
		if path != "-" {
			f, err := os.Open(path)
			if err != nil {
				return "", defect.Unreadable(flag, path, err)
			}
			defer f.Close()
			in = f
		}
		text, err := io.ReadAll(io.LimitReader(in, limit+1))
		if err == nil && int64(len(text)) > limit {
			err = fmt.Errorf("is larger than %s", units.Size(limit))
		}
		if err == nil && bytes.IndexByte(text, 0) >= 0 { // weights would be tokenized for hours
			err = errors.New("is no text: it has zero bytes; give a file of text in UTF-8")
		}
		if err != nil {
			return "", defect.Unreadable(flag, path, err)
		}
		return string(text), nil
	})
}

// Tokenizer returns m's tokenizer and the data it was made from. If m has none, the error says
// how to add it.
func Tokenizer(m *model.Model) (*tokenizer.Tokenizer, *tokenizer.Data, error) {
	data, err := m.Tokenizer()
	if err != nil {
		return nil, nil, err
	}
	if data == nil {
		return nil, nil, fmt.Errorf("%s: there is no tokenizer; put the checkpoint's tokenizer.json next to its weights", defect.Printable(m.Path))
	}
	tok, err := tokenizer.New(data)
	return tok, data, err
}

// Decoder returns a function that decodes tokens with m's tokenizer, which it opens on
// the first call. Without a tokenizer the function returns "".
func Decoder(m *model.Model) func([]int) string {
	opened := sync.OnceValues(func() (*tokenizer.Tokenizer, error) {
		tok, _, err := Tokenizer(m)
		return tok, err
	})
	return func(ids []int) string {
		tok, err := opened()
		if err != nil {
			return ""
		}
		return strings.ToValidUTF8(string(tok.Decode(ids)), "\ufffd")
	}
}

// Encode returns the tokens of text. If special is set, it adds the tokens that start and end a
// text. A long text takes seconds; Encode returns ctx's error as soon as ctx ends.
func Encode(ctx context.Context, tok *tokenizer.Tokenizer, text string, special bool) ([]int, error) {
	return parallel.Await(ctx, func() ([]int, error) { return tok.Encode(text, special), nil })
}

// CheckContext returns an error if there are more positions than m was trained for. Its output
// would be meaningless, and the cache might not fit.
func CheckContext(m *model.Model, positions int, remedy string) error {
	if positions > m.Spec.Context {
		return fmt.Errorf("%s: %d positions are more than the model's context of %d; %s", defect.Printable(m.Path), positions, m.Spec.Context, remedy)
	}
	return nil
}
