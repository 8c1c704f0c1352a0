package tokenfile

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"thimble/internal/defect"
	"thimble/internal/tokenizer"
	"thimble/internal/tokenizer/spelling"
)

// readLlama reads a tokenizer in the same way as LlamaTokenizer of transformers 5.23
// (tokenization_llama.py, convert_slow_tokenizer.py):
//
//   - The pieces become a BPE model with a merge for each pair of pieces that form a
//     piece, ranked by the score of that piece, the highest first, as in sentencepiece.
//   - Control pieces, user-defined pieces and the tokens in the other files become added
//     tokens.
//   - A space is added before the text, or, if legacy is true, before each part of it
//     between added tokens.
//
// readLlama differs from version 5 in two cases, because these models were trained so.
// That version ranks merges by id, which is another order if the pieces are not sorted by
// score (Mistral). And if add_bos_token is absent, a text begins with BOS, as the
// documentation and version 4 say. If tokenizer_config.json has no
// tokenizer_class, it is read as LlamaTokenizer. A unigram model, and one with a normalizer, which version 5 ignores, gives the ids of
// sentencepiece, as the tokenizers of version 4 do; so does a model of the classes of Gemma
// and T5.
func readLlama(files Files) (*draft, error) {
	p, err := readPieces(files.Model)
	if err != nil {
		return nil, err
	}
	config, err := parseObject(configFile, files.Config)
	if err != nil {
		return nil, err
	}
	class := ""
	if v := config.take("tokenizer_class"); v != nil {
		class = show(v)
	}
	ends, known := pieceClasses[strings.TrimSuffix(class, "Fast")]
	if !known {
		return nil, defect.Unsupported(configFile, "tokenizer_class %s without %s", class, jsonFile)
	}
	d := p
	if s := p.SentencePiece; p.Model == tokenizer.SentencePieceBPE && s.DummyPrefix && !s.RemoveExtra && !s.KeepSpaces && !s.Suffix && len(s.Charsmap) == 0 && !ends.pieces {
		d = newDraft(tokenizer.BPE)
		d.Tokens, d.Scores, d.Kinds, d.ByteFallback = p.Tokens, p.Scores, p.Kinds, true
		all := make([]uint32, len(d.Tokens))
		for id := range all {
			all[id] = uint32(id)
		}
		d.Merges = mergesOf(&d.Data, all)
		d.setSpaces(config)
	} else {
		delete(config.m, "add_prefix_space") // the model says it
	}
	if err := d.addLlama(files, config); err != nil {
		return nil, err
	}
	if err := d.addRoles(config); err != nil {
		return nil, err
	}
	before, after := config.flagOr("add_bos_token", ends.bos), config.flagOr("add_eos_token", ends.eos)
	if config.err != nil {
		return nil, config.err
	}
	if err := d.applyEnds(config, before, after); err != nil {
		return nil, err
	}
	for len(d.Scores) < len(d.Tokens) { // the added tokens
		d.Scores, d.Kinds = append(d.Scores, 0), append(d.Kinds, tokenizer.KindUserDefined)
	}
	if d.SentencePiece != nil {
		d.Literal = nil // the kinds say what the model produces
		for i := range d.Added {
			d.Added[i].Normalized = false
		}
	}
	for _, a := range d.Added {
		if a.Special && d.Kinds[a.ID] == tokenizer.KindUserDefined {
			d.Kinds[a.ID] = tokenizer.KindControl
		}
	}
	return d, d.Check()
}

// pieceClasses lists the classes of transformers whose ids are those of the pieces, by
// tokenizer_class without Fast, with what they add to a text by default. Those of fairseq
// (XGLM, XLM-RoBERTa) move the ids.
var pieceClasses = map[string]struct {
	pieces   bool // of sentencepiece, whatever the model is
	bos, eos bool
}{
	"": {bos: true}, "LlamaTokenizer": {bos: true}, "GemmaTokenizer": {pieces: true, bos: true}, "T5Tokenizer": {pieces: true, eos: true},
}

