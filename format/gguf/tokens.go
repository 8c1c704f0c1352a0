package gguf

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"thimble/format/gguf/vocab"
	"thimble/internal/defect"
	"thimble/internal/model"
	"thimble/internal/tokenizer"
)

// putTokenizer adds the keys of tokenizer d, which may be nil. notes describe where
// llama.cpp differs from d. llama.cpp requires as many tokens as the embedding has rows,
// so unused tokens pad the list.
func (m *metadata) putTokenizer(path string, d *tokenizer.Data, s *model.Spec) (notes []string, err error) {
	if d == nil {
		m.tokenizer = "none"
		m.putSpecIDs(s, -1, -1)
		return nil, nil
	}
	if _, err := tokenizer.New(d); err != nil {
		return nil, fmt.Errorf("%s: %w", defect.Printable(path), err)
	}
	d, left, err := vocab.WithRows(path, d, s.Vocab)
	if err != nil {
		return nil, err
	}
	m.chatTemplate, m.toolTemplate, m.templates = d.ChatTemplate, d.ToolTemplate, vocab.Templates(d)
	if d.Model == tokenizer.ByteLevelBPE {
		notes, err = m.putBytes(path, d)
	} else {
		notes, err = m.putPieces(path, d)
	}
	if err != nil {
		return nil, err
	}
	m.tokenizerTokens = ptr(uint32(len(d.Tokens)))
	for id := len(d.Tokens); id < s.Vocab; id++ {
		m.tokens = append(m.tokens, fmt.Sprintf("[PAD%d]", id))
		m.tokenTypes = append(m.tokenTypes, vocab.Unused)
		if m.scores != nil {
			m.scores = append(m.scores, 0)
		}
	}
	if err := m.checkTokens(path); err != nil {
		return nil, err
	}
	return append(left, notes...), m.putSpecials(path, d, s)
}

// checkTokens returns an error for a token that llama.cpp would not load.
func (m *metadata) checkTokens(path string) error {
	ids := make(map[string]int, len(m.tokens))
	for id, token := range m.tokens {
		if !utf8.ValidString(token) {
			return defect.Unsupported(path, "token %d, which is not UTF-8, in GGUF", id)
		}
		if first, ok := ids[token]; ok || token == "" {
			return defect.Unsupported(path, "token %d, which is empty or the same as token %d, in GGUF", id, first)
		}
		ids[token] = id
	}
	return nil
}

// ignoreMergesNote says what llama.cpp does that a tokenizer with or without ignore_merges
// does not.
var ignoreMergesNote = map[bool]string{
	true:  "llama.cpp merges every piece, this tokenizer takes a piece that is a token as it is: few texts get other ids",
	false: "llama.cpp takes a piece that is a token as it is, this tokenizer merges every piece: few texts get other ids",
}

// putBytes adds a byte-level tokenizer.
func (m *metadata) putBytes(path string, d *tokenizer.Data) (notes []string, err error) {
	m.tokenizer, m.addSpace = "gpt2", ptr(false)
	pre := vocab.PreTokenizerOf(d)
	if pre == nil {
		return nil, defect.Unsupported(path, "a tokenizer with steps %q in GGUF", d.Steps)
	}
	if m.pre = pre.Names[0]; pre.IgnoreMerges != d.IgnoreMerges {
		m.ignoreMerges = ptr(d.IgnoreMerges)
		notes = append(notes, ignoreMergesNote[d.IgnoreMerges])
	}
	switch {
	case len(d.Normalizer) == 1 && d.Normalizer[0].Op == tokenizer.OpNFC:
		m.nfc = ptr(true)
		notes = append(notes, "llama.cpp does not compose characters (NFC) as this tokenizer does: texts that are not in NFC get other ids")
	case len(d.Normalizer) > 0:
		return nil, defect.Unsupported(path, "a tokenizer with normalizer %v in GGUF", d.Normalizer)
	}
	m.tokens, m.tokenTypes = make([]string, len(d.Tokens)), make([]int32, len(d.Tokens))
	for id, token := range d.Tokens {
		m.tokens[id], m.tokenTypes[id] = vocab.Spell(token), vocab.Normal
	}
	for _, id := range d.Literal {
		m.tokens[id], m.tokenTypes[id] = string(d.Tokens[id]), vocab.Unused
		if len(d.Tokens[id]) == 0 { // the tokenizer leaves this id out
			m.tokens[id] = fmt.Sprintf("[PAD%d]", id)
		}
	}
	if err := m.putAdded(path, d); err != nil {
		return nil, err
	}
	merges := vocab.Distinct(d.Merges, true)
	m.merges = make([]string, len(merges)/2)
	for i := range m.merges {
		left, right := m.tokens[merges[2*i]], m.tokens[merges[2*i+1]]
		if strings.Contains(left+right, " ") {
			return nil, defect.Unsupported(path, "merge %d, of a token with a space, in GGUF", i)
		}
		m.merges[i] = left + " " + right
	}
	return notes, nil
}

// putAdded sets the types of added tokens.
func (m *metadata) putAdded(path string, d *tokenizer.Data) error {
	for _, a := range d.Added {
		switch {
		case a.LStrip || a.RStrip || a.SingleWord:
			return defect.Unsupported(path, "added token %q, which strips white space or is a single word, in GGUF", defect.Printable(a.Content))
		case m.tokens[a.ID] != a.Content || string(d.Tokens[a.ID]) != a.Content:
			return defect.Unsupported(path, "added token %q, which the vocabulary spells differently, in GGUF", defect.Printable(a.Content))
		case a.Special && m.tokenTypes[a.ID] != vocab.Unknown:
			m.tokenTypes[a.ID] = vocab.Control
		case !a.Special:
			m.tokenTypes[a.ID] = vocab.User
		}
	}
	return nil
}

// putSpecials adds the ids of special tokens. If the tokenizer has no bos or eos, it adds
// the Spec's: without them llama.cpp would use id 11.
func (m *metadata) putSpecials(path string, d *tokenizer.Data, s *model.Spec) error {
	bos, eos := d.BOS, d.EOS
	if bos < 0 {
		bos = s.BOS
	}
	if eos < 0 && len(s.EOS) > 0 {
		eos = s.EOS[0]
	}
	id := func(n int) *uint32 {
		if n < 0 {
			return nil
		}
		return ptr(uint32(n))
	}
	m.bos, m.eos, m.unk, m.pad = id(bos), id(eos), id(d.Unk), id(d.Pad)
	around := func(where string, ids []uint32, want int) (*bool, error) {
		if len(ids) == 0 || len(ids) == 1 && int(ids[0]) == want {
			return ptr(len(ids) == 1), nil
		}
		return nil, defect.Unsupported(path, "a tokenizer that puts ids %v %s a text in GGUF", ids, where)
	}
	var err error
	if m.addBOS, err = around("before", d.Prefix, bos); err != nil {
		return err
	}
	if m.addEOS, err = around("after", d.Suffix, eos); err != nil {
		return err
	}
	m.putSpecIDs(s, bos, eos)
	return nil
}

// putSpecIDs adds the Spec's bos and eos under Thimble's keys if they differ from those of
// the tokenizer.
func (m *metadata) putSpecIDs(s *model.Spec, bos, eos int) {
	if s.BOS != bos {
		m.specBOS = ptr(int32(s.BOS))
	}
	if len(s.EOS) == 1 && s.EOS[0] == eos || len(s.EOS) == 0 && eos < 0 {
		return
	}
	m.specEOS = make([]int32, len(s.EOS))
	for i, id := range s.EOS {
		m.specEOS[i] = int32(id)
	}
}
