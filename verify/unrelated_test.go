package verify

import (
	"testing"

	"thimble/verify/metric"
)

// Models look different if settings differ and the divergence is huge; only then does the
// note on settings move into the diagnosis.
func TestUnrelated(t *testing.T) {
	notes := []string{"layers is 4, the reference has 2", "another"}
	for _, c := range []struct {
		differ, kl float64
		unrelated  bool
	}{{1, 5, true}, {1, 0.1, false}, {0, 5, false}} {
		r := &Report{Metrics: unmeasured()}
		r.Metrics.KLMean = metric.Value(c.kl)
		i := unknownIntegrity()
		i.SettingsDiffer = metric.Value(c.differ)
		r.addIntegrity(&i, notes)
		want := ""
		if c.unrelated {
			want = "model and reference look like different models: layers is 4, the reference has 2"
		}
		if r.Diagnosis != want || r.Unrelated() != c.unrelated || len(r.Notes) != map[bool]int{true: 1, false: 2}[c.unrelated] {
			t.Errorf("%+v: %q, %q", c, r.Diagnosis, r.Notes)
		}
	}
	var none Report
	none.addIntegrity(nil, nil)
	if none.Diagnosis != "" || none.Notes != nil {
		t.Errorf("%+v", none)
	}
}
