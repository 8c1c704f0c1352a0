package tokenfile

import (
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"thimble/internal/defect"
	"thimble/internal/strictjson"
	"thimble/internal/tokenizer"
	"thimble/internal/tokenizer/spelling"
)

// formNames maps the normalizers without arguments to operations.
var formNames = map[string]tokenizer.Op{
	"NFC": tokenizer.OpNFC, "NFD": tokenizer.OpNFD, "NFKC": tokenizer.OpNFKC, "NFKD": tokenizer.OpNFKD, "Lowercase": tokenizer.OpLower, "StripAccents": tokenizer.OpAccents,
}

// behaviors maps what a tokenizer.json calls them.
var behaviors = map[string]tokenizer.Behavior{
	"Isolated": tokenizer.Isolated, "Removed": tokenizer.Removed, "Contiguous": tokenizer.Contiguous,
	"MergedWithPrevious": tokenizer.WithPrevious, "MergedWithNext": tokenizer.WithNext,
}

var whitespaceSplit = tokenizer.Split{Behavior: tokenizer.Removed, Set: tokenizer.Spaces}.Step()

// normalizer appends the rules of one component.
func (d *document) normalizer(f *fields) error {
	if f.err != nil {
		return f.err
	}
	kind := f.str("type")
	switch op, ok := formNames[kind]; {
	case d.letters:
		f.unsupported("type", "%s after ByteLevel", defect.Printable(kind))
	case kind == "ByteLevel": // as before the pre-tokenizer: its steps, too, see the alphabet
		d.letters = true
	case ok:
		d.Normalizer = append(d.Normalizer, tokenizer.Rule{Op: op})
	case kind == "Prepend":
		d.Normalizer = append(d.Normalizer, tokenizer.Rule{Op: tokenizer.OpPrepend, New: f.str("prepend")})
	case kind == "Replace":
		d.Normalizer = append(d.Normalizer, f.replaceAny())
	case kind == "Strip":
		for _, side := range []struct {
			key string
			op  tokenizer.Op
		}{{"strip_left", tokenizer.OpTrimStart}, {"strip_right", tokenizer.OpTrimEnd}} {
			if f.boolean(side.key) {
				d.Normalizer = append(d.Normalizer, tokenizer.Rule{Op: side.op})
			}
		}
	case kind == "Precompiled":
		b, err := base64.StdEncoding.DecodeString(f.str("precompiled_charsmap"))
		if err != nil {
			f.corrupt("precompiled_charsmap", "not in base64")
		}
		if len(b) > 0 {
			d.Normalizer = append(d.Normalizer, tokenizer.Rule{Op: tokenizer.OpCharsmap, Old: base64.StdEncoding.EncodeToString(b)})
		}
	case kind == "BertNormalizer":
		d.bertNormalizer(f)
	case kind == "Sequence":
		return f.each("normalizers", d.normalizer)
	default:
		f.unsupported("type", "normalizer %s", defect.Printable(kind))
	}
	return f.done()
}

// bertRules lists the parts of a BertNormalizer, in their order.
var bertRules = []struct {
	key string
	op  tokenizer.Op
}{
	{"clean_text", tokenizer.OpClean}, {"handle_chinese_chars", tokenizer.OpIdeographs}, {"strip_accents", tokenizer.OpMarks}, {"lowercase", tokenizer.OpLower},
}

// bertNormalizer appends the rules of a BertNormalizer, which strips accents by default if it
// maps to lower case.
func (d *document) bertNormalizer(f *fields) {
	if f.m["strip_accents"] == nil {
		f.m["strip_accents"] = f.m["lowercase"]
	}
	for _, part := range bertRules {
		if f.boolean(part.key) {
			d.Normalizer = append(d.Normalizer, tokenizer.Rule{Op: part.op})
		}
	}
}

// replace reads a Replace.
func (f *fields) replace() tokenizer.Rule {
	return tokenizer.Rule{Op: tokenizer.OpReplace, Old: f.literal("pattern"), New: f.str("content")}
}

