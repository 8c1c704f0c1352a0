package verify

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"

	"thimble/internal/kernel"
)

// Schema is the version of Report's JSON, which docs/REPORT.md describes. Fields
// may be added within a version; none is renamed, removed or given another sense.
const Schema = 1

// A Report is the outcome of a Run.
type Report struct {
	Schema     int            `json:"schema"`
	Tool       string         `json:"tool,omitempty"`   // that measured
	Pass       bool           `json:"pass"`             // no gate was missed, and nothing is worse than the baseline
	Strict     bool           `json:"strict,omitempty"` // a gate that is undecided was missed
	Gates      []Check        `json:"gates"`
	Model      ModelInfo      `json:"model"`
	Arithmetic ArithmeticInfo `json:"arithmetic"`        // that the model was run in
	Against    string         `json:"against,omitempty"` // the reference, as its user named it

	AgainstSHA256 string `json:"against_sha256,omitempty"` // hexadecimal, of its largest file
	PromptsSHA256 string `json:"prompts_sha256"`           // of what was scored
	Policy        string `json:"policy,omitempty"`         // the file that the gates are from, as its user named it

	Metrics     Metrics        `json:"metrics"`
	Intervals   []Interval     `json:"intervals,omitempty"` // 95 %, from two prompts on
	Prompts     []PromptReport `json:"prompts"`
	KLHistogram *Histogram     `json:"kl_histogram,omitempty"` // of all positions, with a reference
	Flips       *Flips         `json:"flips,omitempty"`        // with a reference
	WorstTokens []Token        `json:"worst_tokens,omitempty"` // the largest divergences first
	Tasks       *Tasks         `json:"tasks,omitempty"`
	Notes       []string       `json:"notes,omitempty"` // what a reader of the numbers must know

	Continuations *Continuations `json:"continuations,omitempty"`

	Diagnosis       string      `json:"diagnosis,omitempty"`        // rounding or a conversion error, and which, in a line
	FirstDivergence *Divergence `json:"first_divergence,omitempty"` // where the models part, beyond rounding
	Layers          []Layer     `json:"layers,omitempty"`           // every operation of every step
	Stages          []Stage     `json:"stages,omitempty"`           // what each stage costs

	Baseline *Baseline `json:"baseline,omitempty"` // what has moved since
	Speed    *Speed    `json:"speed,omitempty"`    // as bench measured it

	Tensors    []StoredTensor `json:"tensors,omitempty"`    // in the order in which they are used; by Describe
	Provenance *Provenance    `json:"provenance,omitempty"` // by Describe
}

// ModelInfo identifies the model that was verified.
type ModelInfo struct {
	Path          string  `json:"path"`
	SHA256        string  `json:"sha256,omitempty"` // hexadecimal
	Bytes         int64   `json:"bytes"`
	BitsPerWeight float64 `json:"bits_per_weight"`
}

// A Value is a measured number, NaN where it does not apply. JSON has null for
// that.
type Value float64

// Known reports whether v was measured.
func (v Value) Known() bool { return v == v }

// MarshalJSON writes the shortest number that reads back as v, or null.
func (v Value) MarshalJSON() ([]byte, error) {
	if !v.Known() {
		return []byte("null"), nil
	}
	return json.Marshal(float64(v))
}

// UnmarshalJSON reads a number or null.
func (v *Value) UnmarshalJSON(text []byte) error {
	if string(text) == "null" {
		*v = Value(math.NaN())
		return nil
	}
	return json.Unmarshal(text, (*float64)(v))
}

