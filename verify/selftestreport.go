package verify

import (
	"cmp"
	"fmt"
	"strings"

	"thimble/internal/defect"
)

// A SelfTestReport says which mistakes a SelfTest found.
type SelfTestReport struct {
	Pass       bool           `json:"pass"` // the unmodified model passed, and every mistake that applies was named
	Model      ModelInfo      `json:"model"`
	Arithmetic ArithmeticInfo `json:"arithmetic"`
	Against    string         `json:"against,omitempty"`
	Gates      []Gate         `json:"gates"`
	Tokens     int            `json:"tokens"` // positions scored for each
	Unmodified *Report        `json:"unmodified"`
	Apart      *Place         `json:"unmodified_apart,omitempty"` // where the model itself parts from its source by more than rounding
	Faults     []FaultReport  `json:"faults"`

	sourced bool // places were looked for against a source, too
}

// A FaultReport is what became of one mistake.
type FaultReport struct {
	Name         string `json:"name"`
	Inapplicable string `json:"does_not_apply,omitempty"` // why there is no room for it; nothing else is set then
	Pass         bool   `json:"pass"`                     // Found is where Want says, and FoundAgainst if there is one

	Noticed       bool    `json:"noticed"` // the gates failed
	Missed        []Check `json:"gates_missed,omitempty"`
	KLMean        Value   `json:"kl_mean"`
	Top1Agreement Value   `json:"top1_agreement"`
	Error         string  `json:"error,omitempty"` // of a run that gave no logits to judge

	Want  *Place `json:"made_at,omitempty"`
	Found *Place `json:"found_at,omitempty"`
	Cause string `json:"cause,omitempty"` // what is wrong there, in a line
	Note  string `json:"note,omitempty"`

	// Against is what Locate makes of it, which knows the source alone and allows for
	// rounding; empty where it was not asked, because there is no source or the fault
	// is not in what a model computes of a text at once.
	Against      AgainstSource `json:"against,omitempty"`
	FoundAgainst *Place        `json:"found_against,omitempty"` // nil if Against is Hidden
}

// AgainstSource is the outcome of a comparison with a source.
type AgainstSource string

const (
	AgainstFound  AgainstSource = "found"  // where it was made
	AgainstHidden AgainstSource = "hidden" // no more than rounding explains
	AgainstWrong  AgainstSource = "wrong"  // elsewhere
)

// count returns how many faults were made, how many of them found, how many of
// them the gates noticed, and how many a comparison with the source found.
func (r *SelfTestReport) count() (made, found, noticed, against int) {
	for _, f := range r.Faults {
		if f.Inapplicable != "" {
			continue
		}
		made++
		if f.Pass {
			found++
		}
		if f.Noticed {
			noticed++
		}
		if f.Against == AgainstFound {
			against++
		}
	}
	return made, found, noticed, against
}

// String is the report for people, 80 columns wide.
func (r *SelfTestReport) String() string {
	var b strings.Builder
	made, found, noticed, against := r.count()
	verdict := "PASS"
	if !r.Pass {
		verdict = "FAIL"
	}
	fmt.Fprintf(&b, "%s  %d of %d faults found where they were made; the gates saw %d", verdict, found, made, noticed)
	if r.sourced {
		fmt.Fprintf(&b, ", the source %d", against)
	}
	b.WriteString("\n")
	if !r.Unmodified.Pass {
		b.WriteString("FAIL  the unmodified model misses the gates\n")
	}
	if r.Apart != nil {
		fmt.Fprintf(&b, "FAIL  the unmodified model parts from its source at %v\n", r.Apart)
	}
	fmt.Fprintf(&b, "  model    %s%s\n", defect.Printable(r.Model.Path), r.Model.size())
	if text := r.Arithmetic.String(); text != float32Name {
		fmt.Fprintf(&b, "  with     %s\n", text)
	}
	if r.Against != "" {
		fmt.Fprintf(&b, "  against  %s\n", defect.Printable(r.Against))
	}
	gates := make([]string, len(r.Gates))
	for i, g := range r.Gates {
		gates[i] = g.String()
	}
	fmt.Fprintf(&b, "  gates    %s, over %d tokens\n\n", strings.Join(gates, ", "), r.Tokens)
	r.writeFaults(&b)
	r.writeRemarks(&b)
	return b.String()
}

func (r *SelfTestReport) writeFaults(b *strings.Builder) {
	row := func(fault string, kl, top1 Value, noticed bool, against, at string) {
		gates := "pass"
		if noticed {
			gates = "FAIL"
		}
		if r.sourced {
			gates = fmt.Sprintf("%-5s  %-7s", gates, against)
		}
		fmt.Fprintf(b, "  %-21s %9s %5s  %-5s  %s\n", fault, figure(kl), share(top1), gates, at)
	}
	head := "gates"
	if r.sourced {
		head = "gates  against"
	}
	fmt.Fprintf(b, "  %-21s %9s %5s  %s  found at\n", "fault", "kl_mean", "top1", head)
	m, apart := &r.Unmodified.Metrics, "same"
	if r.Apart != nil {
		apart = "APART"
	}
	row("none", m.KLMean, m.Top1Agreement, !r.Unmodified.Pass, apart, "-")
	for i := range r.Faults {
		if f := &r.Faults[i]; f.Inapplicable == "" {
			row(f.Name, f.KLMean, f.Top1Agreement, f.Noticed, cmp.Or(string(f.Against), "-"), f.place())
			if f.Cause != "" {
				fmt.Fprintf(b, "    %s\n", clipped(f.Cause, 76))
			}
		}
	}
}

// clipped is text in at most n characters.
func clipped(text string, n int) string {
	if runes := []rune(text); len(runes) > n {
		return string(runes[:n-3]) + "..."
	}
	return text
}

// place says where f was found, and where it was made if that is elsewhere.
func (f *FaultReport) place() string {
	switch {
	case f.Found == nil:
		return "MISSED: it is at " + f.Want.String()
	case f.Want.matches(*f.Found):
		return f.Want.seen(*f.Found).String()
	}
	return "WRONG: " + f.Found.String() + ", it is at " + f.Want.String()
}

// writeRemarks writes what the table has no room for, a paragraph for each reason.
func (r *SelfTestReport) writeRemarks(b *strings.Builder) {
	var order, away []string
	named := map[string][]string{}
	remark := func(text, name string) {
		if text != "" && named[text] == nil {
			order = append(order, text)
		}
		named[text] = append(named[text], name)
	}
	for _, f := range r.Faults {
		remark(f.Note, f.Name)
		remark(f.Error, f.Name)
		if f.Inapplicable != "" {
			away = append(away, fmt.Sprintf("%s (%s)", f.Name, f.Inapplicable))
		}
		if f.Against == AgainstWrong {
			remark(fmt.Sprintf("against the source found at %v", f.FoundAgainst), f.Name)
		}
	}
	for _, text := range order {
		writeWrapped(b, strings.Join(named[text], ", ")+": "+text)
	}
	if away != nil {
		writeWrapped(b, "does not apply: "+strings.Join(away, ", "))
	}
}
