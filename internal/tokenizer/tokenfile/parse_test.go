package tokenfile

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"thimble/internal/tokenizer"
	"thimble/internal/tokenizer/spelling"
)

// edit returns a tokenizer.json of testdata with one value replaced by JSON, or deleted
// if value is "". path is the keys to it, joined with dots.
func edit(t testing.TB, name, path, value string) []byte {
	t.Helper()
	var top map[string]any
	readJSONFile(t, testdata(name), &top)
	m, keys := top, strings.Split(path, ".")
	for _, k := range keys[:len(keys)-1] {
		m = m[k].(map[string]any)
	}
	last := keys[len(keys)-1]
	if value == "" {
		delete(m, last)
	} else {
		m[last] = json.RawMessage(value)
	}
	b, err := json.Marshal(top)
	if err != nil {
		t.Fatalf("%s = %s: %v", path, value, err)
	}
	return b
}

const byteLevel = `{"type":"ByteLevel","add_prefix_space":false,"trim_offsets":true,"use_regex":true}`

func added(content, more string) string {
	return `[{"id":400,"content":` + content + `,"single_word":false,"lstrip":false,"rstrip":false,"normalized":false,"special":true` + more + `}]`
}

func TestParseJSONErrors(t *testing.T) {
	split := func(pattern, rest string) string {
		return `{"type":"Sequence","pretokenizers":[{"type":"Split","pattern":` + pattern + `,` + rest + `},` + byteLevel + `]}`
	}
	for _, c := range []struct {
		path, value string
		unsupported bool
		want        string
	}{
		{"version", `"2.0"`, true, `version 2.0`},
		{"truncation", `{"max_length":512}`, false, ``},
		{"padding", `{"strategy":"BatchLongest"}`, false, ``},
		{"surprise", `1`, true, `key "surprise"`},
		{"normalizer", `{"type":"Nmt"}`, true, `normalizer Nmt is not supported`},
		{"normalizer", `{"type":"BertNormalizer","clean_text":true,"handle_chinese_chars":1,"strip_accents":null,"lowercase":true}`, false, `handle_chinese_chars: want true or false`},
		{"normalizer", `{"type":"Precompiled","precompiled_charsmap":"AA=="}`, false, `charsmap: 1 bytes, want at least 4`},
		{"normalizer", `{"type":"Precompiled","precompiled_charsmap":"?"}`, false, `precompiled_charsmap: not in base64`},
		{"normalizer", `{"type":"Sequence","normalizers":[{"type":"NFC"},{"type":"Nmt"}]}`, true, `normalizers[1].type: normalizer Nmt`},
		{"normalizer", `{"type":"Sequence","normalizers":[{"type":"NFC"}],"x":1}`, true, `normalizer.x: this key`},
		{"normalizer", `{"type":"Prepend"}`, false, `prepend: want a string`},
		{"normalizer", `{"type":"Replace","pattern":{"Regex":"(a)\\1"},"content":" "}`, true, `pattern (a)\1 (offset 4: \1) is not supported`},
		{"normalizer", `{"type":"Replace","pattern":{"String":""},"content":" "}`, false, `rule replace has no text to replace`},
		{"normalizer", `[]`, false, `normalizer: want an object`},
		{"normalizer", `{"type":"NFC"}`, false, ``},
		{"decoder", `{"type":"Metaspace"}`, true, `a second ByteLevel, or one without a ByteLevel decoder`},
		{"decoder", `null`, true, `decoder: null`},
		{"decoder", ``, false, `decoder: is missing`},
		{"model", ``, false, `model: is missing`},
		{"pre_tokenizer", ``, false, `pre_tokenizer: is missing`},
		{"pre_tokenizer", `null`, true, `pre_tokenizer: a ByteLevel decoder without ByteLevel in the normalizer or the pre-tokenizer`},
		{"normalizer", `{"type":"ByteLevel"}`, true, `a second ByteLevel`},
		{"normalizer", `{"type":"Sequence","normalizers":[{"type":"ByteLevel"},{"type":"NFC"}]}`, true, `NFC after ByteLevel`},
		{"decoder", `{"type":"Fuse"}`, true, `a second ByteLevel, or one without a ByteLevel decoder`},
		{"pre_tokenizer", `{"type":"Metaspace","replacement":"_"}`, true, `pre_tokenizer.replacement: "_"`},
		{"pre_tokenizer", `{"type":"Digits","individual_digits":true}`, true, `a ByteLevel decoder without ByteLevel`},
		{"pre_tokenizer", `{"type":"Sequence","pretokenizers":[]}`, true, `a ByteLevel decoder without ByteLevel`},
		{"pre_tokenizer", `{"type":"Sequence","pretokenizers":[` + byteLevel + `,` + byteLevel + `]}`, true, `a second ByteLevel`},
		{"pre_tokenizer.use_regex", `null`, false, `use_regex: want true or false, found null`},
		{"pre_tokenizer.add_prefix_space", ``, false, `add_prefix_space: want true or false`},
		{"pre_tokenizer.speed", `1`, true, `pre_tokenizer.speed: this key`},
		{"pre_tokenizer", split(`{"Regex":"(?<=\\d+)"}`, `"behavior":"Isolated","invert":false`), true, `a look-behind without a fixed length`},
		{"pre_tokenizer", split(`{"Text":" "}`, `"behavior":"Isolated","invert":false`), true, `{"Text":" "}`},
		{"pre_tokenizer", split(`{"Regex":`+string(quote(tokenizer.StepGPT2.Pattern()))+`}`, `"behavior":"Dropped","invert":false`), true, `"Dropped"`},
		{"post_processor", `{"type":"PairProcessing"}`, true, `post-processor PairProcessing`},
		{"post_processor", `{"type":"RobertaProcessing"}`, false, `post_processor.cls: want an array, found null`},
		{"post_processor", `{"type":"BertProcessing","cls":["x"],"sep":["y",1]}`, false, `post_processor.cls: want a token and its id`},
		{"post_processor", `{"type":"BertProcessing","cls":["x",0],"sep":["y",400]}`, false, `want a token id below 400, found 400`},
		{"post_processor", `{"type":"TemplateProcessing","single":[],"pair":[],"special_tokens":{}}`, true, `a template with 0 texts`},
		{"post_processor", `{"type":"TemplateProcessing","single":[{"Sequence":{"id":"B","type_id":0}}],"pair":[],"special_tokens":{}}`, true, `single`},
		{"post_processor", `{"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"x","type_id":0}}],"pair":[],"special_tokens":{}}`, false, `special_tokens.x: want an object, found null`},
		{"post_processor", `{"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"x","type_id":0}}],"special_tokens":{"x":{"ids":[400]}}}`, false, `want a token id below 400, found 400`},
		{"model.type", `"Unigram"`, false, `model.vocab: is not the vocabulary of a Unigram model`},
		{"model.type", `"WordPiece"`, true, `model.type: model WordPiece`},
		{"model", `{"type":"WordLevel","vocab":{"a":0},"unk_token":"a"}`, true, `model.type: model WordLevel is not supported`},
		{"model.dropout", `0.1`, true, `dropout`},
		{"model.byte_fallback", `true`, true, `byte_fallback`},
		{"model.continuing_subword_prefix", `"##"`, true, `##`},
		{"model.end_of_word_suffix", `"</w>"`, true, `</w>`},
		{"model.ignore_merges", `1`, false, `ignore_merges: want true or false, found a number`},
		{"model.speed", `1`, true, `model.speed`},
		{"model.vocab", ``, false, `vocab or merges are missing`},
		{"model.merges", ``, false, `vocab or merges are missing`},
		{"model.merges", `["a"]`, false, `merge 0: "" is not in the vocabulary`},
		{"model.merges", `["a b c"]`, false, `merge 0: "b c" is not in the vocabulary`},
		{"model.merges", `[["a","b","c"]]`, false, `a merge must have two tokens`},
		{"model.merges", `["# #","! ~"]`, false, `merge 0 makes "##", which is not a token`},
		{"model.merges", `[["<|end|>","!"]]`, false, `merge 0 makes "<|end|>!"`},
		{"model.merges", `"a b"`, false, `found a string, want an array`},
		{"model.vocab.!", `4000`, false, `has id 4000, far above the number of tokens`},
		{"model.vocab.!", `4`, false, `id 4 is given twice`},
		{"model.vocab.!", `-1`, false, `token id -1 is not a whole number below 4194304`},
		{"model.vocab.!", `4194304`, false, `token id 4194304`},
		{"model.vocab.!", `1.5`, false, `token id 1.5`},
		{"model.vocab.new", `400`, false, ``}, // a 401st token is valid
		{"added_tokens", added(`""`, ``), false, ``},
		{"added_tokens", added(`"`+strings.Repeat("x", 2000)+`"`, ``), false, `2000 bytes long`},
		{"added_tokens", added(`"<new>"`, ``), false, ``},
		{"added_tokens", added(`"!"`, ``), false, ``},
		{"added_tokens", added(`"<new>"`, `,"loud":true`), true, `added_tokens[0].loud`},
		{"added_tokens", `[{"id":400,"content":"x"}]`, false, `want true or false`},
		{"added_tokens", `[1]`, false, `added_tokens[0]: want an object, found a number`},
	} {
		t.Run(c.path, func(t *testing.T) {
			d, err := ParseJSON(edit(t, "gpt2.json", c.path, c.value), nil)
			if err == nil {
				_, err = tokenizer.New(d)
			}
			checkError(t, err, c.unsupported, c.want)
		})
	}
}

