package vocab

import (
	"fmt"
	"slices"

	"thimble/internal/defect"
	"thimble/internal/tokenizer"
)

// WithRows returns d without the tokens that have no row in the embedding, which GGUF cannot
// list, and a note about them. They must be added tokens: merges cannot do without the others.
func WithRows(path string, d *tokenizer.Data, rows int) (*tokenizer.Data, []string, error) {
	n := len(d.Tokens)
	if n <= rows {
		return d, nil, nil
	}
	beyond := func(id uint32) bool { return int(id) >= rows }
	unsupported := func(what string) error {
		return defect.Unsupported(path, "a tokenizer of %d tokens over an embedding of %d rows, which lacks that of %s, in GGUF", n, rows, what)
	}
	added, left := make(map[uint32]bool), make(map[string]bool)
	for _, a := range d.Added {
		added[a.ID] = true
		left[a.Content] = left[a.Content] || beyond(a.ID)
	}
	for id := rows; id < n; id++ {
		if !added[uint32(id)] {
			return nil, nil, unsupported(fmt.Sprintf("token %d", id))
		}
	}
	switch {
	case slices.ContainsFunc(d.Merges, beyond):
		return nil, nil, unsupported("a token that merges")
	case slices.ContainsFunc(d.Prefix, beyond) || slices.ContainsFunc(d.Suffix, beyond):
		return nil, nil, unsupported("a token around each text")
	case max(d.BOS, d.EOS, d.Unk) >= rows:
		return nil, nil, unsupported("bos, eos or the unknown token")
	}
	short := *d
	short.Merges = nil
	for i := 0; i+1 < len(d.Merges); i += 2 {
		if pair := d.Merges[i : i+2]; !left[string(d.Tokens[pair[0]])+string(d.Tokens[pair[1]])] {
			short.Merges = append(short.Merges, pair...)
		}
	}
	short.Tokens = d.Tokens[:rows]
	if d.Scores != nil {
		short.Scores = d.Scores[:rows]
	}
	if d.Kinds != nil {
		short.Kinds = d.Kinds[:rows]
	}
	if d.Pad >= rows {
		short.Pad = -1
	}
	short.Literal = slices.DeleteFunc(slices.Clone(d.Literal), beyond)
	short.Added = slices.DeleteFunc(slices.Clone(d.Added), func(a tokenizer.Added) bool { return beyond(a.ID) })
	return &short, []string{fmt.Sprintf("the last %d tokens have no row in the embedding and are left out", n-rows)}, nil
}
