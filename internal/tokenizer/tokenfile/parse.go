package tokenfile

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode"

	"thimble/internal/defect"
	"thimble/internal/strictjson"
	"thimble/internal/tokenizer"
	"thimble/internal/tokenizer/spelling"
)

const (
	jsonFile = "tokenizer.json"
	maxTree  = 16 << 20 // bytes of a value that is decoded as a whole
)

// A document is a tokenizer.json that is being converted to Data.
type document struct {
	draft
	s         *strictjson.Decoder
	vocab     []entry
	scores    []float64         // of a unigram vocabulary
	ids       map[string]uint32 // by token as written in the file
	merges    strictjson.Mark
	hasMerges bool
	model     *fields
	pre       any
	decoder   any
	added     []*fields
	post      any
	inBytes   bool            // whether ByteLevel has come
	letters   bool            // whether it is the last normalizer
	have      map[string]bool // the top-level keys in the file
}

type entry struct {
	token string
	id    int
}

// ParseJSON parses a Hugging Face tokenizer.json of at most 128 MiB and the
// tokenizer_config.json next to it, which may be nil. It uses each key of the first, checks
// its value, or knows that it has no effect. Any other key is an error.
//
// The config sets the chat template and the tokens bos, eos, pad and unk, and may add tokens.
// Another key of it that affects ids must agree with tokenizer.json. The rest configures the Python wrapper,
// including add_bos_token and add_eos_token: transformers ignores these if there is a
// tokenizer.json and uses the post-processor alone (transformers 5,
// tokenization_utils_base.py, _from_pretrained).
func ParseJSON(text, config []byte) (*tokenizer.Data, error) {
	return ParseFolder(text, Files{Config: config})
}

// ParseFolder is ParseJSON with all files that may be next to a tokenizer.json.
func ParseFolder(text []byte, files Files) (*tokenizer.Data, error) {
	d, err := readJSON(text)
	if err == nil {
		err = d.readConfig(files)
	}
	if err != nil {
		return nil, err
	}
	return &d.Data, nil
}

func readJSON(b []byte) (*draft, error) {
	if len(b) > tokenizer.MaxFile {
		return nil, defect.Corrupt(jsonFile, "", "%d bytes exceed the limit of %d", len(b), tokenizer.MaxFile)
	}
	d := &document{s: strictjson.NewDecoder(jsonFile, 0, b), have: map[string]bool{}}
	d.s.AllowMembers(tokenizer.MaxTokens)
	d.draft = *newDraft("")
	for _, step := range []func() error{
		func() error { return d.s.Object(d.member) },
		d.s.End,
		d.complete,
		d.finishComponents,
		d.finishVocab,
		d.finishAdded,
		d.finishModel,
		d.finishMerges,
		d.finishTemplate,
		d.Check,
	} {
		if err := step(); err != nil {
			return nil, err
		}
	}
	return &d.draft, nil
}

// complete returns an error if a required key is missing.
func (d *document) complete() error {
	for _, key := range []string{"model", "pre_tokenizer", "decoder"} {
		if !d.have[key] {
			return defect.Corrupt(jsonFile, key, "is missing")
		}
	}
	if kind, ok := d.model.m["type"].(string); ok && kind != "BPE" && kind != "Unigram" {
		return defect.Unsupported(jsonFile+": model.type", "model %s", defect.Printable(kind))
	}
	if d.vocab == nil || !d.hasMerges && d.scores == nil {
		return defect.Corrupt(jsonFile, "model", "vocab or merges are missing")
	}
	return nil
}

func (d *document) member(key string) error {
	d.have[key] = true
	switch key {
	case "model":
		return d.readModel()
	case "added_tokens":
		return d.s.Array(func(i int) error {
			if i == tokenizer.MaxAdded {
				return d.s.Fail("more than %d added tokens", tokenizer.MaxAdded)
			}
			v, err := d.s.Within(maxTree)
			d.added = append(d.added, object(jsonFile, fmt.Sprintf("added_tokens[%d]", i), v))
			return err
		})
	}
	v, err := d.s.Within(maxTree)
	switch {
	case err != nil:
		return err
	case key == "version" && v == "1.0":
	case key == "version":
		return defect.Unsupported(jsonFile, "%s %s", key, show(v))
	case key == "truncation", key == "padding": // for batches of a fixed length, which Thimble does not make
		if v != nil {
			d.Notes = append(d.Notes, fmt.Sprintf("%s: %s is ignored", jsonFile, key))
		}
	case key == "normalizer":
		if v != nil {
			return d.normalizer(object(jsonFile, key, v))
		}
	case key == "pre_tokenizer":
		d.pre = v
	case key == "post_processor":
		d.post = v
	case key == "decoder":
		d.decoder = v
	default:
		return defect.Unsupported(jsonFile, "key %q", defect.Printable(key))
	}
	return nil
}

// typeOf returns the "type" of a component as text, or v as text if v is not an object.
func typeOf(v any) string {
	if m, ok := v.(map[string]any); ok {
		return show(m["type"])
	}
	return show(v)
}

