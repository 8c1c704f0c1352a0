package verify

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"thimble/internal/model"
	"thimble/internal/qtensor"
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
	info := ModelInfo{Path: "smol-int4.thimble", SHA256: strings.Repeat("ab", 32), Bytes: 91_700_000, BitsPerWeight: 4.5}
	ref, subject, prompts := noisy(3, 64, 40, 9, 33, 12, 7, 20)
	many := Options{Gates: SchemeGates(schemeOf(t, "int4/g32")), Model: info, Against: "ref.safetensors"}
	many.Text = func(ids []int) string {
		var b strings.Builder
		for _, id := range ids {
			fmt.Fprintf(&b, " w%d\n", id)
		}
		return b.String()
	}
	strict := many
	strict.Text, strict.Strict = nil, true
	strict.Gates = append(gatePair(0.01, 0.5), Gate{"kl_mean", "<=", 0.034}, Gate{"max_abs", "<=", 0.01})
	var err error
	if strict.Arithmetic, err = ParseArithmetic("int8/g32", "k8v4"); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name    string
		ref     Subject
		prompts []Prompt
		o       Options
	}{
		{"pass", ref, prompts, many},
		{"fail", ref, prompts[:2], strict},
		{"text", nil, prompts[:1], Options{Model: ModelInfo{Path: "smol.thimble"}}},
		{"compact", open(t, "testdata/compact.safetensors"), nil, Options{Gates: gatePair(0.5, 0.5), Model: info, Against: "compact.safetensors"}},
	} {
		model := Subject(subject)
		if file, ok := c.ref.(*Reference); ok {
			c.prompts = file.Prompts()
			model = perturbed{open(t, "../fixtures/mobilellm-ls/reference.safetensors")}
		}
		r, err := Run(t.Context(), c.ref, model, c.prompts, c.o)
		if err != nil {
			t.Fatal(err)
		}
		checkGolden(t, c.name+".txt", r.String())
		var text bytes.Buffer
		e := json.NewEncoder(&text)
		e.SetEscapeHTML(false)
		e.SetIndent("", "  ")
		if err := e.Encode(r); err != nil {
			t.Fatal(err)
		}
		checkGolden(t, c.name+".json", text.String())
		checkGolden(t, c.name+".md", r.Markdown())
		junit, err := r.JUnit()
		if err != nil {
			t.Fatal(err)
		}
		checkGolden(t, c.name+".xml", string(junit))
		if c.name != "fail" {
			continue
		}
		page, err := r.HTML()
		if err != nil {
			t.Fatal(err)
		}
		checkGolden(t, c.name+".html", string(page))
	}
}

func TestParseGate(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"kl_mean<=0.05", "kl_mean<=0.05"},
		{" top1_agreement >= 0.9 ", "top1_agreement>=0.9"},
		{"ppl<=1e3", "ppl<=1000"},
	} {
		if g, err := ParseGate(c.text); err != nil || g.String() != c.want {
			t.Errorf("%q gives %v, %v", c.text, g, err)
		}
	}
	for _, c := range []struct{ text, want string }{
		{"kl_mean", `gate "kl_mean": want METRIC<=LIMIT or METRIC>=LIMIT, such as kl_mean<=0.05`},
		{"kl_mean<0.05", `gate "kl_mean<0.05": want METRIC<=LIMIT or METRIC>=LIMIT, such as kl_mean<=0.05`},
		{"kl_maen<=0.05", `gate "kl_maen<=0.05": there is no metric "kl_maen", did you mean "kl_mean"?`},
		{"bananas<=1", `gate "bananas<=1": there is no metric "bananas", want one of tokens, kl_mean, kl_mean_se, kl_median, kl_p90, kl_p99, kl_p999, kl_hidden, top1_agreement, top5_agreement, max_abs, max_abs_rel, logit_std, cosine_min, ppl_reference, ppl, ppl_ratio, beyond_rounding, acc, acc_norm, acc_bytes, exact_match, api_intent, api_structure, api_exact, acc_change, acc_norm_change, acc_bytes_change, exact_match_change, api_intent_change, api_structure_change, api_exact_change, prefix_mean, prefix_median, prefix_whole`},
		{"ppl<=", `gate "ppl<=": "" is not a number`},
		{"ppl<=nan", `gate "ppl<=nan": "nan" is not a number`},
		{"ppl<=95%", `gate "ppl<=95%": "95%" is not a number`},
	} {
		if _, err := ParseGate(c.text); err == nil || err.Error() != c.want {
			t.Errorf("got  %v\nwant %s", err, c.want)
		}
	}
	if err := checkGates([]Gate{{"ppl", "<", 1}}, true); err == nil {
		t.Error("comparison < was taken")
	}
}

