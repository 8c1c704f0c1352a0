package gguf

import (
	"fmt"
	"slices"
	"strings"

	"thimble/format/gguf/vocab"
	"thimble/internal/defect"
	"thimble/internal/tokenizer"
)

// tokenizer returns the tokenizer of the file, or nil if it has none.
func (f *file) tokenizer() (*tokenizer.Data, error) {
	m := &metadata{architecture: "none"}
	if err := f.decodeKeys(m, func(name string) bool {
		return name == "general.name" || strings.HasPrefix(name, "tokenizer.") || strings.HasPrefix(name, "thimble.")
	}); err != nil {
		return nil, err
	}
	if m.tokenizer == "" || m.tokenizer == "none" || m.tokenizer == "no_vocab" {
		return nil, nil
	}
	if err := f.otherTokenizerKeys(m); err != nil {
		return nil, err
	}
	m.dropIDs(len(m.tokens))
	d := &tokenizer.Data{BOS: number(m.bos), EOS: number(m.eos), Pad: number(m.pad), Unk: number(m.unk), ChatTemplate: m.chatTemplate, ToolTemplate: m.toolTemplate}
	vocab.NoteTemplates(d, f.names)
	n, err := f.countTokens(m)
	if err != nil {
		return nil, err
	}
	addBOS, addEOS := false, false // the defaults if the keys are absent
	switch m.tokenizer {
	case "gpt2":
		addBOS, err = f.readBytes(m, d, n)
	case "gemma4":
		err = f.readText(m, d, n)
	case "llama", "t5":
		addBOS, addEOS = m.tokenizer == "llama", m.tokenizer == "t5"
		err = f.readPieces(m, d, n)
	default:
		err = f.unsupported("tokenizer.ggml.model", "%q", defect.Printable(m.tokenizer))
	}
	if err != nil {
		return nil, err
	}
	if m.addBOS != nil && *m.addBOS || m.addBOS == nil && addBOS {
		d.Prefix = oneID(m.bos)
	}
	if m.addEOS != nil && *m.addEOS || m.addEOS == nil && addEOS {
		d.Suffix = oneID(m.eos)
	}
	if _, err := tokenizer.New(d); err != nil {
		return nil, fmt.Errorf("%s: %w", defect.Printable(f.path), err)
	}
	return d, nil
}

// readBytes reads a byte-level tokenizer. addBOS is the default of add_bos_token.
func (f *file) readBytes(m *metadata, d *tokenizer.Data, n int) (addBOS bool, err error) {
	d.Model = tokenizer.ByteLevelBPE
	pre := vocab.PreTokenizerNamed(m.pre)
	if pre == nil {
		return false, f.unsupported("tokenizer.ggml.pre", "%q", defect.Printable(m.pre))
	}
	d.Steps, d.IgnoreMerges = pre.Steps, pre.IgnoreMerges
	if m.ignoreMerges != nil { // llama.cpp derives it from the name
		d.IgnoreMerges = *m.ignoreMerges
	}
	if m.nfc != nil && *m.nfc || m.nfc == nil && pre.NFC && m.tokenizerTokens == nil {
		d.Normalizer = []tokenizer.Rule{{Op: tokenizer.OpNFC}}
	}
	ids, err := f.readTokens(m, d, n)
	if err == nil {
		err = f.readMerges(m, d, ids)
	}
	return pre.AddBOS, err
}

// readText reads a tokenizer of the model "gemma4", which merges characters in order of rank
// after turning spaces into marks, and spells text without a token in bytes.
func (f *file) readText(m *metadata, d *tokenizer.Data, n int) error {
	if m.tokenTypes == nil {
		return defect.Corrupt(f.path, "tokenizer.ggml.token_type", "is missing")
	}
	d.Model, d.Unknown, d.ByteFallback = tokenizer.BPE, tokenizer.UnknownRun, true
	d.Normalizer = []tokenizer.Rule{{Op: tokenizer.OpReplace, Old: " ", New: vocab.Mark}}
	d.Decoder = []tokenizer.Rule{{Op: tokenizer.OpReplace, Old: vocab.Mark, New: " "}, {Op: tokenizer.OpBytes}}
	ids := make(map[string]uint32, n)
	for i, text := range m.tokens[:n] {
		id := uint32(i)
		d.Tokens, ids[text] = append(d.Tokens, []byte(text)), id
		switch m.tokenTypes[i] {
		case vocab.Unknown, vocab.Control, vocab.User:
			d.Added = append(d.Added, tokenizer.Added{ID: id, Content: text, Special: m.tokenTypes[i] != vocab.User})
		}
	}
	if d.Unk < 0 {
		d.Unknown = tokenizer.UnknownDropped
	}
	return f.readMerges(m, d, ids)
}

