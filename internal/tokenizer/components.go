package tokenizer

import (
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"thimble/internal/defect"
	"thimble/internal/strictjson"
)

// patterns maps the supported patterns of Split, regular expressions in Oniguruma's
// syntax, to steps.
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

// formNames maps the normalizers without arguments to operations.
var formNames = map[string]Op{
	"NFC": OpNFC, "NFD": OpNFD, "NFKC": OpNFKC, "NFKD": OpNFKD, "Lowercase": OpLower, "StripAccents": OpAccents,
}

// normalizer appends the rules of one component.
func (d *document) normalizer(f *fields) error {
	if f.err != nil {
		return f.err
	}
	kind := f.str("type")
	switch op, ok := formNames[kind]; {
	case ok:
		d.Normalizer = append(d.Normalizer, Rule{Op: op})
	case kind == "Prepend":
		d.Normalizer = append(d.Normalizer, Rule{Op: OpPrepend, New: f.str("prepend")})
	case kind == "Replace":
		d.Normalizer = append(d.Normalizer, f.replaceAny())
	case kind == "Strip":
		for _, side := range []struct {
			key string
			op  Op
		}{{"strip_left", OpTrimStart}, {"strip_right", OpTrimEnd}} {
			if f.boolean(side.key) {
				d.Normalizer = append(d.Normalizer, Rule{Op: side.op})
			}
		}
	case kind == "Precompiled":
		b, err := base64.StdEncoding.DecodeString(f.str("precompiled_charsmap"))
		if err != nil {
			f.corrupt("precompiled_charsmap", "not in base64")
		}
		if len(b) > 0 {
			d.Normalizer = append(d.Normalizer, Rule{Op: OpCharsmap, Old: base64.StdEncoding.EncodeToString(b)})
		}
	case kind == "Sequence":
		return f.each("normalizers", d.normalizer)
	default:
		f.unsupported("type", "normalizer %s", defect.Printable(kind))
	}
	return f.done()
}

// replace reads a Replace.
func (f *fields) replace() Rule {
	return Rule{Op: OpReplace, Old: f.literal("pattern"), New: f.str("content")}
}

// replaceAny reads a Replace of a text or of a pattern.
func (f *fields) replaceAny() Rule {
	m, _ := f.m["pattern"].(map[string]any)
	regex, ok := m["Regex"].(string)
	if !ok || len(m) != 1 {
		return f.replace()
	}
	f.take("pattern")
	return Rule{Op: OpReplacePattern, Old: regex, New: f.str("content")}
}

// literal reads a pattern that is a plain text. A regular expression is an error.
func (f *fields) literal(key string) string {
	v := f.take(key)
	m, _ := v.(map[string]any)
	text, ok := m["String"].(string)
	if !ok || len(m) != 1 {
		f.unsupported(key, "%s", show(v))
	}
	return text
}

// each calls read with each component in a list, which must be the last unread member of
// f.
func (f *fields) each(key string, read func(*fields) error) error {
	for i, v := range f.array(key) {
		if err := read(object(f.file, fmt.Sprintf("%s.%s[%d]", f.path, key, i), v)); err != nil {
			return err
		}
	}
	return f.done()
}

// finishComponents reads the pre-tokenizer and the decoder, which together determine
// whether the vocabulary consists of bytes or characters.
func (d *document) finishComponents() error {
	byteLevel := typeOf(d.decoder) == "ByteLevel"
	d.Model = BPE
	switch {
	case byteLevel:
		d.Model = ByteLevelBPE
	case d.scores != nil:
		d.Model = Unigram
	}
	if byteLevel && d.scores != nil {
		return defect.Unsupported(jsonFile, "a Unigram model with a ByteLevel decoder")
	}
	if d.decoder == nil {
		return defect.Unsupported(jsonFile+": decoder", "null")
	}
	if d.pre != nil || byteLevel {
		if err := d.preTokenizer(object(jsonFile, "pre_tokenizer", d.pre), true); err != nil {
			return err
		}
	}
	if byteLevel && !d.inBytes {
		return defect.Unsupported(jsonFile+": pre_tokenizer", "a ByteLevel decoder without ByteLevel in the pre-tokenizer")
	}
	if byteLevel {
		return nil // its flags only change offsets, which we do not report
	}
	fused := false
	return d.readDecoder(object(jsonFile, "decoder", d.decoder), &fused)
}

// preTokenizer appends the steps of one component. last reports whether it is the last one:
// before others, ByteLevel also spells the text in its alphabet.
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
	case "Digits":
		step := StepDigits
		if f.boolean("individual_digits") {
			step = StepDigit
		}
		d.Steps = append(d.Steps, step)
	case "Split":
		d.split(f)
	case "Punctuation":
		how := isolated
		if _, ok := f.m["behavior"]; ok {
			how = f.behavior()
		}
		d.Steps = append(d.Steps, Step(how+" punctuation"))
	case "Whitespace":
		d.Steps = append(d.Steps, Step(inverse+removed+" words"))
	case "WhitespaceSplit":
		d.Steps = append(d.Steps, Step(removed+" space"))
	case "BertPreTokenizer":
		d.Steps = append(d.Steps, Step(removed+" space"), Step(isolated+" punctuation"))
	case "CharDelimiterSplit":
		d.Steps = append(d.Steps, Step(removed)+":"+Step(quoted(f.str("delimiter"))))
	case "Metaspace":
		d.metaspace(f)
	case "ByteLevel":
		if d.inBytes || d.Model != ByteLevelBPE {
			f.unsupported("type", "a second ByteLevel, or one without a ByteLevel decoder")
		}
		d.byteLevel(f)
		if d.inBytes = true; !last {
			d.Steps = append(d.Steps, StepLetters)
		}
	default:
		f.unsupported("type", "pre-tokenizer %s", defect.Printable(kind))
	}
	return f.done()
}

