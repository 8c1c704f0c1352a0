package render

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"math"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"thimble/internal/qtensor"
	"thimble/verify"
	"thimble/verify/metric"
	"thimble/verify/reference"
	"thimble/verify/reference/referencetest"
	"thimble/verify/tasks"
)

var update = flag.Bool("update", false, "rewrite the reports in testdata")

// checkGolden compares text with testdata/NAME.
func checkGolden(t *testing.T, name, text string) {
	t.Helper()
	if *update {
		if err := os.WriteFile("testdata/"+name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), text); d != "" {
		t.Errorf("%s differs (-want +got):\n%s\ngot:\n%s", name, d, text)
	}
	if !strings.HasSuffix(name, ".txt") {
		return
	}
	for line := range strings.Lines(text) {
		if n := len([]rune(strings.TrimRight(line, "\n"))); n > 80 {
			t.Errorf("%s: a line is %d columns wide: %s", name, n, line)
		}
	}
}

func TestReportGolden(t *testing.T) {
	info := verify.ModelInfo{Path: "smol-int4.thimble", SHA256: strings.Repeat("ab", 32), Bytes: 91_700_000, BitsPerWeight: 4.5}
	ref, model, prompts := referencetest.Noisy(3, 64, 40, 9, 33, 12, 7, 20)
	many := verify.Options{Gates: schemeGates(t, "int4/g32"), Model: info, Against: "ref.safetensors"}
	many.Text = func(ids []int) string {
		var b strings.Builder
		for _, id := range ids {
			fmt.Fprintf(&b, " w%d\n", id)
		}
		return b.String()
	}
	strict := many
	strict.Text, strict.Strict = nil, true
	strict.Gates = gatesOf(t, "kl_mean<=0.01", "top1_agreement>=0.5", "kl_mean<=0.034", "max_abs<=0.01")
	var err error
	if strict.Arithmetic, err = verify.ParseArithmetic("int8/g32", "k8v4"); err != nil {
		t.Fatal(err)
	}
	compact := referencetest.Open(t, "../reference/testdata/compact.safetensors")
	perturbed := referencetest.Perturbed(t, "../../fixtures/mobilellm-ls/reference.safetensors")
	for _, c := range []struct {
		name    string
		ref     reference.Reference
		scorer  reference.Scorer
		prompts []reference.Prompt
		o       verify.Options
	}{
		{"pass", reference.FromScorer(ref), model, prompts, many},
		{"fail", reference.FromScorer(ref), model, prompts[:2], strict},
		{"text", nil, model, prompts[:1], verify.Options{Model: verify.ModelInfo{Path: "smol.thimble"}}},
		{"compact", compact, perturbed, compact.Prompts(), verify.Options{Gates: gatesOf(t, "kl_mean<=0.5", "top1_agreement>=0.5"), Model: info, Against: "compact.safetensors"}},
	} {
		r, err := verify.Run(t.Context(), c.ref, c.scorer, c.prompts, c.o)
		if err != nil {
			t.Fatal(err)
		}
		checkGolden(t, c.name+".txt", Text(r))
		var text bytes.Buffer
		e := json.NewEncoder(&text)
		e.SetEscapeHTML(false)
		e.SetIndent("", "  ")
		if err := e.Encode(r); err != nil {
			t.Fatal(err)
		}
		checkGolden(t, c.name+".json", text.String())
		checkGolden(t, c.name+".md", Markdown(r))
		junit, err := JUnit(r)
		if err != nil {
			t.Fatal(err)
		}
		checkGolden(t, c.name+".xml", string(junit))
		if c.name != "fail" {
			continue
		}
		page, err := HTML(r)
		if err != nil {
			t.Fatal(err)
		}
		checkGolden(t, c.name+".html", string(page))
	}
}

func gatesOf(t *testing.T, texts ...string) (gates []verify.Gate) {
	t.Helper()
	for _, text := range texts {
		g, err := verify.ParseGate(text)
		if err != nil {
			t.Fatal(err)
		}
		gates = append(gates, g)
	}
	return gates
}

func schemeGates(t *testing.T, scheme string) []verify.Gate {
	t.Helper()
	s, err := qtensor.ParseScheme(scheme)
	if err != nil {
		t.Fatal(err)
	}
	return verify.SchemeGates(s)
}

// The verdict says which gates are undecided, and what would decide them.
func TestUndecided(t *testing.T) {
	ref, subject, prompts := referencetest.Noisy(3, 64, 40, 9, 33, 12, 7, 20)
	gates := gatesOf(t, "kl_mean<=0.034", "top1_agreement>=0.5", "kl_p99<=0.104")
	for _, c := range []struct {
		strict bool
		first  string
	}{
		{false, "UNDECIDED  kl_mean 0.03082, top1_agreement 0.8595, kl_p99 0.1038"},
		{true, "FAIL  (strict) kl_mean 0.03082 meets <= 0.034, but may be 0.02"},
	} {
		r, err := verify.Run(t.Context(), reference.FromScorer(ref), subject, prompts, verify.Options{Gates: gates, Strict: c.strict})
		if err != nil {
			t.Fatal(err)
		}
		lines := strings.Split(Text(r), "\n")
		more := map[bool]string{false: "           use more tokens, about ", true: "      use more tokens, about "}[c.strict]
		at := map[bool]int{false: 2, true: 1}[c.strict]
		if r.Pass == c.strict || !strings.HasPrefix(lines[0], c.first) || !strings.HasPrefix(lines[at], more) || strings.Contains(Text(r), "--strict out") != c.strict {
			t.Errorf("strict %v, pass %v: %s", c.strict, r.Pass, Text(r))
		}
	}
}

