package quantize

import (
	"strings"
	"testing"
)

func TestRecipeYAML(t *testing.T) {
	r := &Recipe{Scheme: "int4/g32", Embedding: "int8/g32", Rules: []Rule{{"blocks.*.down", "int8/g32"}}}
	text, err := r.YAML()
	if err != nil {
		t.Fatal(err)
	}
	want := "scheme: int4/g32/sym\nmethod: rtn\nembedding: int8/g32/sym\nhead: int8/g32/sym\nvectors: keep\nset:\n- tensors: blocks.*.down\n  scheme: int8/g32/sym\n"
	if text != want {
		t.Errorf("YAML is %q, want %q", text, want)
	}
	again, err := ParseRecipe([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	again.Without = []string{StepDescent, StepSearch}
	again.Method, again.Texts = MethodGPTQ, &Texts{}
	if less, err := again.YAML(); err != nil || !strings.Contains(less, "without:\n- search\n- descent\n") {
		t.Errorf("YAML is %q, %v", less, err)
	}
	again.Without, again.Method, again.Texts = nil, "", nil
	if other, err := again.YAML(); other != text || err != nil {
		t.Errorf("read back and written again it is %q, %v", other, err)
	}
	for text, want := range map[string]string{
		"scheme: int4/g32\nembeding: int8/g32\n": "embeding",
		"scheme: int4/g32\nscheme: int8/g32\n":   "scheme",
		"[1, 2]":                                 "recipe: ",
		"scheme: [a":                             "recipe: ",
	} {
		if _, err := ParseRecipe([]byte(text)); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("ParseRecipe(%q): %v, want one line with %q", text, err, want)
		}
	}
}
