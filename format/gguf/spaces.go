package gguf

import (
	"fmt"
	"slices"

	"thimble/format/gguf/vocab"
	"thimble/internal/defect"
	"thimble/internal/tokenizer"
)

// putSpaces finds the entry of vocab.Spacings for d. It adds the steps to m if prefix, which is
// add_space_prefix, does not determine them.
func (m *metadata) putSpaces(path string, d *tokenizer.Data) (prefix bool, notes []string, err error) {
	for _, s := range vocab.Spacings {
		if !slices.Equal(s.Normalizer, d.Normalizer) || !slices.Equal(s.Steps, d.Steps) {
			continue
		}
		if s.Unless {
			notes = append(notes, "llama.cpp also adds a space before a text that begins with one; this tokenizer does not")
			for _, step := range s.Steps {
				m.steps = append(m.steps, string(step))
			}
			for id, token := range d.Tokens {
				if len(token) > vocab.MaxPiece {
					return false, nil, defect.Unsupported(path, "token %d, of %d bytes, in GGUF", id, len(token))
				}
			}
		}
		return s.Prefix, notes, nil
	}
	return false, nil, defect.Unsupported(path, "a tokenizer of model %q with normalizer %v and steps %q in GGUF", d.Model, d.Normalizer, d.Steps)
}

// readSteps turns d from a tokenizer of sentencepiece into that of a tokenizer.json with
// the steps of the key thimble.tokenizer.steps.
func (f *file) readSteps(m *metadata, d *tokenizer.Data) error {
	for _, step := range m.steps {
		d.Steps = append(d.Steps, tokenizer.Step(step))
	}
	known := false
	for _, s := range vocab.Spacings {
		known = known || s.Unless && slices.Equal(s.Steps, d.Steps)
	}
	if !known {
		return f.unsupported("thimble.tokenizer.steps", "%q", defect.Printable(fmt.Sprint(m.steps)))
	}
	for id, kind := range d.Kinds {
		switch kind {
		case tokenizer.KindUserDefined:
			d.Added = append(d.Added, tokenizer.Added{ID: uint32(id), Content: string(d.Tokens[id])})
		case tokenizer.KindUnused:
			d.Literal = append(d.Literal, uint32(id))
		}
		if n := len(d.Tokens[id]); n > vocab.MaxPiece {
			return defect.Corrupt(f.path, "tokenizer.ggml.tokens", "token %d has %d bytes, want at most %d", id, n, vocab.MaxPiece)
		}
	}
	d.Decoder = []tokenizer.Rule{{Op: tokenizer.OpReplace, Old: vocab.Mark, New: " "}, {Op: tokenizer.OpBytes}, {Op: tokenizer.OpStrip, Old: " "}}
	if d.Model == tokenizer.SentencePieceBPE {
		d.Model, d.Merges, d.Scores = tokenizer.BPE, vocab.Merges(d), nil
	} else {
		d.Model = tokenizer.Unigram
	}
	d.SentencePiece, d.Kinds = nil, nil
	return nil
}
