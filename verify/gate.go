package verify

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"thimble/internal/model"
	"thimble/internal/qtensor"
	"thimble/internal/spell"
)

// A Gate is a limit on one metric.
type Gate struct {
	Metric string  `json:"metric"` // as in Metrics' JSON
	Op     string  `json:"op"`     // "<=" or ">="
	Limit  float64 `json:"limit"`
}

// A Check is a Gate with what was measured.
type Check struct {
	Gate
	Value Value `json:"value"`
	Pass  bool  `json:"pass"` // Value is inside the limit

	// Undecided says that the limit lies inside the metric's interval: other
	// prompts could well have told otherwise. About Tokens of them would tell; 0
	// where no number can be given.
	Undecided bool  `json:"undecided,omitempty"`
	Tokens    int64 `json:"tokens_needed,omitempty"`
}

func (g Gate) String() string {
	return g.Metric + g.Op + strconv.FormatFloat(g.Limit, 'g', -1, 64)
}

// ParseGate reads "metric<=limit" or "metric>=limit", such as "kl_mean<=0.05".
// A metric may go by its short name, "kl" or "top1".
func ParseGate(text string) (Gate, error) {
	at := strings.Index(text, "<=")
	if at < 0 {
		at = strings.Index(text, ">=")
	}
	if at < 0 {
		return Gate{}, fmt.Errorf("gate %q: want METRIC<=LIMIT or METRIC>=LIMIT, such as kl_mean<=0.05", text)
	}
	g := Gate{Metric: strings.TrimSpace(text[:at]), Op: text[at : at+2]}
	if full, ok := shortNames[g.Metric]; ok {
		g.Metric = full
	}
	if _, err := metricNamed(g.Metric); err != nil {
		return Gate{}, fmt.Errorf("gate %q: %w", text, err)
	}
	var err error
	g.Limit, err = strconv.ParseFloat(strings.TrimSpace(text[at+2:]), 64)
	if err != nil || math.IsNaN(g.Limit) || math.IsInf(g.Limit, 0) {
		return Gate{}, fmt.Errorf("gate %q: %q is not a number", text, strings.TrimSpace(text[at+2:]))
	}
	return g, nil
}

// A metric is a field of Metrics that can be gated and printed.
type metric struct {
	name      string
	reference bool // cannot be measured without one
	of        func(*Metrics) Value
	means     string
}

// metrics are those of positions; everyMetric has those of behaviour too.
// listed is the metric in m, if a report lists it: what was measured, but not that
// nothing is hidden.
func (k *metric) listed(m *Metrics) (v Value, ok bool) {
	v = k.of(m)
	return v, v.Known() && !(k.name == "kl_hidden" && v == 0)
}

var metrics = []metric{
	{"tokens", false, func(m *Metrics) Value { return positions(m.Tokens) }, "positions scored"},
	{"kl_mean", true, func(m *Metrics) Value { return m.KLMean }, "nats per token"},
	{"kl_mean_se", true, func(m *Metrics) Value { return m.KLMeanSE }, "standard error, between prompts"},
	{"kl_median", true, func(m *Metrics) Value { return m.KLMedian }, "nats"},
	{"kl_p90", true, func(m *Metrics) Value { return m.KLP90 }, "nats, 90th percentile"},
	{"kl_p99", true, func(m *Metrics) Value { return m.KLP99 }, "nats, 99th percentile"},
	{"kl_p999", true, func(m *Metrics) Value { return m.KLP999 }, "nats, 99.9th percentile"},
	{"kl_hidden", true, func(m *Metrics) Value { return m.KLHidden }, "most that kl_mean may lack"},
	{"top1_agreement", true, func(m *Metrics) Value { return m.Top1Agreement }, "share with the same first choice"},
	{"top5_agreement", true, func(m *Metrics) Value { return m.Top5Agreement }, "share with it in the first five"},
	{"max_abs", true, func(m *Metrics) Value { return m.MaxAbs }, "largest logit difference"},
	{"max_abs_rel", true, func(m *Metrics) Value { return m.MaxAbsRel }, "max_abs / logit_std"},
	{"logit_std", true, func(m *Metrics) Value { return m.LogitStd }, "standard deviation of logits"},
	{"cosine_min", true, func(m *Metrics) Value { return m.CosineMin }, "least cosine of logit rows"},
	{"ppl_reference", true, func(m *Metrics) Value { return m.PPLReference }, "perplexity of the reference"},
	{"ppl", false, func(m *Metrics) Value { return m.PPL }, "perplexity of the model"},
	{"ppl_ratio", true, func(m *Metrics) Value { return m.PPLRatio }, "ppl / ppl_reference"},
	{"beyond_rounding", true, func(m *Metrics) Value { return m.BeyondRounding }, "largest own error of an operation, over its limit"},
}

