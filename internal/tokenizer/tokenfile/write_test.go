package tokenfile

import (
	"errors"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"thimble/internal/defect"
	"thimble/internal/tokenizer"
)

// A tokenizer written as JSON and read back is the same.
func TestJSON(t *testing.T) {
	files, err := filepath.Glob(testdata("*.ids.json"))
	if err != nil || len(files) < 20 {
		t.Fatalf("found only %d tokenizers: %v", len(files), err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".ids.json")
		if strings.HasPrefix(name, "sp-") {
			continue
		}
		d, err := ParseJSON(read(t, testdata(name+".json")), nil)
		if err != nil {
			t.Fatal(err)
		}
		d.ChatTemplate = "{{ messages }}"
		text, config, err := JSON(d, 512)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		got, err := ParseJSON(text, config)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		got.Notes, d.Notes = nil, nil
		if field := differs(d, got); field != "" {
			t.Errorf("%s: %s differs", name, field)
		}
		if !reflect.DeepEqual(got.Merges, d.Merges) || !reflect.DeepEqual(got.Tokens, d.Tokens) {
			t.Errorf("%s: other tokens or merges", name)
		}
	}
}

// A model of sentencepiece written as JSON gives the ids of sentencepiece. What a tokenizer.json
// cannot express is refused.
func TestJSONOfSentencePiece(t *testing.T) {
	var texts []string
	readJSONFile(t, testdata("strings.json"), &texts)
	for name, why := range map[string]string{
		"llama": "", "unigram-bytes": "", "unigram-plain": "", "bpe": "user-defined symbols", "bpe-suffix": "a space that it adds after a text",
		"llama-symbols": "user-defined symbols", "unigram": "user-defined symbols",
	} {
		d, err := ParseSentencePiece(read(t, testdata("sp-"+name+".model")))
		if err != nil {
			t.Fatal(err)
		}
		text, config, err := JSON(d, 1)
		if why != "" {
			if !errors.Is(err, defect.ErrUnsupported) || !strings.Contains(err.Error(), why) {
				t.Errorf("%s: %v, want %q", name, err, why)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		got, err := ParseJSON(text, config)
		if err != nil {
			t.Fatal(err)
		}
		tok, err := tokenizer.New(got)
		if err != nil {
			t.Fatal(err)
		}
		var want [][]int
		readJSONFile(t, testdata("sp-"+name+".ids.json"), &want)
		wrong := 0
		for i, s := range texts {
			got := tok.Encode(s, false)
			if slices.Equal(got, want[i]) {
				continue
			}
			if wrong++; len(d.SentencePiece.Charsmap) == 0 {
				t.Errorf("%s: %q: got %v, want %v", name, s, got, want[i])
			}
		}
		if wrong > len(texts)/12 { // of a charsmap, which Hugging Face reads otherwise
			t.Errorf("%s: %d of %d texts have other ids", name, wrong, len(texts))
		}
	}
}
