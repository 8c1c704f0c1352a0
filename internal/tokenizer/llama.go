package tokenizer

import (
	"cmp"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"thimble/internal/defect"
)

// LlamaFiles are the files of a directory that has a tokenizer.model and no
// tokenizer.json; nil where one is missing.
type LlamaFiles struct {
	Model    []byte // tokenizer.model
	Config   []byte // tokenizer_config.json
	Added    []byte // added_tokens.json
	Specials []byte // special_tokens_map.json
}

// ParseLlama reads a tokenizer as LlamaTokenizer of transformers 5.23 does
// (tokenization_llama.py, convert_slow_tokenizer.py): the pieces become BPE with
// a merge for each way to put a piece together, ranked by its id; control and
// user-defined pieces, and what the other files list, are added tokens; a space
// goes before the text, or, if legacy is true, before each stretch of it between
// added tokens.
//
// In one thing we follow its documentation and version 4, not version 5: without
// add_bos_token a text begins with bos, which is how these models were trained.
// A tokenizer_config.json that names no tokenizer_class is taken for
// LlamaTokenizer too. A normalizer, which transformers would not apply, and a
// unigram model are refused.
func ParseLlama(files LlamaFiles) (*Data, error) {
	p, err := ParseSentencePiece(files.Model)
	if err != nil {
		return nil, err
	}
	if s := p.SentencePiece; p.Model != SentencePieceBPE || !s.DummyPrefix || s.RemoveExtra || s.KeepSpaces || s.Suffix || len(s.Charsmap) > 0 {
		return nil, defect.Unsupported(modelFile, "a model unlike Llama's (BPE, no normalization but a space before the text) in a checkpoint without %s", jsonFile)
	}
	config, err := flat(configFile, files.Config)
	if err != nil {
		return nil, err
	}
	if class := config.take("tokenizer_class"); class != nil && class != "LlamaTokenizer" && class != "LlamaTokenizerFast" {
		return nil, defect.Unsupported(configFile, "tokenizer_class %s without %s", defect.Printable(show(class)), jsonFile)
	}
	if extra, _ := config.take("extra_special_tokens").([]any); len(extra) > 0 {
		return nil, defect.Unsupported(configFile, "extra_special_tokens without %s", jsonFile)
	}
	d := &Data{Model: BPE, Tokens: p.Tokens, Scores: p.Scores, Kinds: p.Kinds, ByteFallback: true, BOS: -1, EOS: -1, Pad: -1, Unk: -1}
	d.Merges = d.everyMerge()
	d.spaces(config)
	if err := d.addLlama(files, config); err != nil {
		return nil, err
	}
	before, after := flagOr(config, "add_bos_token", true), flagOr(config, "add_eos_token", false)
	if config.err != nil {
		return nil, config.err
	}
	if err := d.apply(config); err != nil {
		return nil, err
	}
	if before && d.BOS >= 0 {
		d.Prefix = []uint32{uint32(d.BOS)}
	}
	if after && d.EOS >= 0 {
		d.Suffix = []uint32{uint32(d.EOS)}
	}
	for len(d.Scores) < len(d.Tokens) { // the added ones
		d.Scores, d.Kinds = append(d.Scores, 0), append(d.Kinds, KindUserDefined)
	}
	for _, a := range d.Added {
		if a.Special && d.Kinds[a.ID] == KindUserDefined {
			d.Kinds[a.ID] = KindControl
		}
	}
	return d, d.check()
}

// flagOr is a boolean that may be absent or null, for otherwise.
func flagOr(f *fields, key string, otherwise bool) bool {
	if f.m[key] == nil {
		f.take(key)
		return otherwise
	}
	return f.boolean(key)
}

// everyMerge returns the pairs of pieces that make a piece, ordered by the id of
// that and then by the length of the left one.
func (d *Data) everyMerge() []uint32 {
	ids := make(map[string]uint32, len(d.Tokens))
	for id, t := range d.Tokens {
		ids[string(t)] = uint32(id)
	}
	merges := []uint32{}
	for _, t := range d.Tokens {
		for i := 1; i < len(t); i++ {
			if !utf8.RuneStart(t[i]) {
				continue
			}
			left, ok := ids[string(t[:i])]
			right, ok2 := ids[string(t[i:])]
			if ok && ok2 {
				merges = append(merges, left, right)
			}
		}
	}
	return merges
}

