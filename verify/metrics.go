package verify

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"thimble/internal/spell"
	"thimble/verify/metric"
	"thimble/verify/parity"
	"thimble/verify/tasks"
)

// Metrics holds all metrics of a Report. docs/NUMERICS.md has the formulas.
type Metrics struct {
	metric.Summary
	parity.Excess
	Integrity
	tasks.Metrics
}

// MetricTable lists the metrics of a Report, in its order. A gate can limit each of them
// by name.
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

// UnmarshalJSON reads metrics. Those that are missing, because an earlier version did
// not measure them, are unknown.
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

// metricNamed returns the metric called name.
func metricNamed(name string) (*metric.Entry[Metrics], error) {
	if e := metric.Find(MetricTable, name); e != nil {
		return e, nil
	}
	names := MetricNames()
	if hint := spell.Suggest(strings.ToLower(name), slices.Concat(names, slices.Sorted(maps.Keys(shortNames)))); hint != "" {
		return nil, fmt.Errorf("there is no metric %q%s", name, hint)
	}
	return nil, fmt.Errorf("there is no metric %q, want one of %s", name, strings.Join(names, ", "))
}
