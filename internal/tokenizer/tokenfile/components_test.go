package tokenfile

import (
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"testing"

	"thimble/internal/tokenizer"
)

// ByteLevel as a normalizer is the same as before the pre-tokenizers, as in tokenizers 0.23.3, whose
// ids the fixtures of the second form have.
func TestByteLevelNormalizer(t *testing.T) {
	const spell = `{"type":"ByteLevel","add_prefix_space":false,"trim_offsets":true,"use_regex":false}`
	const split = `{"type":"Split","pattern":{"Regex":"Ġ+|[^Ġ]+"},"behavior":"Isolated","invert":false}`
	for pre, want := range map[string]string{`null`: spell, split: `{"type":"Sequence","pretokenizers":[` + spell + `,` + split + `]}`} {
		for normalizer, rules := range map[string][]tokenizer.Rule{
			`{"type":"ByteLevel"}`: nil, `{"type":"Sequence","normalizers":[{"type":"NFC"},{"type":"ByteLevel"}]}`: {{Op: tokenizer.OpNFC}},
		} {
			got, err := ParseJSON(editAll(t, "gpt2.json", map[string]string{"normalizer": normalizer, "pre_tokenizer": pre}), nil)
			if err != nil {
				t.Fatalf("%s, %s: %v", normalizer, pre, err)
			}
			twin, err := ParseJSON(edit(t, "gpt2.json", "pre_tokenizer", want), nil)
			if err != nil {
				t.Fatal(err)
			}
			twin.Normalizer = rules
			if !reflect.DeepEqual(got, twin) {
				t.Errorf("%s, %s: steps %q and rules %v, want %q and %v", normalizer, pre, got.Steps, got.Normalizer, twin.Steps, twin.Normalizer)
			}
		}
	}
}

// editAll is edit of several members at the top.
func editAll(t *testing.T, name string, values map[string]string) []byte {
	t.Helper()
	var top map[string]any
	readJSONFile(t, testdata(name), &top)
	for key, value := range values {
		top[key] = json.RawMessage(value)
	}
	b, err := json.Marshal(top)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// The post-processors of BERT and RoBERTa put an id on each side; one of a template may be several
// ids, and occur twice.
func TestPostProcessors(t *testing.T) {
	const bert = `{"type":"BertProcessing","sep":["b",4],"cls":["a",3]}`
	const template = `{"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"x","type_id":0}},{"Sequence":{"id":"A","type_id":0}},` +
		`{"SpecialToken":{"id":"x","type_id":0}}],"pair":[],"special_tokens":{"x":{"id":"x","ids":[5,6],"tokens":["c","d"]}}}`
	for post, want := range map[string][2][]uint32{
		bert: {{3}, {4}},
		`{"type":"RobertaProcessing","sep":["b",4],"cls":["a",3],"trim_offsets":true,"add_prefix_space":false}`: {{3}, {4}},
		template: {{5, 6}, {5, 6}},
		`{"type":"Sequence","processors":[` + bert + `,` + template + `]}`: {{5, 6, 3}, {4, 5, 6}},
	} {
		d, err := ParseJSON(edit(t, "gpt2.json", "post_processor", post), nil)
		if err != nil || !slices.Equal(d.Prefix, want[0]) || !slices.Equal(d.Suffix, want[1]) {
			t.Errorf("%s: %v and %v, %v; want %v", post, d.Prefix, d.Suffix, err, want)
		}
	}
}

// An added token without a text is ignored with a note, and takes no id.
func TestEmptyAdded(t *testing.T) {
	const flags = `,"single_word":false,"lstrip":false,"rstrip":false,"normalized":false,"special":true}`
	text := edit(t, "gpt2.json", "added_tokens", `[{"id":400,"content":""`+flags+`,{"id":400,"content":"<new>"`+flags+`]`)
	for _, config := range []string{``, `{"added_tokens_decoder":{"401":{"content":""}}}`} {
		d, err := ParseJSON(text, []byte(config))
		if err != nil {
			t.Fatal(err)
		}
		if n := len(d.Tokens); n != 401 || string(d.Tokens[400]) != "<new>" || len(d.Added) != 1 {
			t.Errorf("%q: %d tokens, added %v", config, n, d.Added)
		}
		if notes := strings.Join(d.Notes, "\n"); strings.Count(notes, "an added token without a text is ignored") != 1+min(1, len(config)) {
			t.Errorf("%q: notes %s", config, notes)
		}
	}
}