// show returns a value for an error message: a text as Printable does, anything else as
// JSON, shortened and without characters that a terminal acts on.
func show(v any) string {
	const most = 128 // bytes
	if text, ok := v.(string); ok {
		return defect.Printable(text)
	}
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return fmt.Sprintf("a %T", v)
	}
	text := strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '.'
		}
		return r
	}, strings.TrimSpace(b.String()))
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "") + "..."
	}
	return text
}

func (d *document) readModel() error {
	flags := map[string]any{}
	err := d.s.Object(func(key string) (err error) {
		switch key {
		case "vocab":
			if d.s.Kind() == '[' {
				return d.s.Array(d.scored)
			}
			return d.s.Object(func(token string) error {
				id, err := d.id()
				d.vocab = append(d.vocab, entry{token, id})
				return err
			})
		case "merges": // read by finishMerges, because they may come before the vocabulary
			d.s.Kind()
			d.merges, d.hasMerges = d.s.Mark(), true
			return d.skipStrings()
		}
		flags[key], err = d.s.Within(maxTree)
		return err
	})
	d.model = object(jsonFile, "model", flags)
	return err
}

// scored reads one token of a unigram vocabulary and its score.
func (d *document) scored(id int) error {
	err := d.s.Array(func(i int) error {
		switch i {
		case 0:
			token, err := d.s.String()
			d.vocab = append(d.vocab, entry{token, id})
			return err
		case 1:
			n, err := d.s.Number()
			if err != nil {
				return err
			}
			score := scoreOf(string(n))
			if math.Abs(score) > math.MaxFloat32 {
				return d.s.Fail("score %.40s is too large", string(n))
			}
			d.scores = append(d.scores, score)
			return nil
		}
		return d.s.Fail("want a token and its score")
	})
	if err == nil && len(d.scores) != id+1 {
		return d.s.Fail("want a token and its score")
	}
	return err
}

// id reads a token id.
func (d *document) id() (int, error) {
	n, err := d.s.Number()
	if err != nil {
		return 0, err
	}
	id, err := strconv.ParseUint(string(n), 10, 32)
	if err != nil || id >= tokenizer.MaxTokens {
		return 0, d.s.Fail("token id %.40s is not a whole number below %d", string(n), tokenizer.MaxTokens)
	}
	return int(id), nil
}

// skipStrings skips a string, or an array of strings or such arrays, and checks the
// syntax.
func (d *document) skipStrings() error {
	if d.s.Kind() == '[' {
		return d.s.Array(func(int) error { return d.skipStrings() })
	}
	_, err := d.s.Bytes()
	return err
}

// finishModel reads the flags of the model, which depend on the vocabulary.
func (d *document) finishModel() error {
	f := d.model
	kind := "BPE"
	if _, typed := f.m["type"]; typed { // files from before 2020 have no type
		kind = f.str("type")
	}
	switch {
	case f.err != nil:
	case kind == "BPE" && d.scores == nil:
		d.bpeFlags(f)
	case kind == "Unigram" && d.scores != nil:
		d.unigramFlags(f)
	default:
		f.corrupt("vocab", "is not the vocabulary of a %s model", kind)
	}
	return f.done()
}

func (d *document) bpeFlags(f *fields) {
	if v := f.take("dropout"); v != nil && !isZero(v) {
		f.unsupported("dropout", "dropout (the ids would be random)")
	}
	for _, key := range []string{"continuing_subword_prefix", "end_of_word_suffix"} {
		if v := f.take(key); v != nil && v != "" {
			f.unsupported(key, "%s", show(v))
		}
	}
	d.ByteFallback = f.flag("byte_fallback")
	if d.ByteFallback && d.Model == tokenizer.ByteLevelBPE {
		f.unsupported("byte_fallback", "true after a ByteLevel pre-tokenizer")
	}
	d.IgnoreMerges = f.flag("ignore_merges")
	fuse, unk := f.flag("fuse_unk"), f.take("unk_token")
	if unk == nil || unk == "" || d.Model == tokenizer.ByteLevelBPE && d.hasAllBytes() {
		return // no text would become the unknown token
	}
	text, _ := unk.(string)
	id, ok := d.ids[text]
	if !ok {
		f.corrupt("unk_token", "%s is not in the vocabulary", show(unk))
		return
	}
	d.Unk, d.Unknown = int(id), tokenizer.UnknownEach
	if fuse {
		d.Unknown = tokenizer.UnknownRun
	}
}

func isZero(v any) bool {
	n, ok := v.(strictjson.Number)
	x, err := strconv.ParseFloat(string(n), 64)
	return ok && err == nil && x == 0
}

// hasAllBytes reports whether every byte has a token.
func (d *document) hasAllBytes() bool {
	var have [256]bool
	count := 0
	for _, e := range d.vocab {
		if b, ok := spelling.AppendBytes(nil, e.token); ok && len(b) == 1 && !have[b[0]] {
			have[b[0]] = true
			count++
		}
	}
	return count == len(have)
}

func (d *document) unigramFlags(f *fields) {
	d.ByteFallback = f.flag("byte_fallback")
	d.Unk = f.id("unk_id", f.take("unk_id"), len(d.vocab))
	d.Unknown = tokenizer.UnknownRun
	d.Scores = append(d.scores, make([]float64, len(d.Tokens)-len(d.scores))...)
}
