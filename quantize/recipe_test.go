package quantize

import (
	"strings"
	"testing"

	"thimble/quantize/rounding"
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
	again.Without = []string{rounding.StepDescent, rounding.StepSearch}
	again.Method, again.Texts = rounding.MethodGPTQ, &Texts{}
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

// ParseRecipe refuses a text in a line, or reads a recipe whose canonical text reads
// back the same.
func FuzzParseRecipe(f *testing.F) {
	for _, text := range []string{
		"scheme: int4/g32\n", "scheme: keep\nmethod: gptq\nwithout: [descent, search]\ncalibration:\n  sha256: [ab]\n  tokens: 5\n  context: 2\n",
		"scheme: int4/g32\nset:\n- tensors: blocks.*.down\n  scheme: int8/row/asym\n", "scheme: [a", "{}", "scheme: int4/g32\nvectors: int8/g32\n", "!0 0",
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		r, err := ParseRecipe(text)
		if err != nil {
			checkLine(t, err)
			return
		}
		full, err := r.YAML()
		if err != nil {
			checkLine(t, err)
			return
		}
		again, err := ParseRecipe([]byte(full))
		if err != nil {
			t.Fatalf("%q, written as %q: %v", text, full, err)
		}
		if same, err := again.YAML(); err != nil || same != full {
			t.Errorf("%q, written as %q, becomes %q, %v", text, full, same, err)
		}
	})
}

func FuzzParseRule(f *testing.F) {
	for _, text := range []string{"blocks.*.down=int8/g32", "=", "a==b", "", "[=x", "embed"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		rule, err := ParseRule(text)
		if err != nil {
			checkLine(t, err)
			return
		}
		if rule.Tensors == "" || rule.Tensors+"="+rule.Scheme != text {
			t.Errorf("%q became %+v", text, rule)
		}
	})
}

// checkLine wants err to be one line that no panic has left.
func checkLine(t *testing.T, err error) {
	t.Helper()
	if strings.ContainsAny(err.Error(), "\n\r") || strings.Contains(err.Error(), "runtime error") {
		t.Errorf("not a line: %q", err)
	}
}
