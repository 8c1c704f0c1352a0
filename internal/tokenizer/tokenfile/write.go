package tokenfile

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"

	"thimble/internal/defect"
	"thimble/internal/tokenizer"
	"thimble/internal/tokenizer/spelling"
)

// A member is a component of a tokenizer.json: its type and settings.
type member map[string]any

// JSON returns d as the contents of a tokenizer.json and a tokenizer_config.json, of which
// context becomes model_max_length. ParseJSON gives d again, or what asRules makes of a model of
// sentencepiece; otherwise JSON returns an error that wraps format.ErrUnsupported.
func JSON(d *tokenizer.Data, context int) (text, config []byte, err error) {
	if d.SentencePiece != nil {
		if d, err = asRules(d); err != nil {
			return nil, nil, err
		}
	}
	w := &jsonWriter{Data: d}
	if text, err = encodeJSON(w.document()); err != nil {
		return nil, nil, err
	}
	if w.failed != "" {
		return nil, nil, defect.Unsupported("tokenizer", "%s in tokenizer.json", w.failed)
	}
	if config, err = encodeJSON(w.config(context)); err != nil {
		return nil, nil, err
	}
	got, err := ParseJSON(text, config)
	if err != nil {
		return nil, nil, fmt.Errorf("the tokenizer.json of this tokenizer would be wrong: %w", err)
	}
	if field := differs(d, got); field != "" {
		return nil, nil, defect.Unsupported("tokenizer", "%s of this tokenizer in tokenizer.json", field)
	}
	return text, config, nil
}

// differs returns the name of a field in which two definitions differ, or "". Tokens that are
// found in the text first need not be literal. Scores and kinds that the model ignores do not
// count.
func differs(d, e *tokenizer.Data) string {
	normal := func(d *tokenizer.Data) tokenizer.Data {
		t := *d
		t.Notes, t.Kinds = nil, nil
		if t.Model != tokenizer.Unigram {
			t.Scores = nil
		}
		added := map[uint32]bool{}
		for _, a := range d.Added {
			added[a.ID] = true
		}
		t.Literal = slices.DeleteFunc(slices.Clone(d.Literal), func(id uint32) bool { return added[id] })
		return t
	}
	a, b := reflect.ValueOf(normal(d)), reflect.ValueOf(normal(e))
	for i := range a.NumField() {
		x, y := a.Field(i), b.Field(i)
		if x.Kind() == reflect.Slice && x.Len() == 0 && y.Len() == 0 {
			continue
		}
		if !reflect.DeepEqual(x.Interface(), y.Interface()) {
			return a.Type().Field(i).Name
		}
	}
	return ""
}

func encodeJSON(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", " ")
	err := e.Encode(v)
	return b.Bytes(), err
}

// A jsonWriter writes the members of a tokenizer.json. It keeps the first part of Data that
// the file cannot express.
type jsonWriter struct {
	*tokenizer.Data
	failed string
}

func (w *jsonWriter) fail(format string, args ...any) {
	if w.failed == "" {
		w.failed = fmt.Sprintf(format, args...)
	}
}

// text returns a token as the vocabulary in the file spells it.
func (w *jsonWriter) text(id uint32) string {
	token := string(w.Tokens[id])
	if _, literal := slices.BinarySearch(w.Literal, id); w.Model == tokenizer.ByteLevelBPE && !literal {
		return spelling.Letters(token)
	}
	return token
}

func (w *jsonWriter) document() any {
	return struct {
		Version       string `json:"version"`
		Truncation    any    `json:"truncation"`
		Padding       any    `json:"padding"`
		AddedTokens   any    `json:"added_tokens"`
		Normalizer    any    `json:"normalizer"`
		PreTokenizer  any    `json:"pre_tokenizer"`
		PostProcessor any    `json:"post_processor"`
		Decoder       any    `json:"decoder"`
		Model         any    `json:"model"`
	}{"1.0", nil, nil, w.addedTokens(), w.normalizer(), w.preTokenizer(), w.postProcessor(), w.decoder(), w.model()}
}