// positions is unknown where there is no text to score.
func positions(n int) Value {
	if n == 0 {
		return unknown
	}
	return Value(n)
}

// shortNames are what ParseGate also takes for the metrics that are gated most.
var shortNames = map[string]string{"kl": "kl_mean", "top1": "top1_agreement", "top5": "top5_agreement"}

// MetricNames lists the metrics that a Gate may limit.
func MetricNames() []string {
	names := make([]string, len(everyMetric))
	for i := range everyMetric {
		names[i] = everyMetric[i].name
	}
	return names
}

func metricNamed(name string) (*metric, error) {
	for i := range everyMetric {
		if everyMetric[i].name == name {
			return &everyMetric[i], nil
		}
	}
	names := MetricNames()
	if hint := spell.Suggest(name, names); hint != "" {
		return nil, fmt.Errorf("there is no metric %q%s", name, hint)
	}
	return nil, fmt.Errorf("there is no metric %q, want one of %s", name, strings.Join(names, ", "))
}

// checkGates finds, before any work, the gates that cannot be judged.
func checkGates(gates []Gate, reference bool) error {
	for _, g := range gates {
		m, err := metricNamed(g.Metric)
		switch {
		case err != nil:
			return fmt.Errorf("gate %v: %w", g, err)
		case g.Op != "<=" && g.Op != ">=":
			return fmt.Errorf("gate %v: the comparison is %q, want <= or >=", g, g.Op)
		case m.reference && !reference && taskMetricOf(m.name) == nil && !isPrefix(m.name):
			return fmt.Errorf("gate %v: %s compares with a reference: name one by --reference or --against", g, g.Metric)
		}
	}
	return nil
}

// judge holds the metrics to the gates, which have passed checkGates. What was
// measured decides, unless strict also misses a gate that is undecided.
func (r *Report) judge(gates []Gate, strict bool) error {
	r.Pass, r.Strict = true, strict
	for _, g := range gates {
		m, err := metricNamed(g.Metric)
		if err != nil {
			return err
		}
		c := Check{Gate: g, Value: m.of(&r.Metrics)}
		if !c.Value.Known() {
			return fmt.Errorf("gate %v: these prompts and this reference give no %s", g, g.Metric)
		}
		if g.Op == "<=" {
			c.Pass = float64(c.Value) <= g.Limit
		} else {
			c.Pass = float64(c.Value) >= g.Limit
		}
		for _, in := range r.Intervals {
			if in.Metric == g.Metric {
				n, _ := r.sampled(g.Metric)
				c.weigh(in, n)
			}
		}
		r.Gates = append(r.Gates, c)
		r.Pass = r.Pass && c.Pass && !(strict && c.Undecided)
	}
	return nil
}

// weigh finds whether the interval, taken over so many tokens, leaves the gate
// undecided, and what would decide it: an interval is as wide as one over the
// root of the tokens, and has to end before the limit.
func (c *Check) weigh(in Interval, tokens int) {
	value, limit := float64(c.Value), c.Limit
	inside := func(v Value) bool { return c.Op == "<=" && float64(v) <= limit || c.Op == ">=" && float64(v) >= limit }
	if c.Undecided = inside(in.Low) != inside(in.High); !c.Undecided {
		return
	}
	reach := float64(in.High) - value // of the interval, towards the limit
	if limit < value {
		reach = value - float64(in.Low)
	}
	times := reach / math.Abs(limit-value)
	if n := float64(tokens) * float64(times*times); n < 1e12 {
		c.Tokens = roundUp(max(n, float64(tokens+1)))
	}
}

// roundUp returns n or the next larger number of two significant digits.
func roundUp(n float64) int64 {
	unit := 1.0
	for n/unit > 100 {
		unit *= 10
	}
	return int64(math.Ceil(n/unit) * unit)
}