// behavior reads what becomes of the matches of a split.
func (f *fields) behavior() behavior {
	name := f.str("behavior")
	how, ok := behaviors[name]
	if !ok {
		f.unsupported("behavior", "%q", defect.Printable(name))
	}
	return how
}

// quoted returns a pattern that matches text alone.
func quoted(text string) string {
	var b strings.Builder
	for _, r := range text {
		if r < 0x80 && !(r >= '0' && r <= '9' || r >= 'A' && r <= 'Z' || r >= 'a' && r <= 'z') {
			b.WriteByte('\\')
		}
		b.WriteRune(r)
	}
	return b.String()
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
	f.take("trim_offsets") // changes offsets, which we do not report
}

// scheme reads the members of a Metaspace, which is a pre-tokenizer or a decoder.
func (f *fields) scheme() (scheme string, split bool) {
	scheme, split = "always", true
	if _, ok := f.m["prepend_scheme"]; ok {
		scheme = f.str("prepend_scheme")
	}
	if _, ok := f.m["split"]; ok {
		split = f.boolean("split")
	}
	if v := f.take("add_prefix_space"); v == false { // before tokenizers 0.19
		scheme = "never"
	}
	f.take("str_rep")
	if r := f.str("replacement"); r != mark {
		f.unsupported("replacement", "%q", defect.Printable(r))
	}
	return scheme, split
}

func (d *document) metaspace(f *fields) {
	scheme, split := f.scheme()
	d.Steps = append(d.Steps, StepEscape)
	switch scheme {
	case "always":
		d.Steps = append(d.Steps, StepMark)
	case "first":
		d.Steps = append(d.Steps, StepMarkFirst)
	case "never":
	default:
		f.unsupported("prepend_scheme", "%q", defect.Printable(scheme))
	}
	if split {
		d.Steps = append(d.Steps, StepWords)
	}
}

// split appends the step of a Split. The patterns of the table match every character, so the
// behavior has no effect on them as long as the matches are kept.
func (d *document) split(f *fields) {
	p := object(jsonFile, f.path+".pattern", f.take("pattern"))
	how, invert := f.behavior(), f.boolean("invert")
	text, isText := p.m["String"].(string)
	regex, isRegex := p.m["Regex"].(string)
	switch step, known := patterns[regex]; {
	case p.err != nil:
		f.err = p.err
		return
	case isText == isRegex || len(p.m) != 1:
		f.unsupported("pattern", "%s", show(p.m))
		return
	case text == " " && how == withPrevious && !invert:
		d.Steps = append(d.Steps, StepAfterSpace)
		return
	case known && (how == isolated || how == removed && invert):
		d.Steps = append(d.Steps, step)
		return
	case isText:
		regex = quoted(text)
	}
	step := Step(how) + ":" + Step(regex)
	if invert {
		step = inverse + step
	}
	if _, _, err := newSplit(step); err != nil && f.err == nil {
		f.err = fmt.Errorf("%s: %w", jsonFile, err)
	}
	d.Steps = append(d.Steps, step)
}

// readDecoder appends the rules of one component. Fuse concatenates the tokens. Strip must
// come after it and no other component may.
func (d *document) readDecoder(f *fields, fused *bool) error {
	if f.err != nil {
		return f.err
	}
	kind := f.str("type")
	if *fused && kind != "Strip" && kind != "Replace" {
		f.unsupported("type", "%s after Fuse", defect.Printable(kind))
	}
	switch kind {
	case "Sequence":
		return f.each("decoders", func(f *fields) error { return d.readDecoder(f, fused) })
	case "Replace":
		r, at := f.replace(), len(d.Decoder)
		if *fused { // as good as before the bytes, unless byte tokens spell Old
			if at = slices.IndexFunc(d.Decoder, func(r Rule) bool { return r.Op == OpBytes }); utf8.RuneCountInString(r.Old) != 1 || at < 0 {
				f.unsupported("type", "Replace of more than a character after Fuse, or without ByteFallback,")
				at = 0
			}
		}
		d.Decoder = slices.Insert(d.Decoder, at, r)
	case "ByteFallback":
		d.Decoder = append(d.Decoder, Rule{Op: OpBytes})
	case "Fuse":
		*fused = true
	case "Strip":
		start, stop := f.take("start"), f.take("stop")
		if !*fused || start != strictjson.Number("1") || stop != strictjson.Number("0") {
			f.unsupported("type", "Strip with start %v and stop %v, except 1 and 0 after Fuse,", show(start), show(stop))
		}
		d.Decoder = append(d.Decoder, Rule{Op: OpStrip, Old: f.str("content")})
	case "Metaspace":
		if scheme, _ := f.scheme(); scheme != "never" {
			d.Decoder = append(d.Decoder, Rule{Op: OpDropFirst, Old: mark})
		}
		d.Decoder = append(d.Decoder, Rule{Op: OpReplace, Old: mark, New: " "})
	default:
		f.unsupported("type", "decoder %s", defect.Printable(kind))
	}
	return f.done()
}
