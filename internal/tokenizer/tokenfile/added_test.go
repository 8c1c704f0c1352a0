package tokenfile

import (
	"encoding/json"
	"slices"
	"testing"

	"thimble/internal/tokenizer"
)

// If an added token strips the text of another, tokenizers 0.23.3 drops a token of which
// nothing is left and encodes some white space twice. So do we.
func TestAddedStripsAdded(t *testing.T) {
	tokens := parsed(t, "gpt2").Added
	tokens = append(tokens,
		tokenizer.Added{ID: 400, Content: "\n", LStrip: true, RStrip: true},
		tokenizer.Added{ID: 401, Content: "<r>", RStrip: true},
		tokenizer.Added{ID: 402, Content: "  "})
	var list []map[string]any
	for _, a := range tokens {
		list = append(list, map[string]any{"id": a.ID, "content": a.Content, "special": a.Special, "single_word": a.SingleWord,
			"lstrip": a.LStrip, "rstrip": a.RStrip, "normalized": a.Normalized})
	}
	value, err := json.Marshal(list)
	if err != nil {
		t.Fatal(err)
	}
	d, err := ParseJSON(edit(t, "gpt2.json", "added_tokens", string(value)), nil)
	if err != nil {
		t.Fatal(err)
	}
	tok, err := tokenizer.New(d)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		text string
		want []int
	}{
		{"\n", []int{400}},
		{"\n\na", []int{400, 67}},
		{"a\n\n", []int{67, 400}},
		{"a \n \n b", []int{67, 400, 68}},
		{"a  \n", []int{67, 402, 400}},
		{"<r>\na", []int{401, 67}},
		{"<r> \n", []int{401}},
		{"<r>   a", []int{401, 402, 262}},
		{"<r>    a", []int{401, 402, 402, 67}},
		{"<r>     a", []int{401, 402, 402, 262}},
	} {
		if got := tok.Encode(c.text, false); !slices.Equal(got, c.want) {
			t.Errorf("%q: got %v, want %v", c.text, got, c.want)
		}
	}
}
