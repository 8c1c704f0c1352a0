package render

import (
	"cmp"
	"fmt"
	"strings"

	"thimble/internal/textwrap"
	"thimble/verify"
	"thimble/verify/metric"
	"thimble/verify/selftest"
)

// SelfTest is the report of a self-test for people, 80 columns wide.
func SelfTest(r *selftest.Report) string {
	var b strings.Builder
	n, verdict := r.Count(), verify.Passed
	if !r.Pass {
		verdict = verify.Missed
	}
	fmt.Fprintf(&b, "%s  %d of %d faults found where they were made; the gates saw %d", verdict, n.Found, n.Made, n.Noticed)
	if r.Sourced {
		fmt.Fprintf(&b, ", the source %d", n.Against)
	}
	b.WriteString("\n")
	if names := r.Overlooked(); names != nil {
		b.WriteString("FAIL  ")
		textwrap.Write(&b, "the gates in force miss: "+strings.Join(names, ", "), 6, 6, 78)
		if remedy := r.Remedy(); remedy != "" {
			b.WriteString("      ")
			textwrap.Write(&b, remedy, 6, 6, 78)
		}
	}
	if !r.Unmodified.Pass {
		b.WriteString("FAIL  the unmodified model misses the gates\n")
	}
	if r.Diverges != nil {
		fmt.Fprintf(&b, "FAIL  the unmodified model diverges from its source at %v\n", r.Diverges)
	}
	writeModel(&b, &r.Model, r.Arithmetic, r.Against)
	gates := make([]string, len(r.Gates))
	for i, g := range r.Gates {
		gates[i] = g.String()
	}
	fmt.Fprintf(&b, "  gates    %s, over %d tokens\n\n", strings.Join(gates, ", "), r.Tokens)
	writeFaults(&b, r)
	writeRemarks(&b, r)
	return b.String()
}

func writeFaults(b *strings.Builder, r *selftest.Report) {
	row := func(fault string, kl, top1 metric.Value, noticed bool, against, at string) {
		gates := "pass"
		if noticed {
			gates = verify.Missed
		}
		if r.Sourced {
			gates = fmt.Sprintf("%-5s  %-7s", gates, against)
		}
		fmt.Fprintf(b, "  %-21s %9s %5s  %-5s  %s\n", fault, kl.Short(), probability(top1), gates, at)
	}
	head := "gates"
	if r.Sourced {
		head = "gates  against"
	}
	fmt.Fprintf(b, "  %-21s %9s %5s  %s  found at\n", "fault", "kl_mean", "top1", head)
	m, against := &r.Unmodified.Metrics, "same"
	if r.Diverges != nil {
		against = "DIFFERS"
	}
	row("none", m.KLMean, m.Top1Agreement, !r.Unmodified.Pass, against, "-")
	for i := range r.Faults {
		f := &r.Faults[i]
		if f.Inapplicable != "" {
			continue
		}
		row(f.Name, f.KLMean, f.Top1Agreement, f.Noticed, cmp.Or(string(f.Against), "-"), foundAt(f))
		if f.Cause != "" {
			fmt.Fprintf(b, "    %s\n", textwrap.First(f.Cause, 76, 73))
		}
	}
}

// foundAt says where a fault was found, and where it was made if that is elsewhere.
func foundAt(f *selftest.Result) string {
	switch {
	case f.Found == nil:
		return "MISSED: it is at " + f.Want.String()
	case f.Want.Matches(*f.Found):
		return f.Want.Detail(*f.Found).String()
	}
	return "WRONG: " + f.Found.String() + ", it is at " + f.Want.String()
}

// writeRemarks writes what the table has no room for, a paragraph for each reason.
func writeRemarks(b *strings.Builder, r *selftest.Report) {
	var order, inapplicable []string
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
			inapplicable = append(inapplicable, fmt.Sprintf("%s (%s)", f.Name, f.Inapplicable))
		}
		if f.Against == selftest.AgainstWrong {
			remark(fmt.Sprintf("against the source found at %v", f.FoundAgainst), f.Name)
		}
	}
	for _, text := range order {
		writeParagraph(b, strings.Join(named[text], ", ")+": "+text)
	}
	if inapplicable != nil {
		writeParagraph(b, "does not apply: "+strings.Join(inapplicable, ", "))
	}
}