// mergesOf returns all pairs of the given pieces of d whose concatenation is one of them, ordered
// by the score of that piece, its id, and the length of the left one.
func mergesOf(d *tokenizer.Data, pieces []uint32) []uint32 {
	ids := make(map[string]uint32, len(pieces))
	for _, id := range pieces {
		ids[string(d.Tokens[id])] = id
	}
	byScore := slices.Clone(pieces)
	slices.SortStableFunc(byScore, func(a, b uint32) int { return cmp.Compare(d.Scores[b], d.Scores[a]) })
	merges := []uint32{}
	for _, id := range byScore {
		t := d.Tokens[id]
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

// setSpaces sets the steps and the decoder, which convert spaces.
func (d *draft) setSpaces(config *fields) {
	legacy, prefix := config.flag("legacy"), true
	if config.m["add_prefix_space"] == false {
		prefix = false
	}
	d.Steps = []tokenizer.Step{tokenizer.StepEscape}
	d.Decoder = []tokenizer.Rule{{Op: tokenizer.OpReplace, Old: spelling.Mark, New: " "}, {Op: tokenizer.OpBytes}}
	switch {
	case !prefix:
		return
	case legacy:
		d.Steps = append(d.Steps, tokenizer.StepMark)
	default:
		d.Steps = append(d.Steps, tokenizer.StepMarkFirst)
	}
	d.Decoder = append(d.Decoder, tokenizer.Rule{Op: tokenizer.OpStrip, Old: " "})
}

// addLlama adds the added tokens: those in added_tokens_decoder, the control and
// user-defined pieces, and those in added_tokens.json. It sets the names of bos, eos, unk
// and pad in config.
func (d *draft) addLlama(files Files, config *fields) error {
	listed := config.take("added_tokens_decoder")
	specials, err := parseObject("special_tokens_map.json", files.Specials)
	if err != nil {
		return err
	}
	names := map[string]bool{}
	for key, usual := range map[string]string{"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": ""} {
		v, ok := config.m[key]
		if s, given := specials.m[key]; given && listed == nil {
			v, ok = s, true
		}
		if m, isObject := v.(map[string]any); isObject { // the piece has the flags
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
		if kind == tokenizer.KindControl || kind == tokenizer.KindUserDefined && d.SentencePiece == nil { // sentencepiece finds its own
			d.add(tokenizer.Added{ID: uint32(id), Content: string(d.Tokens[id]), Special: kind == tokenizer.KindControl})
		}
	}
	if listed != nil {
		return nil
	}
	added, err := parseObject("added_tokens.json", files.Added)
	if err != nil {
		return err
	}
	byID := make([]tokenizer.Added, 0, len(added.m))
	for _, content := range slices.Sorted(maps.Keys(added.m)) {
		id := added.id(defect.Printable(content), added.m[content], tokenizer.MaxTokens)
		byID = append(byID, tokenizer.Added{ID: uint32(id), Content: content, Special: names[content], Normalized: !names[content]})
	}
	return d.addTokens("added_tokens.json", byID, added.err)
}

// addListed adds the tokens in f, which is added_tokens_decoder.
func (d *draft) addListed(f *fields) error {
	byID, err := readListed(f)
	return d.addTokens(configFile, byID, err)
}

// addTokens adds tokens in the order of their ids. As in Hugging Face, a token in the
// vocabulary keeps its id and a new token gets the next id. The file must list the same
// ids.
func (d *draft) addTokens(file string, added []tokenizer.Added, err error) error {
	if err != nil {
		return err
	}
	slices.SortStableFunc(added, func(a, b tokenizer.Added) int { return cmp.Compare(a.ID, b.ID) })
	known := make(map[string]int, len(d.Tokens))
	for id, t := range d.Tokens {
		known[string(t)] = id
	}
	for _, a := range added {
		if a.Content == "" {
			d.noteEmpty(file)
			continue
		}
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

// add adds a token to d.Added, unless that has one with the same id.
func (d *draft) add(a tokenizer.Added) {
	if !slices.ContainsFunc(d.Added, func(b tokenizer.Added) bool { return b.ID == a.ID }) {
		d.Added = append(d.Added, a)
	}
}