// readPieces reads a tokenizer that sentencepiece trained.
func (f *file) readPieces(m *metadata, d *tokenizer.Data, n int) error {
	for _, score := range m.wholeScores {
		m.scores = append(m.scores, float32(score))
	}
	if len(m.scores) != len(m.tokens) || m.tokenTypes == nil {
		return defect.Corrupt(f.path, "tokenizer.ggml.scores", "%d scores and %d types of %d tokens", len(m.scores), len(m.tokenTypes), len(m.tokens))
	}
	d.Model, d.Unknown = tokenizer.SentencePieceBPE, tokenizer.UnknownRun
	p := &tokenizer.SentencePiece{DummyPrefix: true, UnkSurface: " \u2047 "} // sentencepiece's default
	if m.addSpace != nil {
		p.DummyPrefix = *m.addSpace
	}
	unk := 0 // llama.cpp's ids of an unknown token without a key
	if m.tokenizer == "t5" {
		unk = 2
		d.Model = tokenizer.SentencePieceUnigram
		p.DummyPrefix = m.addSpace != nil && *m.addSpace
		p.RemoveExtra = m.removeSpaces != nil && *m.removeSpaces
	}
	d.SentencePiece = p
	for id, text := range m.tokens[:n] {
		kind := m.tokenTypes[id]
		if kind < vocab.Normal || kind > vocab.Byte {
			return f.unsupported("tokenizer.ggml.token_type", "%d, of token %d,", kind, id)
		}
		d.Tokens, d.Scores, d.Kinds = append(d.Tokens, []byte(text)), append(d.Scores, float64(m.scores[id])), append(d.Kinds, byte(kind))
		switch kind {
		case vocab.Byte:
			d.ByteFallback = true
		case vocab.Unknown, vocab.Control: // Hugging Face and llama.cpp find these in a text
			if kind == vocab.Unknown {
				d.Unk = id
			}
			d.Added = append(d.Added, tokenizer.Added{ID: uint32(id), Content: text, Special: true})
		case vocab.User:
			f.readUser(m, d, id)
		}
	}
	if d.Unk < 0 && n > unk {
		d.Unk = unk
	}
	m.stripRight(d)
	if m.steps != nil {
		return f.readSteps(m, d)
	}
	return nil
}

// stripRight makes the special tokens of Phi-3 take the white space after them. GGUF has no key for
// that; llama.cpp goes by the name of the model (llama-vocab.cpp, load).
func (m *metadata) stripRight(d *tokenizer.Data) {
	name := strings.ToLower(m.name)
	if m.tokenizerTokens != nil || !strings.Contains(name, "phi-3") && !strings.Contains(name, "phi3") {
		return
	}
	for i := range d.Added {
		a := &d.Added[i]
		a.RStrip = !slices.Contains([]string{"<unk>", "<s>", "<|endoftext|>"}, a.Content)
	}
}

// readUser reads a user-defined token of a tokenizer that sentencepiece trained. llama.cpp
// cuts it out of the raw text, so runs of spaces are spelled with spaces, and merges it like
// any other token. In a file of ours without thimble.tokenizer.cut it is a symbol of
// sentencepiece, found in the normalized text.
func (f *file) readUser(m *metadata, d *tokenizer.Data, id int) {
	text := m.tokens[id]
	switch {
	case m.steps != nil: // readSteps adds it
	case m.tokenizerTokens != nil && (m.cut == nil || !*m.cut):
		d.Tokens[id] = []byte(strings.ReplaceAll(text, " ", vocab.Mark))
	default:
		d.Added = append(d.Added, tokenizer.Added{ID: uint32(id), Content: text})
		if d.Model == tokenizer.SentencePieceBPE {
			d.Kinds[id] = tokenizer.KindNormal
		}
	}
}

