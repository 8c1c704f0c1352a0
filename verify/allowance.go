package verify

import (
	"fmt"

	"thimble/verify/metric"
	"thimble/verify/reference"
)

// roundingDivergences is what a limit gains, as a multiple of the divergence that rounding
// of the reference's logits is expected to cause.
const roundingDivergences = 2

// allow sets what the limits of gates on divergences and on differences of logits gain
// because the reference's own logits were rounded when they were stored, and says so in a
// note.
func (r *Report) allow(form reference.Form, scores [][]metric.Score) {
	if form.Stored.Bits == 0 {
		return
	}
	var all []metric.Score
	for _, s := range scores {
		all = append(all, s...)
	}
	x := metric.RoundingOf(all)
	r.allowances = map[string]float64{"kl_mean": significant(roundingDivergences * x.KL), "max_abs": x.MaxAbs}
	if std := float64(r.Metrics.LogitStd); std > 0 {
		r.allowances["max_abs_rel"] = significant(x.MaxAbs / std)
	}
	r.Notes = append(r.Notes, fmt.Sprintf("the reference keeps its logits as %s: limits include the %s of kl_mean and the %s of max_abs_rel that rounding to it explains",
		form.Stored.Name, metric.Value(r.allowances["kl_mean"]).Short(), metric.Value(r.allowances["max_abs_rel"]).Short()))
}