// DefaultGates returns the limits for a comparison of m with the checkpoint it
// came from: those of its coarsest scheme, for a model of its size. m must have
// passed Check.
func DefaultGates(m *model.Model) []Gate {
	s := coarsest(m)
	weights, _ := m.Size()
	return sized(SchemeGates(s), s, weights)
}

// coarsest is the scheme with the fewest bits per weight among the linear layers,
// embedding and head of m.
func coarsest(m *model.Model) (found qtensor.Scheme) {
	least := math.Inf(1)
	for _, s := range m.Spec.Slots() {
		if s.Role == model.Vector {
			continue
		}
		scheme := m.Tensors[s.Name].Scheme
		if bits := scheme.BitsPerWeight(s.Cols); bits < least {
			found, least = scheme, bits
		}
	}
	return found
}

// NoConversionError is the gate on what the operations of a model add of their own,
// compared with those of the model that it came from: what rounding explains. It
// sees what a few bits hide from the others, and needs a Profile.
var NoConversionError = Gate{"beyond_rounding", "<=", 1}

// sizes are from how many weights on a model is held to a part of the divergence
// that SchemeGates allows a small one.
var sizes = []struct {
	from int64
	part float64
}{{5e9, 0.25}, {1e9, 0.5}}

// sized are the gates of a model of so many weights, stored in s. Divergence goes
// with the square of an error and disagreement with the error itself, so half the
// limit of the one is 1/sqrt(2) of the other's. Floats do not depend on
// the size, and two bits are not what larger models are known to bear.
func sized(gates []Gate, s qtensor.Scheme, weights int64) []Gate {
	if s.Kind == qtensor.Foreign {
		s = s.Layout.Scheme
	}
	if s.Kind != qtensor.Int || s.Bits < 3 {
		return gates
	}
	for _, z := range sizes {
		if weights < z.from {
			continue
		}
		for i := range gates {
			g := &gates[i]
			switch g.Metric {
			case "kl_mean":
				g.Limit = rounded(g.Limit * z.part)
			case "top1_agreement":
				g.Limit = rounded(1 - float64((1-g.Limit)*math.Sqrt(z.part)))
			}
		}
		break
	}
	return gates
}

// rounded is a limit to three decimals, as the table in docs/NUMERICS.md has it.
func rounded(x float64) float64 { return math.Round(x*1000) / 1000 }

// SchemeGates returns the limits for a model of less than a billion weights,
// stored throughout in s.
//
// They part rounding from damage: 2.5 to 13 times what rounding to nearest costs
// a model of 135 M parameters, and below what a wrong permutation, scale or
// layer order does, which is one to four nats. A release should set its own,
// tighter ones. docs/NUMERICS.md gives the measurements.
func SchemeGates(s qtensor.Scheme) []Gate {
	kl, top1 := 0.0, 0.0
	switch s.Kind {
	case qtensor.F32:
		// Only the order of float32 sums may differ.
		return append(gatePair(1e-5, 0.99), Gate{"max_abs_rel", "<=", 1e-3})
	case qtensor.F16:
		kl, top1 = 1e-4, 0.98
	case qtensor.BF16:
		kl, top1 = 5e-3, 0.95
	case qtensor.Foreign:
		return SchemeGates(s.Layout.Scheme)
	case qtensor.Int:
		l := intLimits[s.Bits]
		kl, top1 = l.kl, l.top1
		if s.Bits == 4 && s.Asym {
			kl, top1 = 0.7, 0.55
		}
	}
	return gatePair(kl, top1)
}

// intLimits is indexed by bits. A bit less makes rounding errors twice and the
// divergence four times as large. Below 4 bits rounding to nearest ruins a small
// model, and better methods are held to what 4 bits must reach.
var intLimits = [9]struct{ kl, top1 float64 }{
	2: {1, 0.5}, 3: {1, 0.5}, 4: {1, 0.5}, 5: {0.3, 0.7}, 6: {0.1, 0.8}, 7: {0.04, 0.85}, 8: {0.02, 0.9},
}

func gatePair(kl, top1 float64) []Gate {
	return []Gate{{"kl_mean", "<=", kl}, {"top1_agreement", ">=", top1}}
}
