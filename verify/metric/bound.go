package metric

import "slices"

// A Bound is the range of a metric that a compact reference does not determine. An
// unknown end is unlimited.
type Bound struct {
	Metric string `json:"metric"`
	Low    Value  `json:"low"`
	High   Value  `json:"high"`
}

// quantiles are the metrics that are quantiles of the divergence over positions.
var quantiles = []struct {
	metric string
	share  float64
}{{"kl_median", 0.5}, {"kl_p90", 0.9}, {"kl_p99", 0.99}, {"kl_p999", 0.999}}

// Bounds returns the bounds of those metrics in s, the Summary of scores, that the
// reference does not determine. It returns nil if the reference keeps all logits.
func Bounds(scores []Score, s *Summary) []Bound {
	if !slices.ContainsFunc(scores, func(x Score) bool { return x.Partial }) {
		return nil
	}
	low, _ := meanBounds(scores)
	all := []Bound{{"kl_mean", min(Value(low), s.KLMean), s.KLMean + s.KLHidden}}
	least, most := make([]float64, len(scores)), make([]float64, len(scores))
	for i, x := range scores {
		least[i], most[i] = x.KL-x.Spare, x.KL+x.Hidden
	}
	slices.Sort(least)
	slices.Sort(most)
	for _, q := range quantiles {
		all = append(all, Bound{q.metric, Value(Quantile(least, q.share)), Value(Quantile(most, q.share))})
	}
	return append(all, Bound{"max_abs", s.MaxAbs, Unknown}, Bound{"max_abs_rel", Unknown, Unknown})
}
