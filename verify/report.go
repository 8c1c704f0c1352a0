package verify

import (
	"slices"
	"strings"
	"time"

	"thimble/internal/device"
	"thimble/verify/metric"
	"thimble/verify/parity"
	"thimble/verify/reference"
	"thimble/verify/tasks"
)

// Schema is the version of Report's JSON, which docs/REPORT.md describes. Within a
// version, fields may be added, but none is renamed, removed or given another meaning.
const Schema = 1

// A Report is the outcome of a Run.
type Report struct {
	Schema     int            `json:"schema"`
	Tool       string         `json:"tool,omitempty"`   // program and version that measured
	Pass       bool           `json:"pass"`             // no gate was missed, and nothing is worse than the baseline
	Strict     bool           `json:"strict,omitempty"` // an undecided gate fails
	Gates      []Check        `json:"gates"`
	Expected   *Expectation   `json:"expected,omitempty"` // the default gates are derived from it
	Model      ModelInfo      `json:"model"`
	Arithmetic ArithmeticInfo `json:"arithmetic"`        // in which the model ran
	Against    string         `json:"against,omitempty"` // the reference, as the user named it

	AgainstFile   bool   `json:"against_file,omitempty"`   // the reference is a file of logits, not a model
	AgainstSHA256 string `json:"against_sha256,omitempty"` // hexadecimal, of its largest file
	PromptsSHA256 string `json:"prompts_sha256"`           // see digestOf
	Policy        string `json:"policy,omitempty"`         // the file with the gates, as the user named it

	Metrics     Metrics           `json:"metrics"`
	Intervals   []metric.Interval `json:"intervals,omitempty"` // 95 %; needs at least two prompts
	Bounds      []metric.Bound    `json:"bounds,omitempty"`    // of the metrics that a compact reference does not determine
	Prompts     []PromptReport    `json:"prompts"`
	KLHistogram *metric.Histogram `json:"kl_histogram,omitempty"` // of all positions, with a reference
	Flips       *Flips            `json:"flips,omitempty"`        // with a reference
	WorstTokens []Token           `json:"worst_tokens,omitempty"` // the largest divergences first
	Tasks       *tasks.Report     `json:"tasks,omitempty"`
	Notes       []string          `json:"notes,omitempty"` // what a reader of the figures must know

	Continuations *tasks.Continuations `json:"continuations,omitempty"`

	Diagnosis       string             `json:"diagnosis,omitempty"`        // whether rounding or a conversion error causes the difference, and which error, in one line
	FirstDivergence *parity.Divergence `json:"first_divergence,omitempty"` // the first operation that rounding does not explain
	Layers          []parity.Layer     `json:"layers,omitempty"`           // every operation of every step
	Stages          []Stage            `json:"stages,omitempty"`           // the cost of each stage, from Attribute

	Baseline *Baseline `json:"baseline,omitempty"` // changes since an earlier report, from CompareBaseline
	Speed    *Speed    `json:"speed,omitempty"`    // measured by bench

	// allowances holds by metric what the rounding of the reference's logits explains.
	allowances map[string]float64

	// PeakResident is the peak resident size of the process in bytes, mapped files included, if
	// the run has a bound for it and the system tells.
	PeakResident int64 `json:"peak_resident_bytes,omitempty"`

	// Elapsed is the duration of the run, for JUnit. Reports in other forms do not depend
	// on it, so that the same run gives the same bytes.
	Elapsed time.Duration `json:"-"`

	Tensors    []StoredTensor `json:"tensors,omitempty"`    // in the order of use, from Describe
	Provenance *Provenance    `json:"provenance,omitempty"` // from Describe
	Cost       *device.Cost   `json:"cost,omitempty"`       // on a phone, from Describe
}

// unrelated begins the Diagnosis of two models that differ in settings and diverge by
// unrelatedKL nats or more, which rounding and the usual mistakes seldom reach.
const (
	unrelated   = "model and reference look like different models"
	unrelatedKL = 2
)

// Unrelated reports whether Diagnosis says that model and reference look like different
// models.
func (r *Report) Unrelated() bool { return strings.HasPrefix(r.Diagnosis, unrelated) }