// spaces makes the steps and the decoder.
func (d *Data) spaces(config *fields) {
	legacy, prefix := flagOr(config, "legacy", false), true
	if config.m["add_prefix_space"] == false {
		prefix = false
	}
	d.Steps = []Step{StepEscape}
	d.Decoder = []Rule{{Op: OpReplace, Old: mark, New: " "}, {Op: OpBytes}}
	switch {
	case !prefix:
		return
	case legacy:
		d.Steps = append(d.Steps, StepMark)
	default:
		d.Steps = append(d.Steps, StepMarkFirst)
	}
	d.Decoder = append(d.Decoder, Rule{Op: OpStrip, Old: " "})
}

// addLlama collects the added tokens: what added_tokens_decoder lists, the pieces
// that are control or user-defined, what added_tokens.json lists, and bos, eos
// and unk.
func (d *Data) addLlama(files LlamaFiles, config *fields) error {
	listed := config.take("added_tokens_decoder")
	specials, err := flat("special_tokens_map.json", files.Specials)
	if err != nil {
		return err
	}
	names := map[string]bool{}
	for key, usual := range map[string]string{"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": ""} {
		v, ok := config.m[key]
		if s, given := specials.m[key]; given && listed == nil {
			v, ok = s, true
		}
		if m, isObject := v.(map[string]any); isObject { // its flags are those of the piece
			v = m["content"]
		}
		if !ok && usual != "" && slices.ContainsFunc(d.Tokens, func(t []byte) bool { return string(t) == usual }) {
			v = usual
		}
		config.m[key] = v
		if name, ok := v.(string); ok {
			names[name] = true
		}
	}
	if listed != nil {
		if err := d.addListed(object(configFile, "added_tokens_decoder", listed)); err != nil {
			return err
		}
	}
	for id, kind := range d.Kinds {
		if kind == KindControl || kind == KindUserDefined {
			d.add(Added{ID: uint32(id), Content: string(d.Tokens[id]), Special: kind == KindControl})
		}
	}
	if listed != nil {
		return nil
	}
	added, err := flat("added_tokens.json", files.Added)
	if err != nil {
		return err
	}
	byID := make([]Added, 0, len(added.m))
	for _, content := range slices.Sorted(maps.Keys(added.m)) {
		id := added.id(defect.Printable(content), added.m[content], maxTokens)
		byID = append(byID, Added{ID: uint32(id), Content: content, Special: names[content], Normalized: !names[content]})
	}
	return d.addTokens("added_tokens.json", byID, added.err)
}

// addListed takes the entries of added_tokens_decoder.
func (d *Data) addListed(f *fields) error {
	var byID []Added
	if f.err != nil {
		return f.err
	}
	for _, key := range slices.Sorted(maps.Keys(f.m)) {
		id, err := strconv.ParseUint(key, 10, 32)
		if err != nil || id >= maxTokens || key != strconv.FormatUint(id, 10) {
			return defect.Corrupt(configFile, f.path, "%q is not a token id", defect.Printable(key))
		}
		t := object(configFile, f.path+"."+key, f.m[key])
		a := Added{ID: uint32(id), Content: t.str("content"), Special: t.flag("special"), SingleWord: t.flag("single_word"), LStrip: t.flag("lstrip"), RStrip: t.flag("rstrip")}
		a.Normalized = flagOr(t, "normalized", !a.Special)
		if t.err != nil {
			return t.err
		}
		byID = append(byID, a)
	}
	return d.addTokens(configFile, byID, nil)
}

// addTokens adds tokens by id. As in Hugging Face a token of the vocabulary keeps
// its id and a new one gets the next, which the file must agree with.
func (d *Data) addTokens(file string, added []Added, err error) error {
	if err != nil {
		return err
	}
	slices.SortStableFunc(added, func(a, b Added) int { return cmp.Compare(a.ID, b.ID) })
	known := make(map[string]int, len(d.Tokens))
	for id, t := range d.Tokens {
		known[string(t)] = id
	}
	for _, a := range added {
		id, ok := known[a.Content]
		if !ok {
			id = len(d.Tokens)
			known[a.Content] = id
			d.Literal = append(d.Literal, uint32(id))
			d.Tokens = append(d.Tokens, []byte(a.Content))
		}
		if int(a.ID) != id {
			return defect.Corrupt(file, strings.ReplaceAll(defect.Printable(a.Content), ".", " "), "listed as id %d, but the vocabulary and the order of the list give it %d", a.ID, id)
		}
		d.add(a)
	}
	return nil
}

// add adds a token, unless it is there.
func (d *Data) add(a Added) {
	if !slices.ContainsFunc(d.Added, func(b Added) bool { return b.ID == a.ID }) {
		d.Added = append(d.Added, a)
	}
}
