package model

import (
	"fmt"
	"slices"
)

// Remarks returns m.Notes and notes on its tokenizer, which it decodes. It omits the
// latter if the tokenizer has an error.
func (m *Model) Remarks() []string {
	if m.Tokenizer == nil {
		return m.Notes
	}
	d, err := m.Tokenizer()
	if err != nil || d == nil {
		return m.Notes
	}
	notes := slices.Concat(m.Notes, d.Notes)
	if n := len(d.Tokens); n > m.Spec.Vocab {
		notes = append(notes, fmt.Sprintf("the tokenizer has %d tokens, the embedding %d rows: a text with one of the last %d is an error", n, m.Spec.Vocab, n-m.Spec.Vocab))
	}
	return notes
}