// addIntegrity adds what Prepare measured, whose notes begin with the settings that
// differ, if there are any.
func (r *Report) addIntegrity(i *Integrity, notes []string) {
	if i != nil {
		r.Metrics.Integrity = *i
	}
	if r.Metrics.SettingsDiffer > 0 && r.Metrics.KLMean >= unrelatedKL && len(notes) > 0 {
		r.Diagnosis, notes = unrelated+": "+notes[0], notes[1:]
	}
	r.Notes = append(r.Notes, notes...)
}

// ModelInfo identifies the model that was verified.
type ModelInfo struct {
	Path          string  `json:"path"`
	SHA256        string  `json:"sha256,omitempty"` // hexadecimal
	Bytes         int64   `json:"bytes"`
	BitsPerWeight float64 `json:"bits_per_weight"`
}

// A PromptReport holds the metrics of one prompt.
type PromptReport struct {
	Tokens        int          `json:"tokens"`
	KLMean        metric.Value `json:"kl_mean"`
	KLMax         metric.Value `json:"kl_max"`
	KLMaxAt       int          `json:"kl_max_position"` // -1 without a reference
	Top1Agreement metric.Value `json:"top1_agreement"`
	MaxAbs        metric.Value `json:"max_abs"`
	PPLReference  metric.Value `json:"ppl_reference"`
	PPL           metric.Value `json:"ppl"`
}

// Interval returns the interval of a metric, or nil if it has none.
func (r *Report) Interval(name string) *metric.Interval {
	i := slices.IndexFunc(r.Intervals, func(in metric.Interval) bool { return in.Metric == name })
	if i < 0 {
		return nil
	}
	return &r.Intervals[i]
}

// Bound returns the bounds of a metric, or nil if the reference determines it.
func (r *Report) Bound(name string) *metric.Bound {
	i := slices.IndexFunc(r.Bounds, func(b metric.Bound) bool { return b.Metric == name })
	if i < 0 {
		return nil
	}
	return &r.Bounds[i]
}

// Sample returns the number of items over which a metric is computed, and their unit.
func (r *Report) Sample(name string) (n int, unit metric.Unit) {
	switch e := metric.Find(MetricTable, name); {
	case e == nil:
	case e.Unit == metric.Tasks && r.Tasks != nil:
		share := strings.TrimSuffix(name, tasks.ChangeSuffix)
		for _, s := range r.Tasks.Scores {
			if s.Metric == share {
				n = s.Items
			}
		}
		return n, e.Unit
	case e.Unit == metric.Prompts && r.Continuations != nil:
		return len(r.Continuations.Prefixes), e.Unit
	}
	return r.Metrics.Tokens, metric.Tokens
}

// ProfilePositions is the number of positions for a Profile. A few suffice to show the
// error that an operation adds.
const ProfilePositions = 256

// ProfileTexts cuts prompts to ProfilePositions in total, for parity.Compare.
func ProfileTexts(prompts []reference.Prompt) (texts [][]int) {
	left := ProfilePositions
	for _, p := range prompts {
		if left == 0 {
			break
		}
		n := min(left, len(p.IDs))
		texts = append(texts, p.IDs[:n])
		left -= n
	}
	return texts
}

// addExpected adds the Expectation of the model, and sets the source of each gate: gates
// of an Expectation are default gates, and so is the one that is added to a policy.
func (r *Report) addExpected(o *Options) {
	for i := range r.Gates {
		switch c := &r.Gates[i]; {
		case o.Expected != nil || c.Gate == NoConversionError && o.Source != GateFlag:
			c.Source = GateDefault
		default:
			c.Source = o.Source
		}
	}
}

// addProfile adds the results of a Profile, if there is one.
func (r *Report) addProfile(p *parity.Profile) {
	if p == nil {
		return
	}
	r.Metrics.BeyondRounding = metric.Value(p.Worst)
	r.FirstDivergence, r.Diagnosis = p.Divergence, p.Diagnosis()
	if p.ShowLayers {
		r.Layers = p.Layers
	}
}