// Metrics are taken over all scored positions. docs/NUMERICS.md has the formulas.
type Metrics struct {
	Tokens        int   `json:"tokens"`         // positions scored
	KLMean        Value `json:"kl_mean"`        // nats per token; the least it can be for a compact reference
	KLMeanSE      Value `json:"kl_mean_se"`     // standard error of KLMean, between prompts; from two prompts on
	KLMedian      Value `json:"kl_median"`      // nats
	KLP90         Value `json:"kl_p90"`         // nats, 90th percentile
	KLP99         Value `json:"kl_p99"`         // nats, 99th percentile
	KLP999        Value `json:"kl_p999"`        // nats, 99.9th percentile
	KLHidden      Value `json:"kl_hidden"`      // what a compact reference may hide: the mean is at most KLMean+KLHidden
	Top1Agreement Value `json:"top1_agreement"` // share of positions, 0 to 1
	Top5Agreement Value `json:"top5_agreement"` // share where the model's first five have the reference's first
	MaxAbs        Value `json:"max_abs"`        // largest |difference| of two logits
	MaxAbsRel     Value `json:"max_abs_rel"`    // MaxAbs/LogitStd
	LogitStd      Value `json:"logit_std"`      // standard deviation of the reference logits; of the model's beside a compact reference
	CosineMin     Value `json:"cosine_min"`     // least cosine of two rows of logits
	PPLReference  Value `json:"ppl_reference"`  // perplexity
	PPL           Value `json:"ppl"`            // the model's perplexity
	PPLRatio      Value `json:"ppl_ratio"`      // PPL/PPLReference

	BeyondRounding Value `json:"beyond_rounding"` // Profile.Worst, where there is a Profile

	BehaviourMetrics
}

// A PromptReport has the metrics of one prompt.
type PromptReport struct {
	Tokens        int   `json:"tokens"`
	KLMean        Value `json:"kl_mean"`
	KLMax         Value `json:"kl_max"`
	KLMaxAt       int   `json:"kl_max_position"` // -1 without a reference
	Top1Agreement Value `json:"top1_agreement"`
	MaxAbs        Value `json:"max_abs"`
	PPLReference  Value `json:"ppl_reference"`
	PPL           Value `json:"ppl"`
}

var unknown = Value(math.NaN())

// report joins the scores, prompt by prompt and position by position.
func (r *run) report() *Report {
	rep := &Report{Schema: Schema, Gates: []Check{}, Prompts: make([]PromptReport, len(r.prompts))}
	var all []score
	for i, p := range r.prompts {
		all = append(all, p.scores...)
		m := summarize(p.scores)
		rep.Prompts[i] = PromptReport{
			Tokens: m.Tokens, KLMean: m.KLMean, KLMax: unknown, KLMaxAt: -1, Top1Agreement: m.Top1Agreement,
			MaxAbs: m.MaxAbs, PPLReference: m.PPLReference, PPL: m.PPL,
		}
		if m.KLMean.Known() {
			worst := 0
			for at, s := range p.scores {
				if s.kl > p.scores[worst].kl {
					worst = at
				}
			}
			rep.Prompts[i].KLMax, rep.Prompts[i].KLMaxAt = Value(p.scores[worst].kl), p.from+worst
		}
	}
	rep.Metrics, rep.KLHistogram = summarize(all), histogram(all)
	rep.Metrics.KLMeanSE = Value(clusterError(rep.Prompts))
	return rep
}

// compactNote says what the report of a compact reference, k of vocab logits,
// leaves open.
func (r *Report) compactNote(k, vocab int) string {
	m := &r.Metrics
	most := m.KLMean + m.KLHidden
	note := fmt.Sprintf("the reference keeps the top %d of %d logits: the true kl_mean is between %s and %s",
		k, vocab, figure(m.KLMean), figure(most))
	for _, c := range r.Gates {
		if c.Metric == "kl_mean" && c.Op == "<=" && c.Pass && float64(most) > c.Limit {
			note += fmt.Sprintf(", so the gate at %s is met by what it shows, not by all it may hide", figure(Value(c.Limit)))
		}
	}
	note += "; max_abs covers the kept logits"
	if !m.PPLReference.Known() && m.PPL.Known() {
		note += "; ppl_reference is unknown, since not every next token is among them"
	}
	return note
}