// replaceAny reads a Replace of a text or of a pattern.
func (f *fields) replaceAny() tokenizer.Rule {
	m, _ := f.m["pattern"].(map[string]any)
	regex, ok := m["Regex"].(string)
	if !ok || len(m) != 1 {
		return f.replace()
	}
	f.take("pattern")
	return tokenizer.Rule{Op: tokenizer.OpReplacePattern, Old: regex, New: f.str("content")}
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
	d.Model = tokenizer.BPE
	switch {
	case byteLevel:
		d.Model = tokenizer.ByteLevelBPE
	case d.scores != nil:
		d.Model = tokenizer.Unigram
	}
	if byteLevel && d.scores != nil {
		return defect.Unsupported(jsonFile, "a Unigram model with a ByteLevel decoder")
	}
	if d.decoder == nil {
		return defect.Unsupported(jsonFile+": decoder", "null")
	}
	if d.letters {
		if !byteLevel {
			return defect.Unsupported(jsonFile+": normalizer", "ByteLevel without a ByteLevel decoder")
		}
		if d.inBytes = true; d.pre != nil {
			d.Steps = append(d.Steps, tokenizer.StepLetters)
		}
	}
	if d.pre != nil {
		if err := d.preTokenizer(object(jsonFile, "pre_tokenizer", d.pre), true); err != nil {
			return err
		}
	}
	if byteLevel && !d.inBytes {
		return defect.Unsupported(jsonFile+": pre_tokenizer", "a ByteLevel decoder without ByteLevel in the normalizer or the pre-tokenizer")
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
		step := tokenizer.StepDigits
		if f.boolean("individual_digits") {
			step = tokenizer.StepDigit
		}
		d.Steps = append(d.Steps, step)
	case "Split":
		d.split(f)
	case "Punctuation":
		how := tokenizer.Isolated
		if _, ok := f.m["behavior"]; ok {
			how = f.behavior()
		}
		d.Steps = append(d.Steps, tokenizer.Split{Behavior: how, Set: tokenizer.Punctuation}.Step())
	case "Whitespace":
		d.Steps = append(d.Steps, tokenizer.Split{Behavior: tokenizer.Removed, Invert: true, Set: tokenizer.Words}.Step())
	case "WhitespaceSplit":
		d.Steps = append(d.Steps, whitespaceSplit)
	case "BertPreTokenizer":
		d.Steps = append(d.Steps, whitespaceSplit, tokenizer.Split{Behavior: tokenizer.Isolated, Set: tokenizer.Punctuation}.Step())
	case "CharDelimiterSplit":
		d.Steps = append(d.Steps, tokenizer.Split{Behavior: tokenizer.Removed, Pattern: quoted(f.str("delimiter"))}.Step())
	case "Metaspace":
		d.metaspace(f)
	case "ByteLevel":
		if d.inBytes || d.Model != tokenizer.ByteLevelBPE {
			f.unsupported("type", "a second ByteLevel, or one without a ByteLevel decoder")
		}
		d.byteLevel(f)
		if d.inBytes = true; !last {
			d.Steps = append(d.Steps, tokenizer.StepLetters)
		}
	default:
		f.unsupported("type", "pre-tokenizer %s", defect.Printable(kind))
	}
	return f.done()
}

// behavior reads what becomes of the matches of a split.
func (f *fields) behavior() tokenizer.Behavior {
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
		d.Steps = append(d.Steps, tokenizer.StepSpace)
	}
	if v, ok := f.m["use_regex"]; !ok || v == true {
		d.Steps = append(d.Steps, tokenizer.StepGPT2)
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
	if r := f.str("replacement"); r != spelling.Mark {
		f.unsupported("replacement", "%q", defect.Printable(r))
	}
	return scheme, split
}

func (d *document) metaspace(f *fields) {
	scheme, split := f.scheme()
	d.Steps = append(d.Steps, tokenizer.StepEscape)
	switch scheme {
	case "always":
		d.Steps = append(d.Steps, tokenizer.StepMark)
	case "first":
		d.Steps = append(d.Steps, tokenizer.StepMarkFirst)
	case "never":
	default:
		f.unsupported("prepend_scheme", "%q", defect.Printable(scheme))
	}
	if split {
		d.Steps = append(d.Steps, tokenizer.StepWords)
	}
}

// split appends the step of a Split. The patterns of the table match every character, so the
// behavior has no effect on them as long as the matches are kept.
func (d *document) split(f *fields) {
	p := object(jsonFile, f.path+".pattern", f.take("pattern"))
	how, invert := f.behavior(), f.boolean("invert")
	text, isText := p.m["String"].(string)
	regex, isRegex := p.m["Regex"].(string)
	switch step, known := tokenizer.StepOf(regex); {
	case p.err != nil:
		f.err = p.err
		return
	case isText == isRegex || len(p.m) != 1:
		f.unsupported("pattern", "%s", show(p.m))
		return
	case text == " " && how == tokenizer.WithPrevious && !invert:
		d.Steps = append(d.Steps, tokenizer.StepAfterSpace)
		return
	case known && (how == tokenizer.Isolated || how == tokenizer.Removed && invert):
		d.Steps = append(d.Steps, step)
		return
	case isText:
		regex = quoted(text)
	}
	split := tokenizer.Split{Behavior: how, Invert: invert, Pattern: regex}
	if err := split.Check(); err != nil && f.err == nil {
		f.err = fmt.Errorf("%s: %w", jsonFile, err)
	}
	d.Steps = append(d.Steps, split.Step())
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
			if at = slices.IndexFunc(d.Decoder, func(r tokenizer.Rule) bool { return r.Op == tokenizer.OpBytes }); utf8.RuneCountInString(r.Old) != 1 || at < 0 {
				f.unsupported("type", "Replace of more than a character after Fuse, or without ByteFallback,")
				at = 0
			}
		}
		d.Decoder = slices.Insert(d.Decoder, at, r)
	case "ByteFallback":
		d.Decoder = append(d.Decoder, tokenizer.Rule{Op: tokenizer.OpBytes})
	case "Fuse":
		*fused = true
	case "Strip":
		start, stop := f.take("start"), f.take("stop")
		if !*fused || start != strictjson.Number("1") || stop != strictjson.Number("0") {
			f.unsupported("type", "Strip with start %v and stop %v, except 1 and 0 after Fuse,", show(start), show(stop))
		}
		d.Decoder = append(d.Decoder, tokenizer.Rule{Op: tokenizer.OpStrip, Old: f.str("content")})
	case "Metaspace":
		if scheme, _ := f.scheme(); scheme != "never" {
			d.Decoder = append(d.Decoder, tokenizer.Rule{Op: tokenizer.OpDropFirst, Old: spelling.Mark})
		}
		d.Decoder = append(d.Decoder, tokenizer.Rule{Op: tokenizer.OpReplace, Old: spelling.Mark, New: " "})
	default:
		f.unsupported("type", "decoder %s", defect.Printable(kind))
	}
	return f.done()
}
