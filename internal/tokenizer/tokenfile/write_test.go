package tokenfile

import (
	"errors"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"thimble/internal/defect"
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

func TestJSONOfSentencePiece(t *testing.T) {
	d, err := ParseSentencePiece(read(t, testdata("sp-llama.model")))
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := JSON(d, 1); !errors.Is(err, defect.ErrUnsupported) {
		t.Error(err)
	}
}
