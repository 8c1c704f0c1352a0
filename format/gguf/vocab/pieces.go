package vocab

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"thimble/internal/defect"
	"thimble/internal/tokenizer"
)

// Types of tokens, the values of tokenizer.ggml.token_type (llama.h, enum llama_token_type).
const (
	Normal  = 1
	Unknown = 2
	Control = 3
	User    = 4
	Unused  = 5
	Byte    = 6
)

// Mark stands for a space in the vocabularies of sentencepiece.
const Mark = "\u2581"

// IsMarks reports whether s is a run of marks.
func IsMarks(s string) bool { return s != "" && strings.ReplaceAll(s, Mark, "") == "" }

// Kinds returns the type of every token. If the tokenizer does not store types, Kinds
// recognizes byte tokens by their spelling, and marks tokens that the model cannot produce
// as unused.
func Kinds(d *tokenizer.Data) []int32 {
	kinds := make([]int32, len(d.Tokens))
	for id, token := range d.Tokens {
		var b byte
		switch n, _ := fmt.Sscanf(string(token), "<0x%02X>", &b); {
		case d.Kinds != nil:
			kinds[id] = int32(d.Kinds[id])
		case id == d.Unk:
			kinds[id] = Unknown
		case d.ByteFallback && n == 1 && string(token) == fmt.Sprintf("<0x%02X>", b):
			kinds[id] = Byte
		default:
			kinds[id] = Normal
		}
	}
	if d.Kinds == nil {
		for _, id := range d.Literal {
			kinds[id] = Unused
		}
	}
	return kinds
}

// Scores returns scores that put the merges of d in their order: the score of a token is
// minus the rank of the first merge that makes it. Such scores exist if the merges of each
// token are consecutive and none is missing, as in every tokenizer that sentencepiece
// trained. The merges of the tokens in cut never apply, whatever their order.
func Scores(path string, d *tokenizer.Data, cut map[uint32]bool) ([]float64, error) {
	ids := make(map[string]uint32, len(d.Tokens))
	for id, token := range d.Tokens {
		ids[string(token)] = uint32(id)
	}
	if d.IgnoreMerges {
		return nil, defect.Unsupported(path, "a tokenizer of model %q with ignore_merges in GGUF", d.Model)
	}
	scores, made := make([]float64, len(d.Tokens)), make(map[uint32]int)
	last := uint32(0)
	for rank := range len(d.Merges) / 2 {
		left, right := d.Tokens[d.Merges[2*rank]], d.Tokens[d.Merges[2*rank+1]]
		id, ok := ids[string(left)+string(right)]
		if ok && cut[id] {
			continue
		}
		if !ok || made[id] > 0 && id != last {
			return nil, defect.Unsupported(path, "merge %d, whose order scores cannot express, in GGUF", rank)
		}
		if made[id]++; made[id] == 1 {
			scores[id] = -float64(rank)
		}
		last = id
	}
	for id, kind := range Kinds(d) {
		token := string(d.Tokens[id])
		if kind != Normal || slices.ContainsFunc(d.Added, func(a tokenizer.Added) bool { return int(a.ID) == id }) {
			continue
		}
		if pairs := pairsOf(token, ids); pairs != made[uint32(id)] {
			return nil, defect.Unsupported(path, "token %d, which %d of %d pairs of tokens make, in GGUF", id, made[uint32(id)], pairs)
		}
	}
	return scores, nil
}

// pairsOf returns the number of pairs of tokens that together are the token.
func pairsOf(token string, ids map[string]uint32) (n int) {
	for i := range token { // at each character
		_, left := ids[token[:i]]
		_, right := ids[token[i:]]
		if left && right {
			n++
		}
	}
	return n
}

// CutOut returns the added tokens that llama.cpp cuts out of every text in which merges
// would make them: those without a mark, and runs of marks, which the exporter spells as
// spaces.
func CutOut(d *tokenizer.Data, prefix bool) map[uint32]bool {
	cut := make(map[uint32]bool)
	for _, a := range d.Added {
		if !strings.Contains(a.Content, Mark) || !a.Special && !prefix && IsMarks(a.Content) {
			cut[a.ID] = true
		}
	}
	return cut
}

// Merges is the inverse of Scores: it returns every pair of tokens that makes a token,
// the highest score first.
func Merges(d *tokenizer.Data) []uint32 {
	ids := make(map[string]uint32, len(d.Tokens))
	order := make([]int, len(d.Tokens))
	for id, token := range d.Tokens {
		order[id] = id
		if d.Kinds[id] != tokenizer.KindUnused {
			ids[string(token)] = uint32(id)
		}
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(d.Scores[b], d.Scores[a]) })
	var merges []uint32
	for _, id := range order {
		if d.Kinds[id] != tokenizer.KindNormal && d.Scores[id] >= 0 { // no merge gave it a score
			continue
		}
		token := string(d.Tokens[id])
		for i := range token { // at each character
			left, ok := ids[token[:i]]
			right, ok2 := ids[token[i:]]
			if ok && ok2 {
				merges = append(merges, left, right)
			}
		}
	}
	return merges
}