// countTokens returns the number of tokens, excluding those that pad the list to the
// number of rows of the embedding.
func (f *file) countTokens(m *metadata) (int, error) {
	if m.tokenTypes != nil && len(m.tokenTypes) < len(m.tokens) {
		return 0, defect.Corrupt(f.path, "tokenizer.ggml.token_type", "%d types of %d tokens", len(m.tokenTypes), len(m.tokens))
	}
	n := len(m.tokens)
	if m.tokenizerTokens != nil && int64(*m.tokenizerTokens) < int64(n) {
		n = int(*m.tokenizerTokens)
	}
	for m.tokenTypes != nil && n > 0 && m.tokenTypes[n-1] == vocab.Unused && m.tokens[n-1] == fmt.Sprintf("[PAD%d]", n-1) {
		n--
	}
	return n, nil
}

func (f *file) unsupported(key, format string, args ...any) error {
	return fmt.Errorf("%s: %w", defect.Printable(f.path), defect.Unsupported(key, format, args...))
}

func number(id *uint32) int {
	if id == nil {
		return -1
	}
	return int(*id)
}

func oneID(id *uint32) []uint32 {
	if id == nil {
		return nil
	}
	return []uint32{*id}
}

// otherTokenizerKeys returns an error for a key outside the table that may change ids.
func (f *file) otherTokenizerKeys(m *metadata) error {
	known := make(map[string]bool)
	for _, k := range m.keys() {
		known[k.name] = true
	}
	var refused []string
	for _, name := range f.names {
		if !strings.HasPrefix(name, "tokenizer.") || known[name] || vocab.Inert(name) {
			continue
		}
		if f.keys[name].Neutral("") {
			continue // turns a step off
		}
		refused = append(refused, name)
	}
	return f.refuse(refused)
}

// readTokens sets the vocabulary of a byte-level tokenizer, and returns the ids of the
// tokens that merges may name, by their spelling in the file.
func (f *file) readTokens(m *metadata, d *tokenizer.Data, n int) (map[string]uint32, error) {
	ids := make(map[string]uint32, n)
	for i, text := range m.tokens[:n] {
		id := uint32(i)
		token, plain := vocab.Unspell(text)
		kind := int32(vocab.Normal)
		if m.tokenTypes != nil {
			kind = m.tokenTypes[i]
		}
		switch kind {
		case vocab.Normal, vocab.Unused:
		case vocab.Unknown, vocab.Control, vocab.User:
			d.Added = append(d.Added, tokenizer.Added{ID: id, Content: text, Special: kind != vocab.User})
			if plain = plain && string(token) == text; !plain {
				token = []byte(text)
			}
		default:
			return nil, f.unsupported("tokenizer.ggml.token_type", "%d, of token %d,", kind, i)
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

// readMerges sets the merges, each of two tokens with a space between them.
func (f *file) readMerges(m *metadata, d *tokenizer.Data, ids map[string]uint32) error {
	if m.tokenizerTokens == nil && f.keys["tokenizer.ggml.merges"] == nil {
		return defect.Corrupt(f.path, "tokenizer.ggml.merges", "is missing, and without it every text would be spelled in single characters; convert the model again with a current converter")
	}
	d.Merges = make([]uint32, 0, 2*len(m.merges))
	unknown := 0
	for i, merge := range m.merges {
		left, right, ok := strings.Cut(merge, " ")
		if left == "" && ok { // the first token begins with a space
			left, right, ok = strings.Cut(merge[1:], " ")
			left = " " + left
		}
		a, okLeft := ids[left]
		b, okRight := ids[right]
		if ok && right != "" && !(okLeft && okRight) { // of a token that the vocabulary lacks: it never happens
			unknown++
			continue
		}
		if !ok || !okLeft || !okRight {
			return defect.Corrupt(f.path, "tokenizer.ggml.merges", "merge %d, %q, is not of two tokens", i, defect.Printable(merge))
		}
		d.Merges = append(d.Merges, a, b)
	}
	if d.Merges = vocab.Distinct(d.Merges, false); unknown > 0 {
		d.Notes = append(d.Notes, fmt.Sprintf("%s of tokens that the vocabulary lacks: ignored, as in llama.cpp", defect.Counted(unknown, "merge")))
	}
	return nil
}
