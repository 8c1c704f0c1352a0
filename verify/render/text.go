// Package render writes the reports of packages verify and selftest: as text for a
// terminal, as Markdown for the summary of a job, as a page of HTML, as JUnit's XML
// and as annotations of GitHub Actions. Each form is a function of a plain report.
//
// Reports hold texts that others chose: paths, tokens, what models wrote. Each form
// escapes them, so that none can act on a terminal, a browser or a job.
// docs/REPORT.md describes the forms.
package render

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"thimble/internal/defect"
	"thimble/internal/textwrap"
	"thimble/internal/units"
	"thimble/verify"
	"thimble/verify/metric"
)

const (
	shownPrompts = 5 // that Text lists
	shownTokens  = 3 // that Text lists of each kind
)

// Text is a report for people: the verdict and its reason first, 80 columns wide.
func Text(r *verify.Report) string {
	var b strings.Builder
	writeVerdict(&b, r)
	if r.Diagnosis != "" && !r.Unrelated() {
		b.WriteString(r.Diagnosis + "\n")
	}
	writeModel(&b, &r.Model, r.Arithmetic, r.Against)
	if r.Policy != "" {
		fmt.Fprintf(&b, "  policy   %s\n", defect.Printable(r.Policy))
	}
	if r.PeakResident > 0 {
		fmt.Fprintf(&b, "  memory   %s at its peak, mapped files included\n", units.Size(r.PeakResident))
	}
	if r.Speed != nil {
		fmt.Fprintf(&b, "  speed    %s\n", speedText(r.Speed))
	}
	if len(r.Prompts) > 0 {
		b.WriteString("\n")
	}
	writeMetrics(&b, r)
	writeIntervals(&b, r)
	writeBaseline(&b, r.Baseline)
	writePrompts(&b, r)
	writeTokens(&b, r)
	writeTasks(&b, r)
	writeContinuations(&b, r)
	writeStages(&b, r.Stages)
	writeLayers(&b, r)
	writeDivergence(&b, r.FirstDivergence)
	for _, n := range r.Notes {
		writeParagraph(&b, "note: "+n)
	}
	return b.String()
}

// writeModel writes what was measured, and against what.
func writeModel(b *strings.Builder, m *verify.ModelInfo, a verify.ArithmeticInfo, against string) {
	fmt.Fprintf(b, "  model    %s%s\n", defect.Printable(m.Path), size(m))
	if text := a.String(); text != verify.Float32 {
		fmt.Fprintf(b, "  with     %s\n", text)
	}
	if against != "" {
		fmt.Fprintf(b, "  against  %s\n", defect.Printable(against))
	}
}

func writeMetrics(b *strings.Builder, r *verify.Report) {
	for _, e := range listed(r) {
		var gates []string
		for _, c := range r.Gates {
			if c.Metric != e.Name {
				continue
			}
			state := "pass"
			if !c.Pass {
				state = "FAIL"
			}
			if c.Pass && c.Undecided {
				state = verify.Undecided
			}
			gates = append(gates, fmt.Sprintf("%s %s %s", c.Op, metric.Value(c.Limit).Short(), state))
		}
		line := fmt.Sprintf("  %-15s %10s  %-16s", e.Name, e.Of(&r.Metrics).Short(), strings.Join(gates, ", "))
		if len(line)+2+len(e.Means) <= 80 {
			line += "  " + e.Means
		}
		b.WriteString(strings.TrimRight(line, " ") + "\n")
	}
}

// writeIntervals gives the intervals of positions in a paragraph.
func writeIntervals(b *strings.Builder, r *verify.Report) {
	var all []string
	for _, in := range r.Intervals {
		if e := metric.Find(verify.MetricTable, in.Metric); e == nil || e.Unit == metric.Tokens { // the others are with their tasks
			all = append(all, fmt.Sprintf("%s %s to %s", in.Metric, in.Low.Short(), in.High.Short()))
		}
	}
	if len(all) > 0 {
		writeParagraph(b, fmt.Sprintf("95%% over the choice of %d prompts: %s", len(r.Prompts), strings.Join(all, "; ")))
	}
}

// writePrompts lists the prompts with the largest divergence, if there are
// several.
func writePrompts(b *strings.Builder, r *verify.Report) {
	if len(r.Prompts) < 2 || !r.Metrics.KLMean.Known() {
		return
	}
	order := make([]int, len(r.Prompts))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(i, j int) int {
		switch a, c := r.Prompts[i].KLMean, r.Prompts[j].KLMean; {
		case a > c:
			return -1
		case a < c:
			return 1
		}
		return 0
	})
	if len(order) > shownPrompts {
		order = order[:shownPrompts]
		fmt.Fprintf(b, "\n  worst of %d prompts, by KL\n", len(r.Prompts))
	} else {
		b.WriteString("\n")
	}
	fmt.Fprintf(b, "  %6s %7s %10s %10s %7s %10s %10s\n", "prompt", "tokens", "kl_mean", "kl_max", "at", "top1", "ppl")
	for _, i := range order {
		p := &r.Prompts[i]
		fmt.Fprintf(b, "  %6d %7d %10s %10s %7d %10s %10s\n", i, p.Tokens, p.KLMean.Short(), p.KLMax.Short(), p.KLMaxAt,
			p.Top1Agreement.Short(), p.PPL.Short())
	}
}

// writeTokens lists the positions with the largest divergence, and the flips.
func writeTokens(b *strings.Builder, r *verify.Report) {
	if len(r.WorstTokens) > 0 {
		writeTokenTable(b, "worst tokens", r.WorstTokens)
	}
	if r.Flips != nil && r.Flips.Count > 0 {
		writeTokenTable(b, fmt.Sprintf("worst of %d flips", r.Flips.Count), r.Flips.Worst)
	}
}

// writeTokenTable writes two lines for each token: the first choices of reference
// and model with the probabilities p and q that the two give to it, and the text
// before it.
func writeTokenTable(b *strings.Builder, title string, tokens []verify.Token) {
	fmt.Fprintf(b, "\n  %s\n  %6s %7s %9s  %-13s %5s %5s %-13s %5s %5s\n", title, "prompt", "at", "kl", "reference", "p", "q", "model", "p", "q")
	for _, t := range tokens[:min(len(tokens), shownTokens)] {
		fmt.Fprintf(b, "  %6d %7d %9s  %s %s\n", t.Prompt, t.Position, t.KL.Short(), choiceColumns(&t.Reference), choiceColumns(&t.Model))
		fmt.Fprintf(b, "           after %s\n", textwrap.Last(textBefore(&t), 60, 57))
	}
}

// textBefore is the text before the token that was predicted, or its ids.
func textBefore(t *verify.Token) string {
	if t.Text == "" {
		return strings.Trim(fmt.Sprint(t.Before), "[]")
	}
	return strconv.QuoteToGraphic(t.Text)
}

// choiceColumns writes a choice with its two probabilities.
func choiceColumns(c *metric.Choice) string {
	return fmt.Sprintf("%s %5s %5s", textwrap.Pad(textwrap.First(tokenText(c.Text, c.ID), 13, 10), 13), probability(c.PReference), probability(c.PModel))
}

// probability writes a probability with three decimals.
func probability(p metric.Value) string {
	if !p.Known() {
		return "-"
	}
	return strconv.FormatFloat(float64(p), 'f', 3, 64)
}

// writeParagraph writes text in lines of up to 78 columns, after an empty one.
func writeParagraph(b *strings.Builder, text string) {
	b.WriteString("\n  ")
	textwrap.Write(b, text, 2, 4, 78)
}
