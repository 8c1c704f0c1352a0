package tokenfile

import (
	"encoding/base64"
	"fmt"
	"path"
	"strconv"
	"strings"

	"thimble/internal/defect"
	"thimble/internal/strictjson"
	"thimble/internal/tokenizer"
)

const tekkenFile = "tekken.json"

// IsTekken reports whether a file of this name is Mistral's tekken.json (mistral-common,
// tekken.py, is_tekken).
func IsTekken(name string) bool {
	return strings.Contains(path.Base(name), "tekken") && path.Ext(name) == ".json"
}

// oldTekkenSpecials are the special tokens of a file that lists none (mistral-common, tekken.py,
// DEPRECATED_SPECIAL_TOKENS).
var oldTekkenSpecials = []string{
	"<unk>", "<s>", "</s>", "[INST]", "[/INST]", "[AVAILABLE_TOOLS]", "[/AVAILABLE_TOOLS]", "[TOOL_RESULTS]", "[/TOOL_RESULTS]", "[TOOL_CALLS]",
	"[IMG]", "<pad>", "[IMG_BREAK]", "[IMG_END]", "[PREFIX]", "[MIDDLE]", "[SUFFIX]", "[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT]", "[TOOL_CONTENT]",
}

// A tekken is a tekken.json that is being read.
type tekken struct {
	draft
	s        *strictjson.Decoder
	vocab    [][]byte // by rank
	specials []tokenizer.Added
	listed   bool // whether the file lists its special tokens
	config   *fields
}

// ParseTekken parses Mistral's tekken.json and the tokenizer_config.json next to it, which may
// be nil. The ids of a text are those of mistral-common's Tekkenizer, except that special tokens
// in a text become their ids, as in a tokenizer.json. A text begins with <s> on request.
func ParseTekken(text, config []byte) (*tokenizer.Data, error) {
	if len(text) > tokenizer.MaxFile {
		return nil, defect.Corrupt(tekkenFile, "", "%d bytes exceed the limit of %d", len(text), tokenizer.MaxFile)
	}
	t := &tekken{draft: *newDraft(tokenizer.ByteLevelBPE), s: strictjson.NewDecoder(tekkenFile, 0, text)}
	t.IgnoreMerges = true
	t.s.AllowMembers(tokenizer.MaxTokens)
	for _, step := range []func() error{
		func() error { return t.s.Object(t.member) },
		t.s.End,
		t.finish,
		func() error {
			if config == nil {
				return nil
			}
			return t.readConfig(Files{Config: config})
		},
		t.Check,
	} {
		if err := step(); err != nil {
			return nil, err
		}
	}
	return &t.Data, nil
}

func (t *tekken) member(key string) error {
	switch key {
	case "vocab":
		return t.s.Array(t.token)
	case "special_tokens":
		if t.s.Kind() == '[' {
			t.listed = true
			return t.s.Array(t.special)
		}
	}
	v, err := t.s.Within(maxTree)
	if err == nil && key == "config" {
		t.config = object(tekkenFile, key, v)
		err = t.config.err
	}
	return err // the other keys are about images, sound and settings of chats
}

// token reads a token, whose rank is its place in the list.
func (t *tekken) token(i int) error {
	if i == tokenizer.MaxTokens {
		return t.s.Fail("more than %d tokens", tokenizer.MaxTokens)
	}
	v, err := t.s.Within(maxTree)
	if err != nil {
		return err
	}
	f := object(tekkenFile, fmt.Sprintf("vocab[%d]", i), v)
	if rank := f.id("rank", f.take("rank"), tokenizer.MaxTokens); f.err == nil && rank != i {
		f.corrupt("rank", "%d, want %d", rank, i)
	}
	b, err := base64.StdEncoding.DecodeString(f.str("token_bytes"))
	if err != nil || len(b) == 0 || len(b) > tokenizer.MaxPiece {
		f.corrupt("token_bytes", "want 1 to %d bytes in base64", tokenizer.MaxPiece)
	}
	t.vocab = append(t.vocab, b)
	return f.err
}