// Every metric of the report can be gated under its JSON name, and holds what
// the JSON says.
func TestMetricTable(t *testing.T) {
	m := Metrics{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, BehaviourMetrics{19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32, 33, 34, 35}}
	text, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	fields := map[string]Value{}
	if err := json.Unmarshal(text, &fields); err != nil {
		t.Fatal(err)
	}
	for _, k := range everyMetric {
		if v, ok := fields[k.name]; !ok || v != k.of(&m) {
			t.Errorf("%s is %v in the table, %v in JSON", k.name, k.of(&m), v)
		}
		delete(fields, k.name)
	}
	if len(fields) > 0 {
		t.Errorf("not in the table: %v", fields)
	}
}

func TestSchemeGates(t *testing.T) {
	for _, c := range []struct{ scheme, want string }{
		{"f32", "[kl_mean<=1e-05 top1_agreement>=0.99 max_abs_rel<=0.001]"},
		{"f16", "[kl_mean<=0.0001 top1_agreement>=0.98]"},
		{"bf16", "[kl_mean<=0.005 top1_agreement>=0.95]"},
		{"int8/g32", "[kl_mean<=0.02 top1_agreement>=0.9]"},
		{"int8/row/asym", "[kl_mean<=0.02 top1_agreement>=0.9]"},
		{"int6/g64", "[kl_mean<=0.1 top1_agreement>=0.8]"},
		{"int4/g32", "[kl_mean<=1 top1_agreement>=0.5]"},
		{"int4/g32/asym", "[kl_mean<=0.7 top1_agreement>=0.55]"},
		{"int2/g32/asym", "[kl_mean<=1 top1_agreement>=0.5]"},
	} {
		if got := fmt.Sprint(SchemeGates(schemeOf(t, c.scheme))); got != c.want {
			t.Errorf("%s: %s, want %s", c.scheme, got, c.want)
		}
	}
	// Fewer bits never get tighter limits.
	for bits := 2; bits < 8; bits++ {
		a, b := SchemeGates(qtensor.Scheme{Kind: qtensor.Int, Bits: bits}), SchemeGates(qtensor.Scheme{Kind: qtensor.Int, Bits: bits + 1})
		if a[0].Limit < b[0].Limit || a[1].Limit > b[1].Limit {
			t.Errorf("%d bits: %v, %d bits: %v", bits, a, bits+1, b)
		}
	}
}

func TestDefaultGates(t *testing.T) {
	m := &model.Model{Spec: model.Spec{
		Hidden: 32, Heads: 2, KVHeads: 1, HeadDim: 16, FFN: 64, Vocab: 8, Context: 4, Blocks: 1, Schedule: []int{0},
		Rope: model.Rope{Base: 1e4}, BOS: -1, Bias: model.Bias{QKV: true},
	}, Tensors: map[string]*qtensor.Matrix{}}
	set := func(scheme string, names ...string) {
		for _, s := range m.Spec.Slots() {
			for _, n := range names {
				if ok, err := model.Match(n, s.Name); err != nil {
					t.Fatal(err)
				} else if ok {
					m.Tensors[s.Name] = &qtensor.Matrix{Scheme: schemeOf(t, scheme), Rows: s.Rows, Cols: s.Cols}
				}
			}
		}
	}
	check := func(scheme string) {
		t.Helper()
		if d := cmp.Diff(SchemeGates(schemeOf(t, scheme)), DefaultGates(m)); d != "" {
			t.Errorf("want the gates of %s:\n%s", scheme, d)
		}
	}
	set("f32", "*", "*.*.*", "*.*.*.*")
	check("f32")
	set("bf16", "*.*.*norm", "*.*.*.bias", "norm")
	check("f32") // vectors do not decide
	set("int8/g32", "embed")
	check("int8/g32")
	set("int4/g32/asym", "blocks.0.down")
	check("int4/g32/asym")
	set("int4/g32", "head")
	check("int4/g32")
}