func quote(s string) []byte {
	b, err := json.Marshal(s)
	if err != nil {
		panic(err)
	}
	return b
}

// A byte without a token becomes the unknown token, if the model has one.
func TestParseJSONLacksByte(t *testing.T) {
	for fuse, want := range map[string][]int{"false": {0, 0}, "true": {0}} {
		b := edit(t, "gaps.json", "model.unk_token", `"<|endoftext|>"`)
		d, err := ParseJSON(bytes.Replace(b, []byte(`"fuse_unk":false`), []byte(`"fuse_unk":`+fuse), 1), nil)
		if err != nil {
			t.Fatal(err)
		}
		tok, err := tokenizer.New(d)
		if err != nil {
			t.Fatal(err)
		}
		if got := tok.Encode("\x00\x00", false); !slices.Equal(got, want) {
			t.Errorf("fuse_unk %s: got %v, want %v", fuse, got, want)
		}
	}
	_, err := ParseJSON(edit(t, "gaps.json", "model.unk_token", `"<nowhere>"`), nil)
	checkError(t, err, false, `model.unk_token: <nowhere> is not in the vocabulary`)
}

// The order of keys and white space have no effect.
func TestParseJSONOrder(t *testing.T) {
	want, err := ParseJSON(read(t, testdata("llama3.json")), nil)
	if err != nil {
		t.Fatal(err)
	}
	sorted := edit(t, "llama3.json", "version", `"1.0"`) // encoding/json sorts: merges before vocab
	if bytes.Index(sorted, []byte(`"merges"`)) > bytes.Index(sorted, []byte(`"vocab"`)) {
		t.Fatal("merges do not come before vocab")
	}
	var indented bytes.Buffer
	if err := json.Indent(&indented, sorted, "", "\t"); err != nil {
		t.Fatal(err)
	}
	for _, b := range [][]byte{sorted, indented.Bytes()} {
		got, err := ParseJSON(b, nil)
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Error("the order of keys or white space changes the tokenizer")
		}
	}
}

