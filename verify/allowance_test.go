package verify

import (
	"strings"
	"testing"

	"thimble/verify/metric"
	"thimble/verify/reference"
)

// Gates allow for the rounding of a reference's logits, and for no more.
func TestAllowance(t *testing.T) {
	score := metric.Score{KL: 3e-5, MaxAbs: 0.03, Rounding: metric.Rounding{KL: 2e-5, MaxAbs: 0.031}}
	for stored, want := range map[metric.Storage]string{{}: "kl_mean max_abs_rel", {Name: "bf16", Bits: 8}: ""} {
		r := &Report{Metrics: unmeasured()}
		r.Metrics.Summary = metric.Summary{Tokens: 1, KLMean: 3e-5, MaxAbs: 0.03, LogitStd: 3, MaxAbsRel: 0.01, Top1Agreement: 1}
		r.allow(reference.Form{Stored: stored}, [][]metric.Score{{score}})
		if err := r.Judge(SchemeGates(Scheme{}), false); err != nil {
			t.Fatal(err)
		}
		var missed []string
		for _, c := range r.Gates {
			if !c.Pass {
				missed = append(missed, c.Metric)
			}
		}
		if got := strings.Join(missed, " "); got != want || (want == "") != (len(r.Notes) == 1) {
			t.Errorf("stored as %q: %q are missed, want %q; notes %q", stored.Name, got, want, r.Notes)
		}
		if stored.Bits == 0 {
			continue
		}
		r.Metrics.KLMean, r.Metrics.MaxAbsRel = 6e-5, 0.012 // more than 1e-5 and twice 2e-5, than 0.001 and 0.031/3
		if err := r.Judge(SchemeGates(Scheme{}), false); err != nil || r.Pass || r.Gates[0].Pass || r.Gates[2].Pass {
			t.Errorf("%v, gates %+v", err, r.Gates)
		}
	}
}
