package gguf

import (
	"fmt"
	"slices"
	"strings"

	"thimble/internal/model"
	"thimble/internal/tokenizer"
)

// aliases are other names of what splits lists: llama.cpp takes them for the same
// (llama-vocab.cpp, where tokenizer_pre is compared).
var aliases = map[string]string{"llama3": "llama-bpe", "llama-v3": "llama-bpe", "phi-2": "gpt-2", "deepseek-r1-qwen": "qwen2"}

// startsTexts lists the values of tokenizer.ggml.pre with which a text begins
// with bos unless a key says otherwise.
var startsTexts = []string{"llama-bpe"}

// tokenizer returns the tokenizer of the file, nil if it has none.
func (f *file) tokenizer(s *model.Spec) (*tokenizer.Data, error) {
	m := &metadata{architecture: "none"}
	if err := f.take(m, func(name string) bool {
		return strings.HasPrefix(name, "tokenizer.") || strings.HasPrefix(name, "thimble.")
	}); err != nil {
		return nil, err
	}
	switch m.tokenizer {
	case "", "none", "no_vocab":
		return nil, nil
	case "gpt2":
	default:
		return nil, f.unsupported("tokenizer.ggml.model", "%q", model.Printable(m.tokenizer))
	}
	if err := f.otherTokenizerKeys(m); err != nil {
		return nil, err
	}
	d := &tokenizer.Data{
		Model: tokenizer.ByteLevelBPE, BOS: number(m.bos), EOS: number(m.eos), Pad: number(m.pad), Unk: number(m.unk), ChatTemplate: m.chatTemplate,
	}
	pre := m.pre
	if name, ok := aliases[pre]; ok {
		pre = name
	}
	known := false
	for _, split := range splits {
		if split.pre == pre {
			d.Steps, d.IgnoreMerges, known = split.steps, split.ignoreMerges, true
		}
	}
	if !known {
		return nil, f.unsupported("tokenizer.ggml.pre", "%q", model.Printable(m.pre))
	}
	if m.addBOS != nil && *m.addBOS || m.addBOS == nil && slices.Contains(startsTexts, pre) {
		d.Prefix = around(m.bos)
	}
	if m.addEOS != nil && *m.addEOS {
		d.Suffix = around(m.eos)
	}
	ids, err := f.readTokens(m, d, s)
	if err != nil {
		return nil, err
	}
	if err := f.readMerges(m, d, ids); err != nil {
		return nil, err
	}
	if _, err := tokenizer.New(d); err != nil {
		return nil, fmt.Errorf("%s: %w", model.Printable(f.path), err)
	}
	return d, nil
}

func (f *file) unsupported(key, format string, args ...any) error {
	return fmt.Errorf("%s: %w", model.Printable(f.path), model.Unsupported(key, format, args...))
}

func number(id *uint32) int {
	if id == nil {
		return -1
	}
	return int(*id)
}

func around(id *uint32) []uint32 {
	if id == nil {
		return nil
	}
	return []uint32{*id}
}

// otherTokenizerKeys refuses the keys that may change ids, but for those of the
// table. A key without a dot after "tokenizer.ggml." that ends in _token_id names
// a token and no more.
func (f *file) otherTokenizerKeys(m *metadata) error {
	inert := []string{
		"tokenizer.ggml.scores", "tokenizer.ggml.token_type_count", "tokenizer.ggml.remove_extra_whitespaces", // of sentencepiece and BERT
		"tokenizer.ggml.suppress_tokens", // never sampled, but scored
		"tokenizer.huggingface.json", "tokenizer.chat_templates",
	}
	known := make(map[string]bool)
	for _, k := range m.keys() {
		known[k.name] = true
	}
	for _, name := range f.names {
		rest, ours := strings.CutPrefix(name, "tokenizer.")
		if !ours || known[name] || slices.Contains(inert, name) || strings.HasPrefix(rest, "chat_template.") || strings.HasSuffix(rest, "_token_id") {
			continue
		}
		if v := f.keys[name]; v.kind == kindBool && v.raw[0] == 0 {
			continue // a step that is not taken
		}
		return f.unsupported(name, "the key, of type %v,", f.keys[name])
	}
	return nil
}

// readTokens sets the vocabulary and returns the ids of tokens as the file spells
// them, of those that merges may name.
func (f *file) readTokens(m *metadata, d *tokenizer.Data, s *model.Spec) (map[string]uint32, error) {
	const types = "tokenizer.ggml.token_type"
	if m.tokenTypes != nil && len(m.tokenTypes) != len(m.tokens) {
		return nil, model.Corrupt(f.path, types, "%d types of %d tokens", len(m.tokenTypes), len(m.tokens))
	}
	kind := func(id int) int32 {
		if m.tokenTypes == nil {
			return tokenNormal
		}
		return m.tokenTypes[id]
	}
	n := len(m.tokens)
	if m.tokenizerTokens != nil && int64(*m.tokenizerTokens) < int64(n) {
		n = int(*m.tokenizerTokens)
	}
	for n > 0 && kind(n-1) == tokenUnused && m.tokens[n-1] == fmt.Sprintf("[PAD%d]", n-1) { // rows of the embedding without a token
		n--
	}
	if n > s.Vocab {
		return nil, model.Corrupt(f.path, "tokenizer.ggml.tokens", "%d tokens, the embedding has %d rows", n, s.Vocab)
	}
	ids := make(map[string]uint32, n)
	for i, text := range m.tokens[:n] {
		id := uint32(i)
		token, plain := unspell(text)
		switch kind(i) {
		case tokenNormal, tokenUnused:
		case tokenUnknown, tokenControl, tokenUser:
			d.Added = append(d.Added, tokenizer.Added{ID: id, Content: text, Special: kind(i) != tokenUser})
			if plain = plain && string(token) == text; !plain {
				token = []byte(text)
			}
		default:
			return nil, f.unsupported(types, "%d, of token %d,", kind(i), i)
		}
		d.Tokens = append(d.Tokens, token)
		if plain {
			ids[text] = id
		} else {
			d.Literal = append(d.Literal, id)
		}
	}
	return ids, nil
}

// readMerges sets the merges: two tokens with a space between.
func (f *file) readMerges(m *metadata, d *tokenizer.Data, ids map[string]uint32) error {
	d.Merges = make([]uint32, 0, 2*len(m.merges))
	for i, merge := range m.merges {
		left, right, ok := strings.Cut(merge, " ")
		a, okLeft := ids[left]
		b, okRight := ids[right]
		if !ok || !okLeft || !okRight {
			return model.Corrupt(f.path, "tokenizer.ggml.merges", "merge %d, %q, is not of two tokens", i, model.Printable(merge))
		}
		d.Merges = append(d.Merges, a, b)
	}
	return nil
}

// unspell returns the bytes that a token in byteLetters stands for, or, if it has
// other characters, the token itself and false.
func unspell(text string) (token []byte, plain bool) {
	token = make([]byte, 0, len(text))
	for _, r := range text {
		b, ok := letterBytes[r]
		if !ok {
			return []byte(text), false
		}
		token = append(token, b)
	}
	return token, true
}

// letterBytes is byteLetters turned round.
var letterBytes = func() map[rune]byte {
	all := make(map[rune]byte, len(byteLetters))
	for b, r := range byteLetters {
		all[r] = byte(b)
	}
	return all
}()
