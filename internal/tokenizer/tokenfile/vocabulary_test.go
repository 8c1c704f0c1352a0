package tokenfile

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"thimble/internal/tokenizer"
)

// A vocab.json and a merges.txt are the tokenizer.json that GPT-2's class makes of them.
func TestParseVocabulary(t *testing.T) {
	var whole struct {
		Model struct {
			Vocab  json.RawMessage
			Merges []string
		}
	}
	if err := json.Unmarshal(read(t, testdata("gpt2.json")), &whole); err != nil {
		t.Fatal(err)
	}
	merges := []byte("#version: 0.2\r\n" + strings.Join(whole.Model.Merges, "\n") + "\n")
	config := `"bos_token":"!","eos_token":null,"unk_token":null,"pad_token":null,"add_bos_token":true`
	for _, class := range []string{"GPT2Tokenizer", "GPT2TokenizerFast", "Qwen2Tokenizer"} {
		d, err := ParseVocabulary(whole.Model.Vocab, merges, beside(`{`+config+`,"tokenizer_class":"`+class+`"}`))
		if err != nil {
			t.Fatal(err)
		}
		if len(d.Prefix) != 1 || len(d.Merges) != 2*len(whole.Model.Merges) || (len(d.Normalizer) > 0) != (class == "Qwen2Tokenizer") {
			t.Errorf("%s: %d merges, normalizer %v, prefix %v", class, len(d.Merges)/2, d.Normalizer, d.Prefix)
		}
		if class != "GPT2Tokenizer" {
			continue
		}
		got, err := tokenizer.New(d)
		if err != nil {
			t.Fatal(err)
		}
		want, err := tokenizer.New(parsed(t, "gpt2"))
		if err != nil {
			t.Fatal(err)
		}
		if text := "It's  the 42nd, and on."; !slices.Equal(got.Encode(text, false), want.Encode(text, false)) {
			t.Errorf("%v, want %v", got.Encode(text, false), want.Encode(text, false))
		}
	}
	_, err := ParseVocabulary(whole.Model.Vocab, merges, beside(`{"tokenizer_class":"CTRLTokenizer"}`))
	checkError(t, err, true, `tokenizer_class "CTRLTokenizer" without tokenizer.json`)
	_, err = ParseVocabulary([]byte(`{"a":0},"merges":[]`), merges, beside(`{"tokenizer_class":"GPT2Tokenizer"}`))
	checkError(t, err, false, `after the value`)
}