// ParseJSON reads a file of the size of Llama 3's, which has 128,000 tokens and 280,000
// merges, with few allocations.
func TestParseJSONLarge(t *testing.T) {
	if testing.Short() {
		t.Skip("tries very many texts")
	}
	var vocab, merges strings.Builder
	var tokens []string
	for b, r := range byteRunes() {
		fmt.Fprintf(&vocab, "%s:%d,", quote(string(r)), b)
		tokens = append(tokens, string(r))
	}
	for i := 0; len(tokens) < 128_000; i++ {
		l, r := tokens[i/256], tokens[i%256]
		fmt.Fprintf(&vocab, "%s:%d,", quote(l+r), len(tokens))
		fmt.Fprintf(&merges, "[%s,%s],\n", quote(l), quote(r))
		tokens = append(tokens, l+r)
	}
	m := strings.TrimSuffix(merges.String(), ",\n")
	file := []byte(`{"model":{"vocab":{` + strings.TrimSuffix(vocab.String(), ",") + `},"merges":[` + m + "," + m +
		`]},"decoder":` + byteLevel + `,"pre_tokenizer":` + byteLevel + `}`)
	start := time.Now()
	d, err := ParseJSON(file, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tokenizer.New(d); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d bytes, %d tokens, %d merges in %v", len(file), len(d.Tokens), len(d.Merges)/2, time.Since(start))
	if allocs := testing.AllocsPerRun(1, func() { ParseJSON(file, nil) }); allocs > 3*128_000 {
		t.Errorf("%.0f allocations for %d tokens; does finishMerges copy the merges?", allocs, len(d.Tokens))
	}
}

// byteRunes returns the characters of the byte-level alphabet, by byte.
func byteRunes() []rune {
	runes := make([]rune, 256)
	for b := range runes {
		runes[b] = []rune(spelling.Letters(string([]byte{byte(b)})))[0]
	}
	return runes
}

// The expected scores are those of tokenizers 0.23.3 after it reads a file.
func TestScoreOf(t *testing.T) {
	for text, want := range map[string]float64{
		"-7.3519232432189545": -7.351923243218955, "-7.5405897458549305": -7.540589745854931, "-7.7712487312913385": -7.771248731291339,
		"0": 0, "-0.0": 0, "-2": -2, "-2.5": -2.5, "1e3": 1000, "-1.25E-2": -0.0125, "18446744073709551616": 18446744073709551616,
		"1.00000000000000000000001": 1, "1e-400": 0, "-7.9697058661621357766202896e-19": -7.969705866162137e-19, "1e999": math.Inf(1), "-3.4635426998138428": -3.4635426998138428,
	} {
		if got := scoreOf(text); got != want {
			t.Errorf("%s: got %.17g, want %.17g", text, got, want)
		}
	}
}

// Converting a checkpoint only parses its tokenizer, so that must refuse such a merge.
func TestMergeWithoutToken(t *testing.T) {
	for _, merges := range []string{`["# #"]`, `[["#","#"]]`} {
		_, err := ParseJSON(edit(t, "gpt2.json", "model.merges", merges), nil)
		checkError(t, err, false, `merge 0 makes "##", which is not a token`)
	}
}

func TestIgnoredBlocks(t *testing.T) {
	d, err := ParseJSON(edit(t, "gpt2.json", "truncation", `{"max_length":512}`), nil)
	if want := []string{"tokenizer.json: truncation is ignored"}; err != nil || !slices.Equal(d.Notes, want) {
		t.Errorf("notes are %q, %v, want %q", d.Notes, err, want)
	}
}