func TestQuantile(t *testing.T) {
	x := []float64{1, 2, 4, 8}
	for _, c := range []struct{ q, want float64 }{{0, 1}, {1, 8}, {0.5, 3}, {0.99, 8 - 0.03*4}, {1. / 3, 2}} {
		if got := quantile(x, c.q); math.Abs(got-c.want) > 1e-12 {
			t.Errorf("quantile %v = %v, want %v", c.q, got, c.want)
		}
	}
	if got := quantile([]float64{5}, 0.99); got != 5 {
		t.Errorf("quantile of one = %v", got)
	}
}

func TestMoments(t *testing.T) {
	var m moments
	for _, x := range [][]float32{{1, 2}, {3}, {4, 5, 6}} {
		m.add(momentsOf(x))
	}
	if d := m.deviation(); math.Abs(d-math.Sqrt(35./12)) > 1e-15 {
		t.Errorf("deviation of 1 to 6 is %v", d)
	}
}

// The default gates of every scheme stop a model whose logits are those of a
// neighbouring position, or belong to the next token id, and let one pass that
// was rounded a little.
func TestGatesPartRoundingFromDamage(t *testing.T) {
	paths, err := filepath.Glob("../fixtures/*/reference.safetensors")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range paths {
		ref := open(t, path)
		var tokens, shifted, rolled rows
		tokens.vocab, shifted.vocab, rolled.vocab = ref.Vocab(), ref.Vocab(), ref.Vocab()
		var prompts []Prompt
		for _, p := range ref.Prompts() {
			if len(p.IDs) < 2 {
				continue
			}
			l, err := ref.Score(t.Context(), p.IDs)
			if err != nil {
				t.Fatal(err)
			}
			var kept, late, next [][]float32
			for at := range p.IDs {
				row := make([]float32, ref.Vocab())
				if err := l.Rows(t.Context(), row, at, 1); err != nil {
					t.Fatal(err)
				}
				kept = append(kept, row)
				next = append(next, append(row[1:len(row):len(row)], row[0]))
			}
			late = append(append(late, kept[len(kept)-1]), kept[:len(kept)-1]...)
			p.IDs = append([]int{len(prompts)}, p.IDs[1:]...) // how rows finds its prompt
			prompts = append(prompts, p)
			tokens.logits = append(tokens.logits, kept)
			shifted.logits = append(shifted.logits, late)
			rolled.logits = append(rolled.logits, next)
		}
		for _, text := range []string{"f32", "f16", "bf16", "int8/g32", "int6/g32", "int4/g32", "int4/g32/asym", "int2/row"} {
			gates := SchemeGates(schemeOf(t, text))
			for _, c := range []struct {
				name    string
				subject *rows
				pass    bool
			}{{"itself", &tokens, true}, {"one position late", &shifted, false}, {"one token off", &rolled, false}} {
				r, err := Run(t.Context(), &tokens, c.subject, prompts, Options{Gates: gates})
				if err != nil {
					t.Fatal(err)
				}
				missed := 0
				for _, g := range r.Gates {
					if !g.Pass {
						missed++
					}
				}
				if r.Pass != c.pass || !c.pass && missed < 2 {
					t.Errorf("%s, gates of %s: %s\n%v", path, text, c.name, r)
				}
			}
		}
	}
}
