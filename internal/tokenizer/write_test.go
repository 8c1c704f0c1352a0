package tokenizer

import (
	"errors"
	"reflect"
	"testing"

	"thimble/internal/defect"
)

// A tokenizer written as JSON and read back is the same.
func TestJSON(t *testing.T) {
	for _, name := range variants {
		d, err := ParseJSON(read(t, testdata(name+".json")))
		if err != nil {
			t.Fatal(err)
		}
		d.ChatTemplate = "{{ messages }}"
		text, config, err := d.JSON(512)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		got, err := ParseJSON(text)
		if err == nil {
			err = got.ApplyConfig(config)
		}
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		got.Notes, d.Notes = nil, nil
		if field := d.differs(got); field != "" {
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
	if _, _, err := d.JSON(1); !errors.Is(err, defect.ErrUnsupported) {
		t.Error(err)
	}
}