// config returns the contents of the tokenizer_config.json. The class is the one that reads
// tokenizer.json as it is.
func (w *jsonWriter) config(context int) any {
	c := member{"tokenizer_class": "PreTrainedTokenizerFast", "clean_up_tokenization_spaces": false, "model_max_length": context}
	for key, id := range map[string]int{"bos_token": w.BOS, "eos_token": w.EOS, "pad_token": w.Pad, "unk_token": w.Unk} {
		if id < 0 {
			continue
		}
		c[key] = w.text(uint32(id))
		if i := slices.IndexFunc(w.Added, func(a tokenizer.Added) bool { return int(a.ID) == id }); i >= 0 {
			c[key] = w.Added[i].Content
		}
	}
	switch {
	case w.ToolTemplate != "": // the list that transformers 4 wrote, and 5 reads
		list := []member{{"name": "tool_use", "template": w.ToolTemplate}}
		if w.ChatTemplate != "" {
			list = append([]member{{"name": "default", "template": w.ChatTemplate}}, list...)
		}
		c["chat_template"] = list
	case w.ChatTemplate != "":
		c["chat_template"] = w.ChatTemplate
	}
	return c
}

// addedTokens returns the added tokens. Those that the vocabulary does not have must come in
// the order of their ids, because readers number them.
func (w *jsonWriter) addedTokens() any {
	all := []member{}
	for _, a := range w.Added {
		all = append(all, member{
			"id": a.ID, "content": a.Content, "special": a.Special, "single_word": a.SingleWord,
			"lstrip": a.LStrip, "rstrip": a.RStrip, "normalized": a.Normalized,
		})
	}
	return all
}

// sequence returns the only component, or a sequence of several under key, or nil.
func sequence(key string, all []member) any {
	switch len(all) {
	case 0:
		return nil
	case 1:
		return all[0]
	}
	return member{"type": "Sequence", key: all}
}

func (w *jsonWriter) normalizer() any {
	var all []member
	for _, r := range w.Normalizer {
		all = append(all, w.rule(r))
	}
	return sequence("normalizers", all)
}

// rule returns the component of a normalizer's rule, or of a decoder's OpReplace.
func (w *jsonWriter) rule(r tokenizer.Rule) member {
	for kind, op := range formNames {
		if op == r.Op {
			return member{"type": kind}
		}
	}
	bert := member{"type": "BertNormalizer"}
	for _, part := range bertRules {
		bert[part.key] = part.op == r.Op
	}
	switch r.Op {
	case tokenizer.OpClean, tokenizer.OpIdeographs, tokenizer.OpMarks:
		return bert
	case tokenizer.OpPrepend:
		return member{"type": "Prepend", "prepend": r.New}
	case tokenizer.OpReplace:
		return member{"type": "Replace", "pattern": member{"String": r.Old}, "content": r.New}
	case tokenizer.OpReplacePattern:
		return member{"type": "Replace", "pattern": member{"Regex": r.Old}, "content": r.New}
	case tokenizer.OpTrimStart, tokenizer.OpTrimEnd:
		return member{"type": "Strip", "strip_left": r.Op == tokenizer.OpTrimStart, "strip_right": r.Op == tokenizer.OpTrimEnd}
	case tokenizer.OpCharsmap:
		return member{"type": "Precompiled", "precompiled_charsmap": r.Old}
	}
	w.fail("the rule %v", r)
	return nil
}

