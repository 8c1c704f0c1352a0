package verify

import (
	"fmt"
	"strings"
	"testing"

	"thimble/internal/qtensor"
)

func TestPolicy(t *testing.T) {
	p, err := ParsePolicy([]byte(`
strict: true
gates:
  - kl<=0.05
  - top1>=0.9 # short names, as on the command line
rules:
  - scheme: int8
    gates: [kl_mean<=0.003]
  - scheme: int?/*/asym
    weights_below: 1e9
    gates: [kl_mean<=0.2, ppl_ratio<=1.1]
  - weights_from: 5e9
    gates: [kl_mean<=0.04]
tolerance: {kl_mean: 0.02, bytes: 0}
`))
	if err != nil {
		t.Fatal(err)
	}
	if !p.Strict || fmt.Sprint(p.Gates) != "[kl_mean<=0.05 top1_agreement>=0.9]" || len(p.Rules) != 3 {
		t.Errorf("%+v", p)
	}
	if p.Tolerance["kl_mean"] != 0.02 || p.Tolerance["bytes"] != 0 || p.Tolerance["ppl"] != 0.001 {
		t.Errorf("tolerance %v", p.Tolerance)
	}
	foreign := qtensor.Q4_K.Foreign()
	for _, c := range []struct {
		rule    int
		scheme  qtensor.Scheme
		weights int64
		want    bool
	}{
		{0, schemeOf(t, "int8/g32"), 1, true}, {0, schemeOf(t, "int8/row/asym"), 1, true}, {0, schemeOf(t, "int4/g32"), 1, false},
		{1, schemeOf(t, "int4/g32/asym"), 1e9 - 1, true}, {1, schemeOf(t, "int4/g32/asym"), 1e9, false},
		{1, schemeOf(t, "int4/g32"), 1, false}, {1, schemeOf(t, "f32"), 1, false}, {1, foreign, 1, false},
		{2, foreign, 5e9, true}, {2, foreign, 5e9 - 1, false},
	} {
		if got := p.Rules[c.rule].fits(c.scheme, c.weights); got != c.want {
			t.Errorf("rule %d, %v, %d weights: %v", c.rule, c.scheme, c.weights, got)
		}
	}
	if r := (Rule{Scheme: "Q4_K"}); !r.fits(foreign, 1) || r.check() != nil {
		t.Error("no rule can be for Q4_K")
	}
}

// knownSchemes lists exactly the first fields of the schemes that exist.
func TestKnownSchemes(t *testing.T) {
	for _, name := range knownSchemes {
		if !strings.HasPrefix(name, "Q") {
			if strings.HasPrefix(name, "int") {
				name += "/g32"
			}
			schemeOf(t, name)
		}
	}
	for _, l := range []*qtensor.Layout{qtensor.Q4_0, qtensor.Q4_1, qtensor.Q5_0, qtensor.Q5_1, qtensor.Q8_0, qtensor.Q4_K, qtensor.Q5_K, qtensor.Q6_K} {
		r := Rule{Scheme: l.Name}
		if err := r.check(); err != nil {
			t.Error(err)
		}
	}
}

func TestPolicySentences(t *testing.T) {
	for text, want := range map[string]string{
		"":                                       "is empty",
		"gates":                                  "[1:1]",
		"gates: [":                               "[1:",
		"gates: {a: b}":                          "[1:",
		"gats: [kl<=1]":                          `line 1: unknown field "gats" (did you mean "gates"?)`,
		"strict: true\ngaits: [kl<=1]":           `line 2: unknown field "gaits", want one of gates, rules, `,
		"quality: [kl<=1]":                       `line 1: unknown field "quality", want one of gates, rules, strict, `,
		"gates: []\ngates: []":                   `"gates" already defined`,
		"gates: [kl<1]":                          `gates[0]: gate "kl<1": want METRIC<=LIMIT`,
		"gates: [kl<=1, klmean<=1]":              `gates[1]: gate "klmean<=1": there is no metric "klmean" (did you mean "kl_mean"?)`,
		"gates: [kl<=.nan]":                      `".nan" is not a number`,
		"gates: [kl<=NaN]":                       `"NaN" is not a number`,
		"strict: often":                          "[1:",
		"rules: [{gates: [kl<=1]}]":              "rules[0]: needs a scheme, weights_from or weights_below",
		"rules: [{scheme: int4}]":                "rules[0] has no gates",
		"rules: [{scheme: in4, gates: [kl<=1]}]": `rules[0]: scheme "in4": no scheme begins with it (did you mean "int4"?)`,
		"rules: [{scheme: 'int4/[', gates: [kl<=1]}]":                      `rules[0]: scheme "int4/[": syntax error in pattern`,
		"rules: [{weights_from: 2e9, weights_below: 1e9, gates: [kl<=1]}]": "rules[0]: no model has from 2e+09 and below 1e+09 weights",
		"rules: [{weights_from: .nan, gates: [kl<=1]}]":                    "rules[0]: NaN is not a number of weights",
		"rules: [{weights_from: -1, gates: [kl<=1]}]":                      "rules[0]: -1 is not a number of weights",
		"rules: [{scheme: f32, weight_from: 1, gates: [kl<=1]}]":           `did you mean "weights_from"?`,
		"tolerance: {klmean: 1}":                                           `tolerance: there is no figure "klmean", want one of kl_mean, `,
		"tolerance: {kl_mean: -0.1}":                                       "tolerance: kl_mean: a tolerance of -0.1, want 0 or more",
		"tolerance: {kl_mean: .nan}":                                       "tolerance: kl_mean: a tolerance of NaN, want 0 or more",
		"tolerance: {memory: .inf}":                                        "tolerance: memory: a tolerance of +Inf, want 0 or more",
		"--- {}\n---\n{}":                                                  "has more than one document",
		strings.Repeat("- ", 1000):                                         "is nested deeper than 64",
	} {
		if _, err := ParsePolicy([]byte(text)); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

func FuzzParsePolicy(f *testing.F) {
	f.Add([]byte("gates: [kl<=1]\nrules: [{scheme: int4, gates: [kl<=1]}]\ntolerance: {ppl: 0}\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		p, err := ParsePolicy(text)
		if err != nil {
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("not one line: %q", err)
			}
			return
		}
		for _, r := range p.Rules {
			r.fits(schemeOf(t, "int4/g32"), 1e8)
		}
	})
}
