package verify

import (
	"encoding/json"
	"fmt"
	"math"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"thimble/internal/model"
	"thimble/internal/qtensor"
	"thimble/verify/metric"
	"thimble/verify/reference"
	"thimble/verify/reference/referencetest"
)

func schemeOf(t *testing.T, text string) qtensor.Scheme {
	t.Helper()
	s, err := qtensor.ParseScheme(text)
	if err != nil {
		t.Fatal(err)
	}
	return s
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
		{"kl_maen<=0.05", `gate "kl_maen<=0.05": there is no metric "kl_maen" (did you mean "kl_mean"?)`},
		{"KLL<=0.05", `gate "KLL<=0.05": there is no metric "KLL" (did you mean "kl"?)`},
		{"top1>=90", `gate "top1>=90": top1_agreement is a share between 0 and 1; did you mean 0.9?`},
		{"top1>=1.5", `gate "top1>=1.5": top1_agreement is a share between 0 and 1`},
		{"top5>=101%", `gate "top5>=101%": top5_agreement is a share between 0 and 1`},
		{"kl<=-0.1", `gate "kl<=-0.1": kl_mean is 0 or more, so a limit of -0.1 decides nothing`},
		{"kl<=5%", `gate "kl<=5%": "5%" is not a number`},
		{"acc_change>=-2", `gate "acc_change>=-2": acc_change is between -1 and 1; did you mean -0.02?`},
		{"bananas<=1", `gate "bananas<=1": there is no metric "bananas", want one of tokens, kl_mean, kl_mean_se, kl_median, kl_p90, kl_p99, kl_p999, kl_hidden, top1_agreement, top5_agreement, max_abs, max_abs_rel, logit_std, cosine_min, ppl_reference, ppl, ppl_ratio, beyond_rounding, cache_diff, settings_differ, misplaced, acc, acc_norm, acc_bytes, exact_match, api_intent, api_structure, api_exact, acc_change, acc_norm_change, acc_bytes_change, exact_match_change, api_intent_change, api_structure_change, api_exact_change, prefix_mean, prefix_median, prefix_whole`},
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

// A gate can limit every metric of the report by its JSON name, and sees the same value
// as the JSON.
func TestMetricTable(t *testing.T) {
	var m Metrics
	n := 0.0
	for _, part := range []any{&m.Summary, &m.Excess, &m.Integrity, &m.Metrics} {
		fields := reflect.ValueOf(part).Elem()
		for i := range fields.NumField() {
			if n++; fields.Field(i).CanInt() {
				fields.Field(i).SetInt(int64(n))
			} else {
				fields.Field(i).SetFloat(n)
			}
		}
	}
	if n != 38 {
		t.Errorf("there are %v metrics", n)
	}
	text, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	fields := map[string]metric.Value{}
	if err := json.Unmarshal(text, &fields); err != nil {
		t.Fatal(err)
	}
	for _, k := range MetricTable {
		if v, ok := fields[k.Name]; !ok || v != k.Of(&m) {
			t.Errorf("%s is %v in the table, %v in JSON", k.Name, k.Of(&m), v)
		}
		delete(fields, k.Name)
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

// Larger models have tighter limits, and no gate of floats or of two bits depends on the
// size.
func TestSizedGates(t *testing.T) {
	for _, c := range []struct {
		scheme  string
		weights int64
		want    string
	}{
		{"int4/g32", 1e9 - 1, "[kl_mean<=1 top1_agreement>=0.5]"},
		{"int4/g32", 1e9, "[kl_mean<=0.5 top1_agreement>=0.646]"},
		{"int4/g32", 5e9, "[kl_mean<=0.25 top1_agreement>=0.75]"},
		{"int4/g32/asym", 7e9, "[kl_mean<=0.175 top1_agreement>=0.775]"},
		{"int8/row", 7e9, "[kl_mean<=0.005 top1_agreement>=0.95]"},
		{"int6/g64", 2e9, "[kl_mean<=0.05 top1_agreement>=0.859]"},
		{"int2/g32", 7e10, "[kl_mean<=1 top1_agreement>=0.5]"},
		{"bf16", 7e10, "[kl_mean<=0.005 top1_agreement>=0.95]"},
		{"f32", 7e10, "[kl_mean<=1e-05 top1_agreement>=0.99 max_abs_rel<=0.001]"},
	} {
		s := schemeOf(t, c.scheme)
		if got := fmt.Sprint(sized(SchemeGates(s), s, c.weights)); got != c.want {
			t.Errorf("%s, %d weights: %s, want %s", c.scheme, c.weights, got, c.want)
		}
	}
	// The values that llama.cpp publishes for 8 billion weights pass by a factor of at
	// least 2.4.
	for layout, kl := range map[*qtensor.Layout]float64{
		qtensor.Q4_0: 0.071940, qtensor.Q4_1: 0.071683, qtensor.Q5_0: 0.022239, qtensor.Q6_K: 0.005452, qtensor.Q8_0: 0.001355,
	} {
		s := layout.Foreign()
		if limit := sized(SchemeGates(s), s, 8e9)[0].Limit; !(limit > 2.4*kl && limit < 5*kl) || math.IsNaN(limit) {
			t.Errorf("%v: %v for %v", s, limit, kl)
		}
	}
}

func TestUndecided(t *testing.T) {
	for _, c := range []struct {
		op                      string
		value, low, high, limit float64
		undecided               bool
		tokens                  int64
	}{
		{"<=", 1, 0.8, 1.4, 1.5, false, 0},
		{"<=", 1, 0.8, 1.4, 1.4, false, 0},
		{"<=", 1, 0.8, 1.4, 1.1, true, 16000}, // 0.4 is four times 0.1
		{"<=", 1, 0.8, 1.4, 0.9, true, 4000},  // missed, and 0.2 twice 0.1
		{"<=", 1, 0.8, 1.4, 1, true, 0},
		{"<=", 1, 0.8, 1.4, 0.7, false, 0},
		{">=", 0.9, 0.85, 0.93, 0.86, true, 1600},
		{">=", 0.9, 0.85, 0.93, 0.85, false, 0},
		{">=", 0.9, 0.85, 0.93, 0.94, false, 0},
	} {
		check := Check{Gate: Gate{"kl_mean", c.op, c.limit}, Value: metric.Value(c.value)}
		check.weigh(&metric.Interval{Metric: "kl_mean", Low: metric.Value(c.low), High: metric.Value(c.high)}, 1000)
		if check.Undecided != c.undecided || c.tokens != 0 && math.Abs(float64(check.Tokens-c.tokens)) > 0.07*float64(c.tokens) || c.tokens == 0 && check.Tokens != 0 {
			t.Errorf("%+v: %+v", c, check)
		}
	}
	if got := roundUp(123456); got != 130000 {
		t.Errorf("rounded up to %d", got)
	}

	// A Run that meets its gates, one of them narrowly.
	ref, subject, prompts := referencetest.Noisy(3, 64, 40, 9, 33, 12, 7, 20)
	gates := []Gate{{"kl_mean", "<=", 0.034}, {"top1_agreement", ">=", 0.5}, {"kl_p99", "<=", 0.104}}
	for _, strict := range []bool{false, true} {
		r, err := Run(t.Context(), reference.FromScorer(ref), subject, prompts, Options{Gates: gates, Strict: strict})
		if err != nil {
			t.Fatal(err)
		}
		if r.Pass == strict || !r.Gates[0].Undecided || r.Gates[1].Undecided || r.Gates[2].Undecided {
			t.Errorf("strict %v, pass %v: %+v", strict, r.Pass, r.Gates)
		}
		text, err := json.Marshal(r.Gates)
		if err != nil || !strings.Contains(string(text), `"undecided":true,"tokens_needed":`) {
			t.Errorf("%v: %s", err, text)
		}
	}
}

// With a compact reference a gate is undecided if the limit lies inside the bounds, and
// fails if the bounds lie wholly outside the limit.
func TestUndecidedByReference(t *testing.T) {
	b := metric.Bound{Metric: "kl_mean", Low: 0.2, High: 3}
	r := Report{Metrics: unmeasured(), Bounds: []metric.Bound{b, {Metric: "max_abs", Low: 2, High: metric.Unknown}, {Metric: "max_abs_rel", Low: metric.Unknown, High: metric.Unknown}}}
	r.Metrics.KLMean, r.Metrics.MaxAbs, r.Metrics.MaxAbsRel, r.Metrics.Top1Agreement = b.Low, 2, 1, 0.9
	for _, c := range []struct {
		gate         Gate
		loose, tight string
	}{
		{Gate{"kl_mean", "<=", 1}, Undecided, Missed},
		{Gate{"kl_mean", "<=", 0.1}, Missed, Missed},
		{Gate{"kl_mean", "<=", 3}, Passed, Passed},
		{Gate{"kl_mean", ">=", 1}, Missed, Missed},
		{Gate{"kl_mean", ">=", 0.2}, Passed, Passed},
		{Gate{"max_abs", "<=", 5}, Undecided, Missed},
		{Gate{"max_abs", "<=", 1}, Missed, Missed},
		{Gate{"max_abs_rel", "<=", 5}, Undecided, Missed},
		{Gate{"top1_agreement", ">=", 0.9}, Passed, Passed},
	} {
		for _, strict := range []bool{false, true} {
			want := map[bool]string{false: c.loose, true: c.tight}[strict]
			if err := r.Judge([]Gate{c.gate}, strict); err != nil {
				t.Fatal(err)
			}
			got := r.Gates[0]
			if got.Outcome != want || r.Outcome() != want || r.Pass != (want != Missed) || got.ByReference != got.Undecided {
				t.Errorf("%v, strict %v: %+v, the report %s", c.gate, strict, got, r.Outcome())
			}
		}
	}
}

// The default gates of every scheme reject a model whose logits belong to a neighbouring
// position or to the next token id, and accept one that was rounded a little.
func TestGatesSeparateRoundingFromDamage(t *testing.T) {
	if testing.Short() {
		t.Skip("runs many broken or long models")
	}
	paths, err := filepath.Glob("../fixtures/*/reference.safetensors")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range paths {
		ref := referencetest.Open(t, path)
		stored, vocab := referencetest.Stored(t, path), ref.Form().Vocab
		tokens, shifted, rolled := referencetest.Rows{Width: vocab}, referencetest.Rows{Width: vocab}, referencetest.Rows{Width: vocab}
		var prompts []reference.Prompt
		for _, p := range ref.Prompts() {
			if len(p.IDs) < 2 {
				continue
			}
			l, err := stored.Score(t.Context(), p.IDs)
			if err != nil {
				t.Fatal(err)
			}
			var kept, late, next [][]float32
			for at := range p.IDs {
				row := make([]float32, vocab)
				if err := l.Logits(t.Context(), row, at, 1); err != nil {
					t.Fatal(err)
				}
				kept = append(kept, row)
				next = append(next, append(row[1:len(row):len(row)], row[0]))
			}
			late = append(append(late, kept[len(kept)-1]), kept[:len(kept)-1]...)
			p.IDs = append([]int{len(prompts)}, p.IDs[1:]...) // by which Rows finds a prompt
			prompts = append(prompts, p)
			tokens.Logits = append(tokens.Logits, kept)
			shifted.Logits = append(shifted.Logits, late)
			rolled.Logits = append(rolled.Logits, next)
		}
		for _, text := range []string{"f32", "f16", "bf16", "int8/g32", "int6/g32", "int4/g32", "int4/g32/asym", "int2/row"} {
			gates := SchemeGates(schemeOf(t, text))
			for _, c := range []struct {
				name    string
				subject *referencetest.Rows
				pass    bool
			}{{"itself", &tokens, true}, {"one position late", &shifted, false}, {"one token off", &rolled, false}} {
				r, err := Run(t.Context(), reference.FromScorer(&tokens), c.subject, prompts, Options{Gates: gates})
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
					t.Errorf("%s, gates of %s: %s\n%+v", path, text, c.name, r.Gates)
				}
			}
		}
	}
}

// A gate that ParseGate accepts reads back as itself.
func FuzzParseGate(f *testing.F) {
	for _, text := range []string{"kl<=0.05", " top1_agreement >= .9", "ppl<=1e3", "acc_change>=-0.02", "kl<=0x1p-3", "kl<=>=1"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		g, err := ParseGate(text)
		if err != nil {
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("not one line: %q", err)
			}
			return
		}
		if again, err := ParseGate(g.String()); err != nil || again != g {
			t.Errorf("%v reads back as %v, %v", g, again, err)
		}
	})
}
