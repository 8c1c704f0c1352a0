package tokenfile

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"thimble/internal/defect"
	"thimble/internal/tokenizer"
)

// A tiktokenFamily is what a vocabulary of tiktoken does not say: the pattern and the special
// tokens, which the families have in code.
type tiktokenFamily struct {
	name       string
	classes    []string // values of tokenizer_class
	ranks      int      // tokens, by which the vocabulary is known without a tokenizer_class
	steps      []tokenizer.Step
	normalizer []tokenizer.Rule
	specials   func(ranks int) []string // after the ranks
	bos, eos   string
	prefix     bool // whether a text begins with bos
}

const (
	kimiPattern = `[\p{Han}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?` +
		`|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?` +
		`|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`
	maxSpecialIDs = 256
)

// tiktokens lists the families: llama-models, tokenizer.py; Qwen-7B, tokenization_qwen.py;
// Kimi-K2, tokenization_kimi.py.
var tiktokens = []tiktokenFamily{
	{
		name: "Llama 3", ranks: 128000, steps: []tokenizer.Step{tokenizer.StepLlama3}, specials: llama3Specials,
		bos: "<|begin_of_text|>", eos: "<|end_of_text|>", prefix: true,
	},
	{
		name: "Qwen", classes: []string{"QWenTokenizer"}, ranks: 151643, steps: []tokenizer.Step{tokenizer.StepQwen2}, normalizer: []tokenizer.Rule{{Op: tokenizer.OpNFC}},
		specials: func(int) []string {
			return append([]string{"<|endoftext|>", "<|im_start|>", "<|im_end|>"}, numbered("<|extra_%d|>", 0, 205)...)
		},
		eos: "<|endoftext|>",
	},
	{
		name: "Kimi", classes: []string{"TikTokenTokenizer"}, ranks: 163584, steps: []tokenizer.Step{tokenizer.Split{Behavior: tokenizer.Isolated, Pattern: kimiPattern}.Step()},
		specials: func(n int) []string { return numbered("<|reserved_token_%d|>", n, n+maxSpecialIDs) },
	},
}

// numbered returns names with the numbers from lo up to hi.
func numbered(format string, lo, hi int) (names []string) {
	for i := lo; i < hi; i++ {
		names = append(names, fmt.Sprintf(format, i))
	}
	return names
}

// llama3Specials returns the names of Llama 3.1, which gave a meaning to some that Llama 3
// reserved.
func llama3Specials(int) []string {
	names := []string{
		"<|begin_of_text|>", "<|end_of_text|>", "<|reserved_special_token_0|>", "<|reserved_special_token_1|>", "<|finetune_right_pad_id|>",
		"<|reserved_special_token_2|>", "<|start_header_id|>", "<|end_header_id|>", "<|eom_id|>", "<|eot_id|>", "<|python_tag|>",
	}
	return append(names, numbered("<|reserved_special_token_%d|>", 3, maxSpecialIDs-len(names)+3)...)
}

// IsTiktoken reports whether a file is a vocabulary of tiktoken: lines with a token in base64
// and its rank.
func IsTiktoken(b []byte) bool {
	line, _, _ := bytes.Cut(b[:min(len(b), 4096)], []byte("\n"))
	token, rank, ok := bytes.Cut(bytes.TrimSpace(line), []byte(" "))
	_, err := base64.StdEncoding.DecodeString(string(token))
	_, err2 := strconv.Atoi(string(rank))
	return ok && err == nil && err2 == nil
}

// readTiktoken reads a directory whose tokenizer is a vocabulary of tiktoken, files.Model. Its
// tokenizer_class, or without one the number of tokens, names the family, which has the
// pattern and the special tokens. Those that tokenizer_config.json lists have their names from
// there.
func readTiktoken(files Files) (*draft, error) {
	d := newDraft(tokenizer.ByteLevelBPE)
	d.IgnoreMerges = true
	if err := d.readRanks(files.Model); err != nil {
		return nil, err
	}
	config, err := parseObject(configFile, files.Config)
	if err != nil {
		return nil, err
	}
	class, _ := config.take("tokenizer_class").(string)
	family, ok := familyOf(class, len(d.Tokens))
	if !ok {
		return nil, defect.Unsupported(modelFile, "a vocabulary of tiktoken of %d tokens and tokenizer_class %q, whose pattern Thimble does not know, without %s",
			len(d.Tokens), defect.Printable(class), jsonFile)
	}
	d.Merges = d.rankedMerges(0)
	d.Steps, d.Normalizer = family.steps, family.normalizer
	if err := d.addSpecials(family, config.take("added_tokens_decoder")); err != nil {
		return nil, err
	}
	for _, role := range []struct {
		id   *int
		name string
	}{{&d.BOS, family.bos}, {&d.EOS, family.eos}} {
		for _, a := range d.Added {
			if a.Content == role.name {
				*role.id = int(a.ID)
			}
		}
	}
	if family.prefix && d.BOS >= 0 {
		d.Prefix = []uint32{uint32(d.BOS)}
	}
	if err := d.apply(config); err != nil {
		return nil, err
	}
	return d, d.Check()
}

