package verify

import (
	"errors"
	"fmt"
	"math"
	"slices"
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

// A Check is a Gate with the measured value and the outcome.
type Check struct {
	Gate
	Value   metric.Value `json:"value"`
	Pass    bool         `json:"pass"`    // Value is inside the limit
	Outcome string       `json:"outcome"` // Passed, Missed or Undecided

	Source string `json:"source,omitempty"` // where the gate comes from: GateFlag, GatePolicy or GateDefault

	// Undecided is set if the limit lies inside the metric's interval, so that other
	// prompts could reverse the verdict. It is also set, with ByReference, if the limit
	// lies inside the metric's bounds, so that the logits that the reference leaves out
	// could. Tokens is about the number of tokens that would narrow the interval
	// enough, or 0 if no number can be given.
	Undecided   bool  `json:"undecided,omitempty"`
	ByReference bool  `json:"undecided_by_reference,omitempty"`
	Tokens      int64 `json:"tokens_needed,omitempty"`
}

// The sources of a gate.
const (
	GateFlag    = "flag"
	GatePolicy  = "policy"
	GateDefault = "default"
)

// The Outcome of a Check, and of a Report.
const (
	Passed    = "PASS"
	Missed    = "FAIL"
	Undecided = "UNDECIDED" // met by the measured value, but the limit lies inside the interval or the bounds
	Measured  = "MEASURED"  // a Report without gates
)

// String formats g so that ParseGate can read it.
func (g Gate) String() string {
	return g.Metric + g.Op + strconv.FormatFloat(g.Limit, 'g', -1, 64)
}

// A GateError reports a text that is not a gate.
type GateError struct {
	Text string
	Err  error // why
}

func (e *GateError) Error() string { return fmt.Sprintf("gate %q: %v", e.Text, e.Err) }

func (e *GateError) Unwrap() error { return e.Err }

// ParseGate parses "metric<=limit" or "metric>=limit", such as "kl_mean<=0.05". It also
// accepts the short names "kl", "top1" and "top5", and shares in percent, such as
// "top1>=90%". Its errors are *GateError.
func ParseGate(text string) (Gate, error) {
	g, err := parseGate(text)
	if err != nil {
		return Gate{}, &GateError{text, err}
	}
	return g, nil
}

func parseGate(text string) (g Gate, err error) {
	at := strings.Index(text, "<=")
	if at < 0 {
		at = strings.Index(text, ">=")
	}
	if at < 0 {
		return g, errors.New("want METRIC<=LIMIT or METRIC>=LIMIT, such as kl_mean<=0.05")
	}
	g = Gate{Metric: strings.TrimSpace(text[:at]), Op: text[at : at+2]}
	if full, ok := shortNames[g.Metric]; ok {
		g.Metric = full
	}
	e, err := metricNamed(g.Metric)
	if err != nil {
		return g, err
	}
	number := strings.TrimSpace(text[at+2:])
	bare, percent := strings.CutSuffix(number, "%")
	g.Limit, err = strconv.ParseFloat(strings.TrimSpace(bare), 64)
	if err != nil || math.IsNaN(g.Limit) || math.IsInf(g.Limit, 0) || percent && !e.Share {
		return g, fmt.Errorf("%q is not a number", number)
	}
	if percent {
		g.Limit /= 100
	}
	return g, checkLimit(e, g.Limit)
}

// checkLimit finds limits that a metric is always on the same side of.
func checkLimit(e *metric.Entry[Metrics], limit float64) error {
	least := 0.0
	if e.Signed {
		least = -1
	}
	switch size := math.Abs(limit); {
	case e.Share && (limit > 1 || limit < least):
		hint := ""
		if size >= 2 && size <= 100 && (limit > 0 || e.Signed) {
			hint = fmt.Sprintf("; did you mean %v?", limit/100)
		}
		if e.Signed {
			return fmt.Errorf("%s is between -1 and 1%s", e.Name, hint)
		}
		return fmt.Errorf("%s is a share between 0 and 1%s", e.Name, hint)
	case !e.Share && !e.Signed && limit < 0:
		return fmt.Errorf("%s is 0 or more, so a limit of %v decides nothing", e.Name, limit)
	}
	return nil
}

// shortNames are ParseGate's names for the metrics that gates limit most often.
var shortNames = map[string]string{"kl": "kl_mean", "top1": "top1_agreement", "top5": "top5_agreement"}

// checkGates returns an error, before any work, if a gate cannot be judged. compared
// tells whether there is a reference.
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

// Judge compares the metrics of r with gates, and sets Gates, Pass and Strict. The
// measured value decides, against a limit that includes what the rounding of the
// reference's logits explains; if strict is set, an undecided gate fails too. Judge returns
// an error for a gate on a metric that r did not measure.
func (r *Report) Judge(gates []Gate, strict bool) error {
	if err := checkGates(gates, true); err != nil {
		return err
	}
	r.Pass, r.Strict, r.Gates = true, strict, make([]Check, 0, len(gates))
	for _, g := range gates {
		c := Check{Gate: g, Value: metric.Find(MetricTable, g.Metric).Of(&r.Metrics)}
		// Without spread, no multiple of it expresses a difference, so that gate is missed.
		spreadless := g.Metric == "max_abs_rel" && r.Metrics.LogitStd == 0 && r.Metrics.MaxAbs.Known()
		if !c.Value.Known() && !spreadless {
			return fmt.Errorf("gate %v: these prompts and this reference give no %s", g, g.Metric)
		}
		if g.Op == "<=" {
			c.Limit += r.allowances[g.Metric]
		}
		c.Pass = c.meets(c.Value)
		if in := r.Interval(g.Metric); in != nil && !r.Expected.ofThisText() {
			n, _ := r.Sample(g.Metric)
			c.weigh(in, n)
		}
		if b := r.Bound(g.Metric); b != nil && c.straddled(b) {
			c.Undecided, c.ByReference = true, true
		}
		c.Outcome = Passed
		switch {
		case !c.Pass || strict && c.Undecided:
			c.Outcome, r.Pass = Missed, false
		case c.Undecided:
			c.Outcome = Undecided
		}
		r.Gates = append(r.Gates, c)
	}
	return nil
}

// Outcome returns Missed if a gate fails or a figure is worse than the baseline,
// Undecided if all gates pass but one of them is undecided, Measured if there is nothing
// to judge, and otherwise Passed.
func (r *Report) Outcome() string {
	switch {
	case !r.Pass:
		return Missed
	case len(r.Gates) == 0 && !r.Baseline.Compared():
		return Measured
	case slices.ContainsFunc(r.Gates, func(c Check) bool { return c.Undecided }):
		return Undecided
	}
	return Passed
}

// meets reports whether v is inside the limit.
func (g Gate) meets(v metric.Value) bool {
	return g.Op == "<=" && float64(v) <= g.Limit || g.Op == ">=" && float64(v) >= g.Limit
}

// straddled reports whether one end of b is inside the limit and the other outside. It
// takes an unknown end to be infinitely far away.
func (g Gate) straddled(b *metric.Bound) bool {
	low, high := b.Low, b.High
	if !low.Known() {
		low = metric.Value(math.Inf(-1))
	}
	if !high.Known() {
		high = metric.Value(math.Inf(1))
	}
	return g.meets(low) != g.meets(high)
}

// weigh determines whether an interval over n items leaves the gate undecided, and how
// many items would decide it: as many as shrink the interval until it ends before the
// limit. Its width is inversely proportional to the square root of the number of items.
func (c *Check) weigh(in *metric.Interval, n int) {
	value, limit := float64(c.Value), c.Limit
	if c.Undecided = c.meets(in.Low) != c.meets(in.High); !c.Undecided {
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