// A remedy is possible: a file of logits holds what it holds, and no number is given
// that is far beyond the present sample.
func TestRemedy(t *testing.T) {
	ref, subject, prompts := referencetest.Noisy(3, 64, 40, 9, 33, 12, 7, 20)
	r, err := verify.Run(t.Context(), reference.FromScorer(ref), subject, prompts, verify.Options{Gates: gatesOf(t, "kl_mean<=0.034"), Strict: true, AgainstFile: true})
	if err != nil {
		t.Fatal(err)
	}
	c := &r.Gates[0]
	c.Tokens = 100 * 121
	if got, want := remedy(r, c), "make a reference of about 12100 tokens instead of 121, or loosen the gate, or leave --strict out"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	c.Tokens++
	if got, want := remedy(r, c), "the limit is too close to the value: loosen the gate, or leave --strict out"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// The report of different models says so first, and then what fails.
func TestUnrelated(t *testing.T) {
	r := held(2, always(1))
	r.Diagnosis, r.Metrics.KLMean = "model and reference look like different models: layers is 4, the reference has 2", 9
	if err := r.Judge(gatesOf(t, "kl_mean<=1"), false); err != nil {
		t.Fatal(err)
	}
	if text := Text(r); !strings.HasPrefix(text, "FAIL  model and reference look like different models: layers is 4, the reference\n      has 2\nFAIL  kl_mean 9, the gate is <= 1\n  model ") {
		t.Error(text)
	}
}

// held is a report of n prompts whose divergence is level times the usual one.
func held(n int, level func(prompt int) float64) *verify.Report {
	r := &verify.Report{Schema: verify.Schema, Gates: []verify.Check{}, Pass: true, PromptsSHA256: "p", AgainstSHA256: "a", Model: verify.ModelInfo{Path: "m", SHA256: "s", Bytes: 1000, BitsPerWeight: 4.5}}
	r.Arithmetic = verify.Describe(verify.Arithmetic{})
	var kl, top1, nll float64
	for i := range n {
		k, a, l := 0.01*float64(1+i%7)*level(i), 1-0.02*float64(i%5)*level(i), 2+float64(i%3)
		r.Prompts = append(r.Prompts, verify.PromptReport{Tokens: 10, KLMean: metric.Value(k), Top1Agreement: metric.Value(a), PPL: metric.Value(math.Exp(l))})
		kl, top1, nll = kl+k, top1+a, nll+l
	}
	c := float64(n)
	r.Metrics.Summary, r.Metrics.BeyondRounding, r.Metrics.Metrics = metric.Summarize(nil), metric.Unknown, tasks.Unmeasured()
	r.Metrics.Tokens, r.Metrics.KLMean, r.Metrics.Top1Agreement, r.Metrics.PPL = 10*n, metric.Value(kl/c), metric.Value(top1/c), metric.Value(math.Exp(nll/c))
	return r
}

func always(x float64) func(int) float64 { return func(int) float64 { return x } }

// Every form of a report says what has changed.
func TestBaselineOutputs(t *testing.T) {
	before, now := held(16, always(1)), held(16, always(1.5))
	if err := now.Judge(gatesOf(t, "kl_mean<=1"), false); err != nil {
		t.Fatal(err)
	}
	now.Model.Bytes = 900
	if err := now.CompareBaseline(before, "b.json", nil, 0); err != nil {
		t.Fatal(err)
	}
	checkGolden(t, "baseline.txt", Text(now))
	now.Expected = &verify.Expectation{KLMean: 0.1, Tells: 0.02}
	if strings.Contains(Text(now), "rounding explains") {
		t.Errorf("no gate failed, yet the verdict has what gates tell: %s", Text(now))
	}
	now.Expected = nil
	checkGolden(t, "baseline.md", Markdown(now))
	if text := Annotations(now); strings.Count(text, "::error title=m%3A ") != 2 || !strings.Contains(text, "kl_mean worse than the baseline::kl_mean 0.0") {
		t.Errorf("annotations: %s", text)
	}
	junit, err := JUnit(now)
	if err != nil || !bytes.Contains(junit, []byte(`tests="6" failures="2"`)) || !bytes.Contains(junit, []byte(`classname="thimble.baseline" name="bytes"`)) {
		t.Errorf("%v: %s", err, junit)
	}
	page, err := HTML(now)
	if err != nil || !bytes.Contains(page, []byte(`<h2 id="baseline">`)) || bytes.Count(page, []byte(`<span class="badge FAIL">worse</span>`)) != 2 {
		t.Errorf("%v: %s", err, page)
	}
	if now.Pass || now.Outcome() != verify.Missed {
		t.Error("it is not said to be worse")
	}
}
