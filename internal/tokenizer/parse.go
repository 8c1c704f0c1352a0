package tokenizer

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"thimble/internal/defect"
)

const jsonFile = "tokenizer.json"

// The Split patterns that are known, as regular expressions of Oniguruma.
var patterns = map[string]Step{
	gpt2Pattern:                            StepGPT2,
	llama3Head + `\p{N}{1,3}` + llama3Tail: StepLlama3,
	llama3Head + `\p{N}` + llama3Tail:      StepQwen2,
}

const (
	gpt2Pattern = `'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`
	llama3Head  = `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|`
	llama3Tail  = `| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`
)

// A document is a tokenizer.json on its way to Data.
type document struct {
	Data
	s      *scanner
	vocab  []entry
	ids    map[string]uint32 // by token as the file spells it
	merges int               // offset of the merges in the file, 0 if there are none
	added  []*fields
	post   any
	bpe    bool
	err    error
}

type entry struct {
	token string
	id    int
}

// ParseJSON reads a Hugging Face tokenizer.json of at most 128 MiB. Every key
// is used, asserted or known not to matter; anything else is an error.
func ParseJSON(b []byte) (*Data, error) {
	if len(b) > maxFile {
		return nil, defect.Corrupt(jsonFile, "", "%d bytes exceed the limit of %d", len(b), maxFile)
	}
	d := &document{s: &scanner{file: jsonFile, b: b}}
	d.Data = Data{Model: ByteLevelBPE, BOS: -1, EOS: -1, Pad: -1, Unk: -1}
	d.s.object(d.member)
	d.s.end()
	for _, finish := range []func() error{
		func() error { return d.s.err },
		func() error { return d.err },
		d.finishVocab,
		d.finishAdded,
		d.finishMerges,
		d.finishTemplate,
		d.check,
	} {
		if err := finish(); err != nil {
			return nil, err
		}
	}
	return &d.Data, nil
}

// fail keeps the first error that is not one of syntax.
func (d *document) fail(err error) {
	if d.err == nil {
		d.err = err
	}
}

func (d *document) member(key string) {
	switch key {
	case "model":
		d.readModel()
		return
	case "added_tokens":
		d.s.array(func() {
			d.added = append(d.added, object(jsonFile, fmt.Sprintf("added_tokens[%d]", len(d.added)), d.s.value()))
			if len(d.added) > maxAdded {
				d.s.fail("more than 65536 added tokens")
			}
		})
		return
	}
	v := d.s.value()
	switch {
	case d.s.err != nil:
	case key == "version" && v == "1.0", key == "truncation" && v == nil, key == "padding" && v == nil,
		key == "normalizer" && v == nil:
	case key == "version", key == "truncation", key == "padding":
		d.fail(defect.Unsupported(jsonFile, "%s %s; write null there if it is not needed", key, defect.Printable(show(v))))
	case key == "normalizer":
		d.fail(defect.Unsupported(jsonFile+": normalizer", "%s", typeOf(v)))
	case key == "pre_tokenizer":
		d.fail(d.preTokenizer(object(jsonFile, key, v), true))
	case key == "post_processor":
		d.post = v
	case key == "decoder":
		if typeOf(v) != "ByteLevel" {
			d.fail(defect.Unsupported(jsonFile+": decoder", "%s", typeOf(v)))
		}
	default:
		d.fail(defect.Unsupported(jsonFile, "key %q", defect.Printable(key)))
	}
}

// typeOf returns the "type" of a component, or what stands there instead.
func typeOf(v any) string {
	if m, ok := v.(map[string]any); ok {
		return defect.Printable(show(m["type"]))
	}
	return defect.Printable(show(v))
}

func show(v any) string {
	if v == nil {
		return "null"
	}
	return fmt.Sprint(v)
}

func (d *document) readModel() {
	flags := map[string]any{}
	d.s.object(func(key string) {
		switch key {
		case "vocab":
			d.s.object(func(token string) {
				d.vocab = append(d.vocab, entry{token, d.s.id()})
			})
		case "merges": // may come before the vocabulary they are made of
			d.s.peek()
			d.merges = d.s.i
			d.s.skip()
		default:
			flags[key] = d.s.value()
		}
	})
	if d.s.err != nil {
		return
	}
	d.bpe = true
	f := object(jsonFile, "model", flags)
	if _, typed := flags["type"]; typed { // files of before 2020 have none
		if kind := f.str("type"); kind != "BPE" {
			f.unsupported("type", "model %s", defect.Printable(kind))
		}
	}
	if v := f.take("dropout"); v != nil && v != 0.0 {
		f.unsupported("dropout", "dropout (the ids would be random)")
	}
	for _, key := range []string{"continuing_subword_prefix", "end_of_word_suffix"} {
		if v := f.take(key); v != nil && v != "" {
			f.unsupported(key, "%s", defect.Printable(show(v)))
		}
	}
	if v := f.take("byte_fallback"); v != nil && v != false {
		f.unsupported("byte_fallback", "true")
	}
	unk := f.take("unk_token")
	f.take("fuse_unk") // only says how several unknowns in a row are written
	if v, ok := f.m["ignore_merges"]; ok && v != nil {
		d.IgnoreMerges = f.boolean("ignore_merges")
	}
	f.take("ignore_merges")
	if err := f.done(); err != nil {
		d.fail(err)
	}
	d.checkUnknown(unk)
}

