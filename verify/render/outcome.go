package render

import (
	"fmt"
	"slices"
	"strings"

	"thimble/verify"
	"thimble/verify/metric"
)

// limitText is a gate with its limit as figures are written.
func limitText(c *verify.Check) string {
	return fmt.Sprintf("%s %s %s", c.Metric, c.Op, metric.Value(c.Limit).Short())
}

// sentence says what was measured and what the gate requires.
func sentence(c *verify.Check) string {
	return fmt.Sprintf("%s %s, the gate is %s %s", c.Metric, c.Value.Short(), c.Op, metric.Value(c.Limit).Short())
}

// reason says why a gate has its outcome, in one line.
func reason(r *verify.Report, c *verify.Check) string {
	if c.Undecided {
		return fmt.Sprintf("%s; undecided, it may be %s: %s", sentence(c), possibleText(r, c), remedy(r, c))
	}
	return sentence(c)
}

// possibleText is what leaves a gate undecided: the bounds of the metric, or its
// interval.
func possibleText(r *verify.Report, c *verify.Check) string {
	if b := r.Bound(c.Metric); c.ByReference && b != nil {
		return boundText(b)
	}
	return intervalText(r, c.Metric)
}

// boundText spells the bounds of a metric.
func boundText(b *metric.Bound) string {
	switch {
	case !b.High.Known() && !b.Low.Known():
		return "anything"
	case !b.High.Known():
		return b.Low.Short() + " or more"
	case !b.Low.Known():
		return b.High.Short() + " or less"
	}
	return b.Low.Short() + " to " + b.High.Short()
}

// intervalText is the interval of a metric, or a dash.
func intervalText(r *verify.Report, name string) string {
	if in := r.Interval(name); in != nil {
		return in.Low.Short() + " to " + in.High.Short()
	}
	return "-"
}

// listed returns the metrics of positions and operations that a report lists, those
// with gates first: what was measured, except that nothing is hidden.
func listed(r *verify.Report) (all []*metric.Entry[verify.Metrics]) {
	var free []*metric.Entry[verify.Metrics]
	for i := range verify.MetricTable {
		e := &verify.MetricTable[i]
		v := e.Of(&r.Metrics)
		switch {
		case e.Unit != metric.Tokens || !v.Known() || e.Name == "kl_hidden" && v == 0:
		case slices.ContainsFunc(r.Gates, func(c verify.Check) bool { return c.Metric == e.Name }):
			all = append(all, e)
		default:
			free = append(free, e)
		}
	}
	return append(all, free...)
}

// size says how large a model is, after a comma.
func size(m *verify.ModelInfo) string {
	if m.Bytes == 0 {
		return ""
	}
	s := fmt.Sprintf(", %.1f MB", float64(m.Bytes)/1e6)
	if m.BitsPerWeight > 0 {
		s += fmt.Sprintf(", %.2f bits per weight", m.BitsPerWeight)
	}
	return s
}

// speedText is the speed of a model in one line.
func speedText(s *verify.Speed) string {
	if len(s.Prefill) == 0 || len(s.Decode) == 0 {
		return "not measured"
	}
	text := fmt.Sprintf("prefill %.1f, decode %.1f tokens/s on %d cores", verify.Median(s.Prefill), verify.Median(s.Decode), s.Cores)
	if s.Memory > 0 {
		text += fmt.Sprintf(", %.1f MB resident", float64(s.Memory)/1e6)
	}
	return text
}

// baseName is a path without its folders, of whatever system.
func baseName(path string) string {
	trimmed := strings.TrimRight(path, `/\`)
	return trimmed[strings.LastIndexAny(trimmed, `/\`)+1:]
}
