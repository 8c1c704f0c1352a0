package verify

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"thimble/verify/metric"
)

// A Gate is a limit on one metric.
type Gate struct {
	Metric string  `json:"metric"` // a name in MetricTable
	Op     string  `json:"op"`     // "<=" or ">="
	Limit  float64 `json:"limit"`
}

// A Check is a Gate with what was measured.
type Check struct {
	Gate
	Value metric.Value `json:"value"`
	Pass  bool         `json:"pass"` // Value is inside the limit

	Source string `json:"source,omitempty"` // where the gate comes from: GateFlag, GatePolicy or GateDefault

	// Undecided says that the limit lies inside the metric's interval, so other
	// prompts could reverse the verdict. About Tokens tokens would decide it; 0 if
	// no number can be given.
	Undecided bool  `json:"undecided,omitempty"`
	Tokens    int64 `json:"tokens_needed,omitempty"`
}

// Where a gate comes from.
const (
	GateFlag    = "flag"
	GatePolicy  = "policy"
	GateDefault = "default"
)

// String writes g as ParseGate reads it.
func (g Gate) String() string {
	return g.Metric + g.Op + strconv.FormatFloat(g.Limit, 'g', -1, 64)
}

// ParseGate reads "metric<=limit" or "metric>=limit", such as "kl_mean<=0.05".
// It also accepts the short names "kl", "top1" and "top5".
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

// shortNames are ParseGate's names for the metrics that are gated most.
var shortNames = map[string]string{"kl": "kl_mean", "top1": "top1_agreement", "top5": "top5_agreement"}

// checkGates finds, before any work, the gates that cannot be judged. compared says
// whether there is a reference.
func checkGates(gates []Gate, compared bool) error {
	for _, g := range gates {
		e, err := metricNamed(g.Metric)
		switch {
		case err != nil:
			return fmt.Errorf("gate %v: %w", g, err)
		case g.Op != "<=" && g.Op != ">=":
			return fmt.Errorf("gate %v: the comparison is %q, want <= or >=", g, g.Op)
		case e.Reference && !compared && e.Unit == metric.Tokens:
			return fmt.Errorf("gate %v: %s compares with a reference: name one by --reference or --against", g, g.Metric)
		}
	}
	return nil
}

// Judge compares the metrics of r with gates, and sets Gates, Pass and Strict. What
// was measured decides; if strict is set, an undecided gate is missed too. A gate on
// what r did not measure is an error.
func (r *Report) Judge(gates []Gate, strict bool) error {
	if err := checkGates(gates, true); err != nil {
		return err
	}
	r.Pass, r.Strict, r.Gates = true, strict, make([]Check, 0, len(gates))
	for _, g := range gates {
		c := Check{Gate: g, Value: metric.Find(MetricTable, g.Metric).Of(&r.Metrics)}
		if !c.Value.Known() {
			return fmt.Errorf("gate %v: these prompts and this reference give no %s", g, g.Metric)
		}
		if g.Op == "<=" {
			c.Pass = float64(c.Value) <= g.Limit
		} else {
			c.Pass = float64(c.Value) >= g.Limit
		}
		if in := r.Interval(g.Metric); in != nil && !r.Expected.ofThisText() {
			n, _ := r.Sample(g.Metric)
			c.weigh(in, n)
		}
		r.Gates = append(r.Gates, c)
		r.Pass = r.Pass && c.Pass && !(strict && c.Undecided)
	}
	return nil
}

// weigh finds whether an interval, taken over n items, leaves the gate undecided,
// and how many items would decide it: the width of an interval goes with one over
// the root of the items, and the interval must end before the limit.
func (c *Check) weigh(in *metric.Interval, n int) {
	value, limit := float64(c.Value), c.Limit
	inside := func(v metric.Value) bool {
		return c.Op == "<=" && float64(v) <= limit || c.Op == ">=" && float64(v) >= limit
	}
	if c.Undecided = inside(in.Low) != inside(in.High); !c.Undecided {
		return
	}
	reach := float64(in.High) - value // of the interval, towards the limit
	if limit < value {
		reach = value - float64(in.Low)
	}
	times := reach / math.Abs(limit-value)
	if need := float64(n) * float64(times*times); need < 1e12 {
		c.Tokens = roundUp(max(need, float64(n+1)))
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
