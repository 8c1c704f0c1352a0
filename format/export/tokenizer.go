package export

import (
	"fmt"

	"thimble/internal/defect"
	"thimble/internal/model"
	"thimble/internal/tokenizer"
	"thimble/internal/tokenizer/tokenfile"
)

// The files of a tokenizer in a folder that Hugging Face's programs read.
const (
	TokenizerFile       = "tokenizer.json"
	TokenizerConfigFile = "tokenizer_config.json"
)

// Tokenizer returns the tokenizer of m, or nil and a note if it has none: then says what the
// file's program does without one.
func Tokenizer(m *model.Model, then string) (d *tokenizer.Data, notes []string, err error) {
	if m.Tokenizer != nil {
		if d, err = m.Tokenizer(); err != nil {
			return nil, nil, err
		}
	}
	if d == nil {
		notes = []string{"there is no tokenizer: " + then}
	}
	return d, notes, nil
}

// Pad returns the token that fills up short texts of a batch: that of d, which may be nil, if the
// vocabulary of s has it, and otherwise -1.
func Pad(d *tokenizer.Data, s *model.Spec) int {
	if d == nil || d.Pad >= s.Vocab {
		return -1
	}
	return d.Pad
}

// TokenizerFiles returns TokenizerFile and TokenizerConfigFile for d, the tokenizer of m, and
// notes; for a nil d there are none. It refuses a tokenizer that they cannot express.
func TokenizerFiles(m *model.Model, d *tokenizer.Data, s *model.Spec) (parts []Part, notes []string, err error) {
	if d == nil {
		return nil, nil, nil
	}
	text, config, err := tokenfile.JSON(d, s.Context)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", defect.Printable(m.Path), err)
	}
	if p := d.SentencePiece; p != nil && len(p.Charsmap) > 0 {
		notes = append(notes, "sentencepiece normalizes a text by characters, programs of Hugging Face by graphemes: a few texts get other ids, such as those with carriage returns")
	}
	return []Part{Text(TokenizerFile, text), Text(TokenizerConfigFile, config)}, notes, nil
}
