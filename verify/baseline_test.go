package verify

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"testing"

	"thimble/internal/model"
	"thimble/verify/metric"
)

// held returns a report of n prompts whose divergence is level times the usual one.
func held(n int, level func(prompt int) float64) *Report {
	r := &Report{Schema: Schema, Gates: []Check{}, Pass: true, PromptsSHA256: "p", AgainstSHA256: "a", Model: ModelInfo{Path: "m", SHA256: "s", Bytes: 1000, BitsPerWeight: 4.5}}
	r.Arithmetic = Describe(Arithmetic{})
	var kl, top1, nll float64
	for i := range n {
		k, a, l := 0.01*float64(1+i%7)*level(i), 1-0.02*float64(i%5)*level(i), 2+float64(i%3)
		r.Prompts = append(r.Prompts, PromptReport{Tokens: 10, KLMean: metric.Value(k), Top1Agreement: metric.Value(a), PPL: metric.Value(math.Exp(l))})
		kl, top1, nll = kl+k, top1+a, nll+l
	}
	c := float64(n)
	r.Metrics = unmeasured()
	r.Metrics.Tokens, r.Metrics.KLMean, r.Metrics.Top1Agreement, r.Metrics.PPL = 10*n, metric.Value(kl/c), metric.Value(top1/c), metric.Value(math.Exp(nll/c))
	return r
}

func always(x float64) func(int) float64 { return func(int) float64 { return x } }

// outcomes compares two reports and lists the outcome of each figure.
func outcomes(t *testing.T, before, now *Report, tolerance Tolerance) string {
	t.Helper()
	if err := now.CompareBaseline(before, "b.json", tolerance, 0); err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, f := range now.Baseline.Figures {
		all = append(all, f.Name+" "+f.Outcome)
	}
	return strings.Join(all, ", ")
}

func TestCompareBaseline(t *testing.T) {
	const all = "kl_mean same, top1_agreement same, ppl same, bytes same, bits_per_weight same"
	sized := func(r *Report, bytes int64, bits float64) *Report {
		r.Model.Bytes, r.Model.BitsPerWeight = bytes, bits
		return r
	}
	for _, c := range []struct {
		name        string
		before, now *Report
		tolerance   Tolerance
		want        string
		pass        bool
	}{
		{"the same", held(16, always(1)), held(16, always(1)), nil, all, true},
		{"half a percent more is tolerated", held(16, always(1)), held(16, always(1.005)), nil, all, true},
		{"but not by a policy", held(16, always(1)), held(16, always(1.005)), Tolerance{"kl_mean": 0},
			"kl_mean worse, top1_agreement same, ppl same, bytes same, bits_per_weight same", false},
		{"worse in each prompt", held(16, always(1)), held(16, always(1.05)), nil,
			"kl_mean worse, top1_agreement worse, ppl same, bytes same, bits_per_weight same", false},
		{"better in each", held(16, always(1)), held(16, always(0.9)), nil,
			"kl_mean better, top1_agreement better, ppl same, bytes same, bits_per_weight same", true},
		{"much worse in one prompt, better in others", held(16, always(1)), held(16, func(i int) float64 {
			if i == 12 { // of those with the largest
				return 3
			}
			return 0.95
		}), nil, "kl_mean noise, top1_agreement noise, ppl same, bytes same, bits_per_weight same", true},
		{"one prompt has no interval", held(1, always(1)), held(1, always(1.02)), nil,
			"kl_mean worse, top1_agreement same, ppl same, bytes same, bits_per_weight same", false},
		{"larger", held(4, always(1)), sized(held(4, always(1)), 1002, 4.51), nil,
			"kl_mean same, top1_agreement same, ppl same, bytes worse, bits_per_weight worse", false},
		{"larger by a thousandth", held(4, always(1)), sized(held(4, always(1)), 1001, 4.5044), nil, all, true},
		{"smaller", held(4, always(1)), sized(held(4, always(1)), 900, 4), nil,
			"kl_mean same, top1_agreement same, ppl same, bytes better, bits_per_weight better", true},
		{"no figure of nothing", held(4, always(1e-9)), held(4, always(3e-9)), nil, all, true},
	} {
		if got := outcomes(t, c.before, c.now, c.tolerance); got != c.want || c.now.Pass != c.pass {
			t.Errorf("%s: %s, pass %v, want %s", c.name, got, c.now.Pass, c.want)
		}
	}
}

