package tokenizer

import (
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// pieces returns the pieces of s after the steps.
func pieces(t interface {
	Helper()
	Fatal(...any)
}, s string, steps ...Step) (found []string) {
	t.Helper()
	stages, err := newStages(steps)
	if err != nil {
		t.Fatal(err)
	}
	var cut func(s string, stages []stage)
	cut = func(s string, stages []stage) {
		switch {
		case len(stages) == 0:
			found = append(found, s)
		case stages[0].split != nil:
			stages[0].split(s, func(p string) { cut(p, stages[1:]) })
		case stages[0].change != nil:
			cut(stages[0].change(s, false), stages[1:])
		default:
			for s != "" {
				n := stages[0].cut(s)
				cut(s[:n], stages[1:])
				s = s[n:]
			}
		}
	}
	cut(s, stages)
	return found
}

// The pieces are those of tokenizers 0.23.3.
func TestSplits(t *testing.T) {
	for _, c := range []struct {
		steps []Step
		text  string
		want  string
	}{
		{[]Step{`isolated:\d`}, "a12b", "a|1|2|b"},
		{[]Step{`removed:\d`}, "a12b", "a|b"},
		{[]Step{`not-removed:\d`}, "a12b", "1|2"},
		{[]Step{`contiguous:\d`}, "a12b3", "a|12|b|3"},
		{[]Step{`with-previous:\d`}, "a12b3", "a1|2|b3"},
		{[]Step{`with-next:\d`}, "1a23b4", "1a|2|3b|4"},
		{[]Step{`not-with-next:\d`}, "a1b23", "a1|b2|3"},
		{[]Step{"isolated punctuation"}, "a!?b_\u00bf", "a|!|?|b|_|\u00bf"},
		{[]Step{"contiguous punctuation"}, "a!?b", "a|!?|b"},
		{[]Step{"removed space"}, " a \t b\u3000c", "a|b|c"},
		{[]Step{"not-removed words"}, "it's 12!? \u00e9t", "it|'|s|12|!?|\u00e9t"},
		{[]Step{`isolated:(?=(\d{3})+(?!\d))`}, "1234567", "1|234|567"},
		{[]Step{StepGPT2, StepLetters, StepDigits}, "a \u00b2 12", "a| \xc2|\xb2| |12"}, // the letter of the byte b2 is a number,
	} {
		if got := strings.Join(pieces(t, c.text, c.steps...), "|"); got != c.want {
			t.Errorf("%q of %q: %q, want %q", c.steps, c.text, got, c.want)
		}
	}
	for _, step := range []Step{"isolated", "isolated words ", "spaced:a", "isolated:(", "not-digit", ""} {
		if _, err := newStages([]Step{step}); err == nil {
			t.Errorf("step %q has no error", step)
		}
	}
}

// The scanners cut as the patterns that they stand for.
func TestScannersAreTheirPatterns(t *testing.T) {
	for regex, step := range patterns {
		rapid.Check(t, func(t *rapid.T) {
			s := text.Draw(t, "text")
			if got, want := pieces(t, s, step), pieces(t, s, Step("isolated:"+regex)); !slices.Equal(got, want) {
				t.Fatalf("%s: %q: %q, its pattern gives %q", step, s, got, want)
			}
		})
	}
}

func TestRules(t *testing.T) {
	for _, c := range []struct {
		rule     Rule
		in, want string
	}{
		{Rule{Op: OpLower}, "AÉİẞ\u1c89Σ", "aéi\u0307ß\u1c8aσ"},
		{Rule{Op: OpAccents}, "e\u0301\u0903a", "ea"},
		{Rule{Op: OpClean}, "a\x00\u200bb\t\ue000\u3000\v\ufffdc", "ab  c"},
		{Rule{Op: OpIdeographs}, "a\u6771\u4eacb\uac00\U0002b820", "a \u6771  \u4eac b\uac00\U0002b820"},
		{Rule{Op: OpMarks}, "\u00e9\u0301\u0903\u20dda", "e\u0903\u20dda"},
		{Rule{Op: OpTrimStart}, " \u3000a ", "a "},
		{Rule{Op: OpTrimEnd}, " a \n", " a"},
		{Rule{Op: OpReplacePattern, Old: ` {2,}`, New: "_"}, "a   b c  ", "a_b c_"},
		{Rule{Op: OpReplacePattern, Old: `x`, New: ""}, "axxb", "ab"},
	} {
		f, err := newNormalizer([]Rule{c.rule})
		if err != nil {
			t.Fatal(err)
		}
		if got := f(c.in); got != c.want {
			t.Errorf("%s of %q: %q, want %q", c.rule.Op, c.in, got, c.want)
		}
	}
}