// familyOf finds a family by the name of its class or, without a class that means another, by
// the size of its vocabulary.
func familyOf(class string, ranks int) (*tiktokenFamily, bool) {
	for i := range tiktokens {
		f := &tiktokens[i]
		if slices.Contains(f.classes, class) || f.ranks == ranks && (class == "" || class == "PreTrainedTokenizerFast") {
			return f, true
		}
	}
	return nil, false
}

// readRanks reads the tokens, whose ranks are their ids.
func (d *draft) readRanks(b []byte) error {
	seen := map[string]bool{}
	n := 0
	for line := range bytes.Lines(b) {
		n++
		if line = bytes.TrimSpace(line); len(line) == 0 {
			continue
		}
		token, rank, _ := bytes.Cut(line, []byte(" "))
		text, err := base64.StdEncoding.DecodeString(string(token))
		id, err2 := strconv.Atoi(string(rank))
		switch {
		case err != nil || err2 != nil || len(text) == 0 || len(text) > tokenizer.MaxPiece:
			return defect.Corrupt(modelFile, fmt.Sprintf("line %d", n), "want a token in base64 and its rank")
		case id != len(d.Tokens) || id >= tokenizer.MaxTokens:
			return defect.Corrupt(modelFile, fmt.Sprintf("line %d", n), "rank %d, want %d", id, len(d.Tokens))
		case seen[string(text)]:
			return defect.Corrupt(modelFile, fmt.Sprintf("line %d", n), "the token is there twice")
		}
		seen[string(text)] = true
		d.Tokens = append(d.Tokens, text)
	}
	return d.haveBytes(modelFile, 0)
}

// haveBytes returns an error unless there is a token for each byte, from id first on.
func (d *draft) haveBytes(file string, first int) error {
	var have [256]bool
	for _, t := range d.Tokens[first:] {
		if len(t) == 1 {
			have[t[0]] = true
		}
	}
	if b := slices.Index(have[:], false); b >= 0 {
		return defect.Corrupt(file, "", "no token for byte 0x%02x", b)
	}
	return nil
}

// rankedMerges returns all pairs of tokens whose concatenation is a token, by the rank of
// that. The tokens before first do not count.
func (d *draft) rankedMerges(first int) []uint32 {
	ids := make(map[string]uint32, len(d.Tokens))
	for id, t := range d.Tokens[first:] {
		ids[string(t)] = uint32(first + id)
	}
	merges := []uint32{}
	for _, t := range d.Tokens[first:] {
		for i := 1; i < len(t); i++ {
			left, ok := ids[string(t[:i])]
			right, ok2 := ids[string(t[i:])]
			if ok && ok2 {
				merges = append(merges, left, right)
			}
		}
	}
	return merges
}

// addSpecials adds the family's special tokens after the ranks, with the names that
// tokenizer_config.json lists for them.
func (d *draft) addSpecials(family *tiktokenFamily, listed any) error {
	names := family.specials(len(d.Tokens))
	first := len(d.Tokens)
	if listed != nil {
		f := object(configFile, "added_tokens_decoder", listed)
		if f.err != nil {
			return f.err
		}
		for key, v := range f.m {
			id, err := strconv.Atoi(key)
			m, _ := v.(map[string]any)
			content, _ := m["content"].(string)
			if err != nil || id < first || id >= first+len(names) || content == "" {
				return defect.Corrupt(configFile, f.path+"."+strings.ReplaceAll(defect.Printable(key), ".", " "), "want an id from %d to %d and its content", first, first+len(names)-1)
			}
			names[id-first] = content
		}
	}
	for i, name := range names {
		id := uint32(first + i)
		d.Tokens = append(d.Tokens, []byte(name))
		d.Literal = append(d.Literal, id)
		d.Added = append(d.Added, tokenizer.Added{ID: id, Content: name, Special: true})
	}
	return nil
}