// The interval of the difference equals one that the test computes in the slowest way,
// over all draws with the same prompts in both reports.
func TestPaired(t *testing.T) {
	before, now := held(5, always(1)), held(5, func(i int) float64 { return 1 + 0.1*float64(i) })
	low, high, ok := baselineMetrics[0].paired(before.Prompts, now.Prompts, 3)
	if !ok {
		t.Fatal("no interval")
	}
	var all []float64
	random := metric.SplitMix(3)
	for range 1000 {
		sum := 0.0
		for range 5 {
			i := random.Below(5)
			sum += float64(now.Prompts[i].KLMean - before.Prompts[i].KLMean)
		}
		all = append(all, sum/5)
	}
	below, above := 0, 0
	for _, d := range all {
		if d < float64(low)-1e-12 {
			below++
		}
		if d > float64(high)+1e-12 {
			above++
		}
	}
	const most = 1 // Resample leaves out 0.00095 of the draws at either end, for 5 prompts
	if below > most || above > most || !(low > 0 && high < 0.03) {
		t.Errorf("%v to %v: %d below, %d above, at most %d", low, high, below, above, most)
	}
}

func TestHoldSpeed(t *testing.T) {
	with := func(memory int64, decode ...float64) *Report {
		r := held(4, always(1))
		r.Speed = &Speed{Cores: 2, Prefill: []float64{100, 101, 102}, Decode: decode, Prompt: 512, Steps: 64, Memory: memory, Arithmetic: r.Arithmetic}
		return r
	}
	const same = "kl_mean same, top1_agreement same, ppl same, bytes same, bits_per_weight same, prefill same, "
	for _, c := range []struct {
		now  *Report
		want string
	}{
		{with(1000, 50, 51, 52), same + "decode same, memory same"},
		{with(1049, 46, 47, 48), same + "decode same, memory same"},   // 8 % slower
		{with(1051, 30, 40, 51), same + "decode noise, memory worse"}, // one run was as fast
		{with(900, 30, 31, 32), same + "decode worse, memory better"}, // none was
		{with(0, 100, 110, 120), same + "decode better"},              // memory is not known everywhere
		{held(4, always(1)), strings.TrimSuffix(same, ", prefill same, ")},
	} {
		if got := outcomes(t, with(1000, 50, 51, 52), c.now, nil); got != c.want {
			t.Errorf("%s, want %s", got, c.want)
		}
	}
	for want, change := range map[string]func(*Speed){
		"its speed.cores is 2, here it is 4":            func(s *Speed) { s.Cores = 4 },
		"its speed.prefill_tokens is 512, here it is 8": func(s *Speed) { s.Prompt = 8 },
		"its speed.arithmetic is float32, here it is":   func(s *Speed) { s.Arithmetic.Keys = "int8/g32" },
	} {
		now := with(1, 2)
		change(now.Speed)
		if err := now.CompareBaseline(with(1, 2), "b.json", nil, 0); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

func TestBaselineOfAnotherRun(t *testing.T) {
	for want, change := range map[string]func(*Report){
		"its against_sha256 is zzz, here it is a, another reference": func(r *Report) { r.AgainstSHA256 = "zzz" },
		"its against_sha256 is none, here it is a":                   func(r *Report) { r.AgainstSHA256 = "" },
		"its arithmetic is activations int8/row, here it is float32": func(r *Report) { r.Arithmetic.Activations = "int8/row" },
		"its metrics.tokens is 41, here it is 40, another text":      func(r *Report) { r.Metrics.Tokens = 41 },
		"its prompts_sha256 is q, here it is p, another text":        func(r *Report) { r.PromptsSHA256 = "q" },
		"its prompts[1].tokens is 9, here it is 10":                  func(r *Report) { r.Prompts[1].Tokens = 9 },
		"its tensors is a list of others, here it is":                func(r *Report) { r.Tensors = []model.StoredTensor{{Name: "embed", Rows: 5, Cols: 1}} },
	} {
		before, now := held(4, always(1)), held(4, always(1))
		before.Tensors, now.Tensors = []model.StoredTensor{{Name: "embed", Rows: 2, Cols: 1, Scheme: "f32"}}, []model.StoredTensor{{Name: "embed", Rows: 2, Cols: 1}}
		change(before)
		err := now.CompareBaseline(before, "b.json", nil, 0)
		if err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "the baseline b.json is of another run: ") {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

func TestParseReport(t *testing.T) {
	whole := held(4, always(1))
	whole.Metrics.CosineMin = metric.Unknown
	text, err := json.Marshal(whole)
	if err != nil {
		t.Fatal(err)
	}
	if r, err := ParseReport("b.json", text); err != nil || fmt.Sprint(r.Metrics) != fmt.Sprint(whole.Metrics) || len(r.Prompts) != 4 {
		t.Fatalf("%v, %v", r, err)
	}
	change := func(old, new string) string {
		if !bytes.Contains(text, []byte(old)) {
			t.Fatalf("there is no %s in %s", old, text)
		}
		return strings.Replace(string(text), old, new, 1)
	}
	for bad, want := range map[string]string{
		"":                                     "b.json: byte 0",
		"[]":                                   `b.json: is no report of "thimble verify --json"`,
		"{}":                                   `is no report of "thimble verify --json"`,
		`{"schema":1}`:                         `is no report of "thimble verify --json"`,
		string(text[:len(text)-1]):             "b.json: byte",
		change(`"schema":1`, `"schema":2`):     "schema is 2, and this version of thimble reads 1: make the baseline again",
		change(`"schema":1`, `"schema":"1\n"`): `schema is`,
		change(`"schema":1`, `"schema":1,"schema":1`):          "b.json: byte",
		change(`"bytes":1000`, `"bytes":-1`):                   "model.bytes is -1",
		change(`"bytes":1000`, `"bytes":"many"`):               "cannot unmarshal string",
		change(`"bytes":1000`, `"bytes":1e400`):                "cannot unmarshal number",
		change(`"bits_per_weight":4.5`, `"bits_per_weight":0`): "model.bits_per_weight is 0",
		change(`"kl_mean":0.025`, `"kl_mean":NaN`):             "b.json: byte",
		change(`"kl_mean":0.025`, `"kl_mean":-0.025`):          "metrics.kl_mean is -0.025, and the prompts'",
		change(`"kl_mean":0.025`, `"kl_mean":0.02`):            "metrics.kl_mean is 0.02, and the prompts' is 0.025",
		change(`"tokens":40`, `"tokens":41`):                   "metrics.tokens is 41, and the prompts have 40",
		change(`"tokens":10`, `"tokens":0`):                    "prompts[0] has 0 tokens",
		change(`"prompts_sha256":"p"`, `"prompts_sha256":""`):  "prompts_sha256 is missing",
		change(`"gates":[]`, `"gates":[],"speed":{"cores":2}`): "prefill_tokens_per_second is missing",
	} {
		if _, err := ParseReport("b.json", []byte(bad)); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%.200s: %v, want %q", bad, err, want)
		}
	}
}

func FuzzParseReport(f *testing.F) {
	whole, err := json.Marshal(held(2, always(1)))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(whole)
	f.Fuzz(func(t *testing.T, text []byte) {
		r, err := ParseReport("b.json", text)
		if err != nil {
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("not one line: %q", err)
			}
			return
		}
		now := *r
		if err := now.CompareBaseline(r, "b.json", nil, 0); err != nil {
			t.Errorf("cannot be compared with itself: %v", err)
		}
		if worse := now.Baseline.Worse(); worse != nil {
			t.Errorf("worse than itself: %+v", *worse[0])
		}
	})
}

// ParseSpeed accepts or refuses any text, and an accepted Speed can be compared.
func FuzzParseSpeed(f *testing.F) {
	f.Add([]byte(`{"cores": 2, "prefill_tokens_per_second": [1, 2], "decode_tokens_per_second": [3], "prefill_tokens": 4, "decode_tokens": 5}`))
	f.Add([]byte(`{"cores": 1, "prefill_tokens_per_second": [], "decode_tokens_per_second": [1e400]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		s, err := ParseSpeed("s.json", text)
		if err != nil {
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("not one line: %q", err)
			}
			return
		}
		if !(Median(s.Prefill) > 0) || !(Median(s.Decode) > 0) {
			t.Errorf("%+v", s)
		}
		if field, _, _ := differingSpeed(s, s); field != "" {
			t.Errorf("%s differs from itself", field)
		}
	})
}
