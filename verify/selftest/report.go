package selftest

import (
	"thimble/verify"
	"thimble/verify/metric"
)

// A Report says which faults a self-test found. render.SelfTest writes it for
// people.
type Report struct {
	Pass       bool                  `json:"pass"` // the unmodified model passed, and every fault that applies was noticed and named
	Model      verify.ModelInfo      `json:"model"`
	Arithmetic verify.ArithmeticInfo `json:"arithmetic"`
	Against    string                `json:"against,omitempty"`
	Gates      []verify.Gate         `json:"gates"`
	Tokens     int                   `json:"tokens"` // positions scored for each fault
	Unmodified *verify.Report        `json:"unmodified"`
	Diverges   *Place                `json:"unmodified_apart,omitempty"` // where the unmodified model itself differs from its source by more than rounding
	Faults     []Result              `json:"faults"`

	Sourced bool `json:"-"` // copies were compared with a source too
}

// A Result says what became of one fault.
type Result struct {
	Name         string `json:"name"`
	Inapplicable string `json:"does_not_apply,omitempty"` // why it cannot be made; nothing else is set then
	Pass         bool   `json:"pass"`                     // Noticed, Found matches Want, and FoundAgainst does if there is one

	Noticed       bool           `json:"noticed"`           // the gates failed, or verify refuses the file
	Refused       string         `json:"refused,omitempty"` // why verify refuses such a file before it measures
	Missed        []verify.Check `json:"gates_missed,omitempty"`
	KLMean        metric.Value   `json:"kl_mean"`
	Top1Agreement metric.Value   `json:"top1_agreement"`
	Error         string         `json:"error,omitempty"` // of a run that gave no logits to judge

	Want  *Place `json:"made_at,omitempty"`
	Found *Place `json:"found_at,omitempty"`
	Cause string `json:"cause,omitempty"` // what is wrong there, in one line
	Note  string `json:"note,omitempty"`

	// Against is what parity.Locate finds, which only has the source and allows for
	// rounding. It is empty if there is no source, and for faults that do not show in
	// what a model computes of a whole text.
	Against      AgainstSource `json:"against,omitempty"`
	FoundAgainst *Place        `json:"found_against,omitempty"` // nil for AgainstHidden
}

// AgainstSource is the outcome of a comparison with a source.
type AgainstSource string

const (
	AgainstFound  AgainstSource = "found"  // where it was made
	AgainstHidden AgainstSource = "hidden" // no more than rounding explains
	AgainstWrong  AgainstSource = "wrong"  // elsewhere
)

// A Count sums up the Results of the faults that apply.
type Count struct {
	Made    int
	Found   int // where they were made
	Noticed int // by the gates
	Against int // by a comparison with the source
}

// Remedy says what would let the gates notice more, "" for nothing.
func (r *Report) Remedy() string {
	if r.Unmodified.Expected == nil || r.Unmodified.Metrics.SettingsDiffer.Known() {
		return ""
	}
	return "the reference records no settings of its model, which tell a wrong epsilon at any number of bits: write it with thimble logits or docs/compact_reference.py, or give --against SRC"
}

// Overlooked lists the faults that the gates in force miss.
func (r *Report) Overlooked() (names []string) {
	for _, f := range r.Faults {
		if f.Inapplicable == "" && !f.Noticed {
			names = append(names, f.Name)
		}
	}
	return names
}

// Count sums r up.
func (r *Report) Count() (c Count) {
	for _, f := range r.Faults {
		if f.Inapplicable != "" {
			continue
		}
		c.Made++
		if f.Found != nil && f.Want.Matches(*f.Found) {
			c.Found++
		}
		if f.Noticed {
			c.Noticed++
		}
		if f.Against == AgainstFound {
			c.Against++
		}
	}
	return c
}