// preTokenizer returns the components of the steps. ByteLevel, which ends the steps or stands
// where a step spells bytes, also holds the steps before it that only it has.
func (w *jsonWriter) preTokenizer() any {
	var all []member
	steps := w.Steps
	for len(steps) > 0 {
		n := 1
		switch s := steps[0]; s {
		case tokenizer.StepLetters:
			all = append(all, byteLevelMember(false, false))
		case tokenizer.StepSpace:
			gpt2 := len(steps) > 1 && steps[1] == tokenizer.StepGPT2
			if gpt2 {
				n++
			}
			all = append(all, byteLevelMember(true, gpt2))
			if n < len(steps) && steps[n] == tokenizer.StepLetters {
				n++
			} else if n < len(steps) {
				w.fail("a space before pieces and then other steps")
			}
			if n == len(steps) {
				return sequence("pretokenizers", all)
			}
		case tokenizer.StepEscape:
			var m member
			m, n = metaspace(steps)
			all = append(all, m)
		default:
			all = append(all, w.step(s))
		}
		steps = steps[n:]
	}
	if w.Model == tokenizer.ByteLevelBPE && !slices.Contains(w.Steps, tokenizer.StepLetters) {
		all = append(all, byteLevelMember(false, false))
	}
	return sequence("pretokenizers", all)
}

func byteLevelMember(space, gpt2 bool) member {
	return member{"type": "ByteLevel", "add_prefix_space": space, "trim_offsets": true, "use_regex": gpt2}
}

// metaspace returns the component that begins with StepEscape, and the number of its steps.
func metaspace(steps []tokenizer.Step) (m member, n int) {
	scheme := "never"
	n = 1
	if n < len(steps) && steps[n] == tokenizer.StepMark {
		scheme = "always"
		n++
	} else if n < len(steps) && steps[n] == tokenizer.StepMarkFirst {
		scheme = "first"
		n++
	}
	split := n < len(steps) && steps[n] == tokenizer.StepWords
	if split {
		n++
	}
	return member{"type": "Metaspace", "replacement": spelling.Mark, "prepend_scheme": scheme, "split": split}, n
}

// step returns the component of one step.
func (w *jsonWriter) step(s tokenizer.Step) member {
	switch s {
	case tokenizer.StepDigit, tokenizer.StepDigits:
		return member{"type": "Digits", "individual_digits": s == tokenizer.StepDigit}
	case tokenizer.StepAfterSpace:
		return member{"type": "Split", "pattern": member{"String": " "}, "behavior": "MergedWithPrevious", "invert": false}
	}
	if regex := s.Pattern(); regex != "" {
		return member{"type": "Split", "pattern": member{"Regex": regex}, "behavior": "Isolated", "invert": false}
	}
	split, ok := s.Split()
	name := ""
	for key, how := range behaviors {
		if how == split.Behavior {
			name = key
		}
	}
	switch {
	case !ok:
	case split.Set == "":
		return member{"type": "Split", "pattern": member{"Regex": split.Pattern}, "behavior": name, "invert": split.Invert}
	case split.Set == tokenizer.Punctuation && !split.Invert:
		return member{"type": "Punctuation", "behavior": name}
	case split == tokenizer.Split{Behavior: tokenizer.Removed, Set: tokenizer.Spaces}:
		return member{"type": "WhitespaceSplit"}
	case split == tokenizer.Split{Behavior: tokenizer.Removed, Invert: true, Set: tokenizer.Words}:
		return member{"type": "Whitespace"}
	}
	w.fail("the pre-tokenizer step %s", defect.Printable(string(s)))
	return nil
}

func (w *jsonWriter) postProcessor() any {
	if len(w.Prefix)+len(w.Suffix) == 0 {
		return nil
	}
	specials := member{}
	around := func(sequence string, typ int) (all []member) {
		token := func(id uint32) {
			name := string(w.Tokens[id])
			specials[name] = member{"id": name, "ids": []uint32{id}, "tokens": []string{name}}
			all = append(all, member{"SpecialToken": member{"id": name, "type_id": typ}})
		}
		for _, id := range w.Prefix {
			token(id)
		}
		all = append(all, member{"Sequence": member{"id": sequence, "type_id": typ}})
		for _, id := range w.Suffix {
			token(id)
		}
		return all
	}
	single := around("A", 0)
	return member{"type": "TemplateProcessing", "single": single, "pair": slices.Concat(single, around("B", 1)), "special_tokens": specials}
}

