package selftest

import (
	"thimble/verify"
	"thimble/verify/metric"
)

// A Report lists the faults of a self-test and whether it found them.
// render.SelfTest writes the report for people.
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

	Sourced bool `json:"-"` // copies were also compared with a source
}

// A Result is the outcome of one fault.
type Result struct {
	Name         string `json:"name"`
	Inapplicable string `json:"does_not_apply,omitempty"` // why the fault cannot be made; if set, nothing else is
	Pass         bool   `json:"pass"`                     // Noticed is set, and Found and any FoundAgainst match Want

	Noticed       bool           `json:"noticed"`           // the gates failed, or verify refused the file
	Refused       string         `json:"refused,omitempty"` // why verify refuses such a file before it measures anything
	Missed        []verify.Check `json:"gates_missed,omitempty"`
	KLMean        metric.Value   `json:"kl_mean"`
	Top1Agreement metric.Value   `json:"top1_agreement"`
	Error         string         `json:"error,omitempty"` // the error of a run that returned no logits to judge

	Want  *Place `json:"made_at,omitempty"`
	Found *Place `json:"found_at,omitempty"`
	Cause string `json:"cause,omitempty"` // the mistake at that place, in one line
	Note  string `json:"note,omitempty"`

	// Against is the result of parity.Locate, which has only the source to compare
	// with, and allows for rounding. It is empty if there is no source, and for
	// faults that do not change the result of running a whole text at once.
	Against      AgainstSource `json:"against,omitempty"`
	FoundAgainst *Place        `json:"found_against,omitempty"` // nil for AgainstHidden
}

// AgainstSource is the outcome of a comparison with a source.
type AgainstSource string

const (
	AgainstFound  AgainstSource = "found"  // found where it was made
	AgainstHidden AgainstSource = "hidden" // not found: rounding explains the errors
	AgainstWrong  AgainstSource = "wrong"  // reported in another place
)

// A Count sums up the Results of the faults that apply.
type Count struct {
	Made    int
	Found   int // located where they were made
	Noticed int // noticed by the gates
	Against int // located by a comparison with the source
}

// Remedy returns advice that would let the gates notice more faults, or "".
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

// Count counts the Results of r.
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
