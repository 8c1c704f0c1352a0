package tokenizer

import (
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
	have   map[string]bool // top-level keys
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
	d := &document{s: &scanner{file: jsonFile, b: b}, have: map[string]bool{}}
	d.Data = Data{Model: ByteLevelBPE, BOS: -1, EOS: -1, Pad: -1, Unk: -1}
	d.s.object(d.member)
	d.s.end()
	for _, finish := range []func() error{
		func() error { return d.s.err },
		func() error { return d.err },
		d.complete,
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

// complete checks that nothing is missing without which text is not bytes.
func (d *document) complete() error {
	for _, key := range []string{"model", "pre_tokenizer", "decoder"} {
		if !d.have[key] {
			return defect.Corrupt(jsonFile, key, "is missing")
		}
	}
	if d.vocab == nil || d.merges == 0 {
		return defect.Corrupt(jsonFile, "model", "no vocab or no merges")
	}
	return nil
}

func (d *document) member(key string) {
	d.have[key] = true
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
				if len(d.vocab) > maxTokens {
					d.s.fail("more than 4194304 tokens")
				}
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
	if unk == nil || unk == "" || d.vocab == nil {
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