func (w *jsonWriter) decoder() any {
	if w.Model == tokenizer.ByteLevelBPE {
		return byteLevelMember(true, true)
	}
	var all []member
	fused := false
	for i := 0; i < len(w.Decoder); i++ {
		switch r := w.Decoder[i]; r.Op {
		case tokenizer.OpBytes:
			all = append(all, member{"type": "ByteFallback"})
		case tokenizer.OpStrip:
			if !fused {
				all = append(all, member{"type": "Fuse"})
				fused = true
			}
			all = append(all, member{"type": "Strip", "content": r.Old, "start": 1, "stop": 0})
		case tokenizer.OpDropFirst:
			all = append(all, member{"type": "Metaspace", "replacement": spelling.Mark, "prepend_scheme": "always", "split": true})
			i++ // it also replaces the mark
		default:
			all = append(all, w.rule(r))
		}
	}
	if !fused {
		all = append(all, member{"type": "Fuse"})
	}
	return sequence("decoders", all)
}

// model returns the vocabulary and the merges. Added tokens that the model cannot produce and
// that come after all others are left to the list of added tokens.
func (w *jsonWriter) model() any {
	if w.Model == tokenizer.Unigram {
		return w.unigram()
	}
	var vocab orderedVocab
	for id := range uint32(w.vocabEnd()) {
		if len(w.Tokens[id]) > 0 {
			vocab = append(vocab, entry{w.text(id), int(id)})
		}
	}
	merges := [][2]string{}
	for i := 0; i+1 < len(w.Merges); i += 2 {
		merges = append(merges, [2]string{w.text(w.Merges[i]), w.text(w.Merges[i+1])})
	}
	var unk any
	if w.Unknown != tokenizer.UnknownDropped && w.Unk >= 0 {
		unk = w.text(uint32(w.Unk))
	}
	return struct {
		Type         string       `json:"type"`
		Dropout      any          `json:"dropout"`
		Unk          any          `json:"unk_token"`
		Prefix       any          `json:"continuing_subword_prefix"`
		Suffix       any          `json:"end_of_word_suffix"`
		FuseUnk      bool         `json:"fuse_unk"`
		ByteFallback bool         `json:"byte_fallback"`
		IgnoreMerges bool         `json:"ignore_merges"`
		Vocab        orderedVocab `json:"vocab"`
		Merges       [][2]string  `json:"merges"`
	}{"BPE", nil, unk, nil, nil, w.Unknown == tokenizer.UnknownRun, w.ByteFallback, w.IgnoreMerges, vocab, merges}
}

// vocabEnd returns the number of ids that the vocabulary must hold.
func (w *jsonWriter) vocabEnd() int {
	added := map[int]bool{}
	for _, a := range w.Added {
		added[int(a.ID)] = true
	}
	n, literal := len(w.Tokens), len(w.Literal)
	for literal > 0 && n > 0 && int(w.Literal[literal-1]) == n-1 && added[n-1] {
		n, literal = n-1, literal-1
	}
	return n
}

func (w *jsonWriter) unigram() any {
	vocab := [][2]any{}
	for id := range uint32(w.vocabEnd()) {
		vocab = append(vocab, [2]any{w.text(id), w.Scores[id]})
	}
	var unk any
	if w.Unk >= 0 {
		unk = w.Unk
	}
	return struct {
		Type         string   `json:"type"`
		Unk          any      `json:"unk_id"`
		Vocab        [][2]any `json:"vocab"`
		ByteFallback bool     `json:"byte_fallback"`
	}{"Unigram", unk, vocab, w.ByteFallback}
}

// An orderedVocab is an object in the order of its ids.
type orderedVocab []entry

// MarshalJSON implements json.Marshaler.
func (v orderedVocab) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	b.WriteByte('{')
	for i, x := range v {
		if i > 0 {
			b.WriteByte(',')
		}
		if err := e.Encode(x.token); err != nil {
			return nil, err
		}
		fmt.Fprintf(&b, ":%d", x.id)
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}