func (t *tekken) special(i int) error {
	if i == tokenizer.MaxAdded {
		return t.s.Fail("more than %d special tokens", tokenizer.MaxAdded)
	}
	v, err := t.s.Within(maxTree)
	if err != nil {
		return err
	}
	f := object(tekkenFile, fmt.Sprintf("special_tokens[%d]", i), v)
	t.specials = append(t.specials, tokenizer.Added{
		ID: uint32(f.id("rank", f.take("rank"), tokenizer.MaxAdded)), Content: f.str("token_str"), Special: f.flagOr("is_control", true),
	})
	return f.err
}

// finish makes the tokens: the special ones come first, with fillers up to their number, and
// the vocabulary is cut off at the size that the config gives.
func (t *tekken) finish() error {
	if t.config == nil || t.vocab == nil {
		return defect.Corrupt(tekkenFile, "", "config or vocab is missing")
	}
	pattern := t.config.str("pattern")
	first := t.config.id("default_num_special_tokens", t.config.take("default_num_special_tokens"), tokenizer.MaxAdded+1)
	size := t.config.id("default_vocab_size", t.config.take("default_vocab_size"), tokenizer.MaxTokens+1)
	version, _ := t.config.take("version").(string)
	if t.config.err == nil && (size <= first || size-first > len(t.vocab)) {
		t.config.corrupt("default_vocab_size", "%d, want more than the %d special tokens and at most %d", size, first, first+len(t.vocab))
	}
	if n, err := strconv.Atoi(strings.TrimPrefix(version, "v")); t.config.err == nil && !t.listed && (err != nil || n > 7) {
		t.config.corrupt("version", "%s without special_tokens", defect.Printable(version))
	}
	split := tokenizer.Split{Behavior: tokenizer.Isolated, Pattern: pattern}
	if err := split.Check(); err != nil && t.config.err == nil {
		return fmt.Errorf("%s: %w", tekkenFile, err)
	}
	if t.config.err != nil {
		return t.config.err
	}
	t.Steps = []tokenizer.Step{split.Step()}
	if !t.listed {
		for id, name := range oldTekkenSpecials {
			t.specials = append(t.specials, tokenizer.Added{ID: uint32(id), Content: name, Special: true})
		}
	}
	if err := t.addTekkenSpecials(first); err != nil {
		return err
	}
	t.Tokens = append(t.Tokens, t.vocab[:size-first]...)
	t.Merges = t.rankedMerges(first)
	return t.haveBytes(tekkenFile, first)
}

// addTekkenSpecials makes the special tokens and sets the roles that they have by name.
func (t *tekken) addTekkenSpecials(count int) error {
	for id := len(t.specials); id < count; id++ {
		t.specials = append(t.specials, tokenizer.Added{ID: uint32(id), Content: fmt.Sprintf("<SPECIAL_%d>", id), Special: true})
	}
	t.Tokens = make([][]byte, count, count+len(t.vocab))
	roles := map[string]*int{"<s>": &t.BOS, "</s>": &t.EOS, "<pad>": &t.Pad, "<unk>": &t.Unk}
	for i, a := range t.specials {
		at := fmt.Sprintf("special_tokens[%d]", i)
		if int(a.ID) >= count || t.Tokens[a.ID] != nil {
			return defect.Corrupt(tekkenFile, at, "rank %d is there twice or not below %d", a.ID, count)
		}
		t.Tokens[a.ID] = []byte(a.Content)
		t.Added = append(t.Added, a)
		if role := roles[a.Content]; role != nil {
			*role = int(a.ID)
		}
	}
	for id := range count {
		t.Literal = append(t.Literal, uint32(id))
	}
	if t.BOS >= 0 {
		t.Prefix = []uint32{uint32(t.BOS)}
	}
	return nil
}
