package verify

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"thimble/internal/spell"
	"thimble/verify/metric"
	"thimble/verify/parity"
	"thimble/verify/tasks"
)

// Metrics are all that a Report measures. docs/NUMERICS.md has the formulas.
type Metrics struct {
	metric.Summary
	parity.Excess
	Integrity
	tasks.Metrics
}

// MetricTable lists the metrics of a Report, in its order. Each can be gated by
// its name.
var MetricTable = slices.Concat(
	metric.Within(metric.Table, func(m *Metrics) *metric.Summary { return &m.Summary }),
	metric.Within(parity.Table, func(m *Metrics) *parity.Excess { return &m.Excess }),
	metric.Within(integrityTable, func(m *Metrics) *Integrity { return &m.Integrity }),
	metric.Within(tasks.Table, func(m *Metrics) *tasks.Metrics { return &m.Metrics }),
)

// unmeasured returns Metrics in which nothing is measured.
func unmeasured() Metrics {
	return Metrics{metric.Summarize(nil), parity.Excess{BeyondRounding: metric.Unknown}, unknownIntegrity(), tasks.Unmeasured()}
}

// UnmarshalJSON reads metrics. Those that an earlier version did not measure are
// unknown.
func (m *Metrics) UnmarshalJSON(text []byte) error {
	type fields Metrics
	read := fields(unmeasured())
	err := json.Unmarshal(text, &read)
	*m = Metrics(read)
	return err
}

// MetricNames lists the metrics that a Gate may limit.
func MetricNames() []string {
	names := make([]string, len(MetricTable))
	for i := range MetricTable {
		names[i] = MetricTable[i].Name
	}
	return names
}

// metricNamed finds a metric by its name.
func metricNamed(name string) (*metric.Entry[Metrics], error) {
	if e := metric.Find(MetricTable, name); e != nil {
		return e, nil
	}
	names := MetricNames()
	if hint := spell.Suggest(name, names); hint != "" {
		return nil, fmt.Errorf("there is no metric %q%s", name, hint)
	}
	return nil, fmt.Errorf("there is no metric %q, want one of %s", name, strings.Join(names, ", "))
}