// checkUnknown refuses an unknown-token that could appear: where it is unset,
// Hugging Face drops bytes the vocabulary lacks, and so do we.
func (d *document) checkUnknown(unk any) {
	if unk == nil || unk == "" {
		return
	}
	var have [256]bool
	for _, e := range d.vocab {
		if b, ok := appendBytes(nil, e.token); ok && len(b) == 1 {
			have[b[0]] = true
		}
	}
	if b := slices.Index(have[:], false); b >= 0 {
		d.fail(defect.Unsupported(jsonFile+": model.unk_token", "%s with a vocabulary that lacks byte 0x%02x", defect.Printable(show(unk)), b))
	}
}

// finishVocab places the vocabulary, checking that ids are dense and unique
// together with those of the added tokens.
func (d *document) finishVocab() error {
	if !d.bpe || d.merges == 0 {
		return defect.Corrupt(jsonFile, "model", "no vocab or no merges")
	}
	n := len(d.vocab)
	d.ids = make(map[string]uint32, n)
	for _, e := range d.vocab {
		d.ids[e.token] = uint32(e.id)
	}
	for _, f := range d.added {
		content, _ := f.m["content"].(string)
		if _, ok := d.ids[content]; !ok {
			n++
		}
	}
	d.Tokens = make([][]byte, n)
	size := 0
	for _, e := range d.vocab {
		size += len(e.token)
	}
	arena := make([]byte, 0, size)
	for _, e := range d.vocab {
		if e.id >= n {
			return defect.Corrupt(jsonFile, "model.vocab", "ids are not dense: token %q has id %d, but there are %d tokens", defect.Printable(e.token), e.id, n)
		}
		if d.Tokens[e.id] != nil {
			return defect.Corrupt(jsonFile, "model.vocab", "id %d is given twice, the second time to %q", e.id, defect.Printable(e.token))
		}
		at, plain := len(arena), true
		if arena, plain = appendBytes(arena, e.token); !plain {
			d.Literal = append(d.Literal, uint32(e.id))
		}
		d.Tokens[e.id] = arena[at:len(arena):len(arena)]
	}
	return nil
}

// appendBytes appends the bytes that a token in the byte-level alphabet stands
// for, or, if some character is not of that alphabet, the token itself and false.
func appendBytes(dst []byte, token string) ([]byte, bool) {
	at := len(dst)
	for _, r := range token {
		if int(r) >= len(alphabet) || alphabet[r] < 0 {
			return append(dst[:at], token...), false
		}
		dst = append(dst, byte(alphabet[r]))
	}
	return dst, true
}

// alphabet maps the characters that stand for bytes in a byte-level vocabulary
// to those bytes, and others to -1. Printable Latin-1 characters stand for
// themselves; U+0100 on are the other bytes in order (GPT-2, encoder.py).
var alphabet = func() (a [256 + 68]int16) {
	next := 256
	for i := range a {
		a[i] = -1
	}
	for b := range 256 {
		if b >= '!' && b <= '~' || b >= 0xa1 && b != 0xad {
			a[b] = int16(b)
		} else {
			a[next] = int16(b)
			next++
		}
	}
	return a
}()