// summarize computes the metrics of some positions, all but KLMeanSE.
func summarize(scores []score) Metrics {
	n := float64(len(scores))
	m := Metrics{Tokens: len(scores), KLMeanSE: unknown, MaxAbs: unknown, CosineMin: unknown, BeyondRounding: unknown, BehaviourMetrics: noBehaviour()}
	var (
		kl, hidden, agree, agree5 float64
		kls                       = make([]float64, len(scores))
		logits                    moments
	)
	for i, s := range scores {
		kls[i] = s.kl
		kl += s.kl
		hidden += s.hidden
		if s.top1 {
			agree++
		}
		if s.top5 {
			agree5++
		}
		logits.add(s.moments)
		if i == 0 {
			m.MaxAbs, m.CosineMin = Value(s.maxAbs), Value(s.cosine)
		}
		m.MaxAbs, m.CosineMin = max(m.MaxAbs, Value(s.maxAbs)), min(m.CosineMin, Value(s.cosine))
	}
	m.KLMean, m.KLHidden = Value(kl/n), Value(hidden/n)
	m.KLMedian, m.KLP90, m.KLP99, m.KLP999 = unknown, unknown, unknown, unknown
	m.Top1Agreement, m.Top5Agreement = unknown, unknown
	if m.KLMean.Known() {
		slices.Sort(kls)
		m.KLMedian, m.KLP90 = Value(quantile(kls, 0.5)), Value(quantile(kls, 0.9))
		m.KLP99, m.KLP999 = Value(quantile(kls, 0.99)), Value(quantile(kls, 0.999))
		m.Top1Agreement, m.Top5Agreement = Value(agree/n), Value(agree5/n)
	}
	m.LogitStd = Value(logits.deviation())
	m.MaxAbsRel = relative(m.MaxAbs, m.LogitStd)
	m.PPL = perplexity(scores, func(s *score) float64 { return s.nll })
	m.PPLReference = perplexity(scores, func(s *score) float64 { return s.refNLL })
	m.PPLRatio = perplexity(scores, func(s *score) float64 { return s.nll - s.refNLL })
	return m
}

// relative is a/std; no difference is none, however the logits vary.
func relative(a, std Value) Value {
	switch {
	case a == 0:
		return 0
	case std == 0:
		return math.MaxFloat64
	}
	return a / std
}

// perplexity is exp of the mean of nll over the positions that have a next
// token: those where the model's is known. It is unknown if there is none, or
// if nll is unknown at one of them.
func perplexity(scores []score, nll func(*score) float64) Value {
	sum, n := 0.0, 0
	for i := range scores {
		if s := &scores[i]; s.nll == s.nll {
			sum += nll(s)
			n++
		}
	}
	if n == 0 {
		return unknown
	}
	return Value(min(kernel.Exp64(sum/float64(n)), math.MaxFloat64))
}

// quantile interpolates linearly between the neighbours of rank q*(len(x)-1) in
// the sorted x.
func quantile(x []float64, q float64) float64 {
	rank := float64(q * float64(len(x)-1))
	at := min(int(rank), len(x)-1)
	low, high := x[at], x[min(at+1, len(x)-1)]
	return low + float64((rank-float64(at))*(high-low))
}

// clusterError is the standard error of the mean divergence over all tokens,
// with the prompt as the unit of sampling: tokens of one text are alike, and an
// error that took them for independent would be too small. It is that of a
// ratio of cluster totals (Cochran, Sampling Techniques, section 9A): over the
// C prompts with n tokens and mean k,
//
//	sqrt( C/(C-1) * sum of (n (k - mean))^2 ) / sum of n
//
// and NaN for less than two.
func clusterError(prompts []PromptReport) float64 {
	c := float64(len(prompts))
	if c < 2 {
		return math.NaN()
	}
	var tokens, total float64
	for _, p := range prompts {
		tokens += float64(p.Tokens)
		total += float64(float64(p.Tokens) * float64(p.KLMean))
	}
	mean, sum := total/tokens, 0.0
	for _, p := range prompts {
		d := float64(p.Tokens) * (float64(p.KLMean) - mean)
		sum += float64(d * d)
	}
	return math.Sqrt(sum*c/(c-1)) / tokens
}