// finishAdded places the added tokens. Hugging Face ignores the ids they are
// listed with: a token of the vocabulary keeps its id, a new one gets the next.
func (d *document) finishAdded() error {
	next := uint32(len(d.vocab))
	for _, f := range d.added {
		a := Added{
			Content:    f.str("content"),
			Special:    f.boolean("special"),
			SingleWord: f.boolean("single_word"),
			LStrip:     f.boolean("lstrip"),
			RStrip:     f.boolean("rstrip"),
			Normalized: f.boolean("normalized"),
		}
		listed := uint32(f.id("id", f.take("id"), maxTokens))
		if err := f.done(); err != nil {
			return err
		}
		id, ok := d.ids[a.Content]
		if !ok {
			id = next
			next++
			if int(id) >= len(d.Tokens) || d.Tokens[id] != nil {
				return defect.Corrupt(jsonFile, f.path, "id %d of %q is taken", id, defect.Printable(a.Content))
			}
			d.Tokens[id] = []byte(a.Content)
			d.Literal = append(d.Literal, id)
			d.ids[a.Content] = id
		}
		if listed != id {
			return defect.Corrupt(jsonFile, f.path, "%q has id %d, but the vocabulary and the order of the list give it %d", defect.Printable(a.Content), listed, id)
		}
		a.ID = id
		d.Added = append(d.Added, a)
	}
	for id, t := range d.Tokens {
		if t == nil {
			return defect.Corrupt(jsonFile, "model.vocab", "ids are not dense: no token has id %d", id)
		}
	}
	slices.Sort(d.Literal)
	return nil
}

// finishMerges walks the merges in place: there may be 300,000 of them.
func (d *document) finishMerges() error {
	s := &scanner{file: jsonFile, b: d.s.b, i: d.merges, depth: 1}
	id := func(token []byte) {
		n, ok := d.ids[string(token)]
		if !ok {
			s.fail(fmt.Sprintf("merge %d: %q is not in the vocabulary", len(d.Merges)/2, defect.Printable(string(token))))
		}
		d.Merges = append(d.Merges, n)
	}
	s.array(func() {
		if len(d.Merges) >= 2*maxTokens {
			s.fail("more than 4194304 merges")
		}
		if s.peek() == '[' {
			n := 0
			s.array(func() { id(s.str()); n++ })
			if n != 2 {
				s.fail("a merge is not of two tokens")
			}
			return
		}
		pair := s.str()
		if bytes.HasPrefix(pair, []byte("#version")) { // a line of merges.txt that Hugging Face passes over
			return
		}
		left, right, _ := bytes.Cut(pair, []byte(" "))
		id(left)
		id(right)
	})
	return s.err
}

// preTokenizer appends the steps of one component. ByteLevel must be there and
// come last, since it changes what later ones would see.
func (d *document) preTokenizer(f *fields, last bool) error {
	if f.err != nil {
		return f.err
	}
	switch kind := f.str("type"); kind {
	case "Sequence":
		list := f.array("pretokenizers")
		for i, v := range list {
			part := object(jsonFile, fmt.Sprintf("%s.pretokenizers[%d]", f.path, i), v)
			if err := d.preTokenizer(part, last && i == len(list)-1); err != nil {
				return err
			}
		}
		if len(list) == 0 && last {
			f.unsupported("pretokenizers", "a sequence that does not end in ByteLevel")
		}
		return f.done()
	case "Digits":
		step := StepDigits
		if f.boolean("individual_digits") {
			step = StepDigit
		}
		d.Steps = append(d.Steps, step)
	case "Split":
		d.split(f)
	case "ByteLevel":
		d.byteLevel(f)
		if last {
			return f.done()
		}
		f.unsupported("type", "ByteLevel before another pre-tokenizer")
	default:
		f.unsupported("type", "pre-tokenizer %s", defect.Printable(kind))
	}
	if last {
		f.unsupported("type", "a pre-tokenizer that does not end in ByteLevel")
	}
	return f.done()
}

func (d *document) byteLevel(f *fields) {
	if f.boolean("add_prefix_space") {
		d.Steps = append(d.Steps, StepSpace)
	}
	if v, ok := f.m["use_regex"]; !ok || v == true {
		d.Steps = append(d.Steps, StepGPT2)
	} else {
		f.boolean("use_regex")
	}
	f.take("use_regex")
	f.take("trim_offsets") // moves offsets, which we do not report
}

// split reads a Split. The known patterns match all of any text, so whether
// what lies between matches is kept, removed or inverted changes nothing, as
// long as the matches themselves are kept.
func (d *document) split(f *fields) {
	p := object(jsonFile, f.path+".pattern", f.take("pattern"))
	regex, ok := p.m["Regex"].(string)
	step, known := patterns[regex]
	if p.err != nil {
		f.err = p.err
	} else if !ok || !known || len(p.m) != 1 {
		f.unsupported("pattern", "%s", defect.Printable(strings.TrimPrefix(show(p.m), "map")))
	}
	behavior, invert := f.str("behavior"), f.boolean("invert")
	if behavior != "Isolated" && !(behavior == "Removed" && invert) {
		f.unsupported("behavior", "%s with invert %v", defect.Printable(behavior), invert)
	}
	d.Steps = append(d.Steps, step)
}
