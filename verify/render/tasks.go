package render

import (
	"fmt"
	"strings"

	"thimble/internal/defect"
	"thimble/verify"
	"thimble/verify/metric"
	"thimble/verify/tasks"
)

// writeTasks gives the shares of tasks that are right, and some examples.
func writeTasks(b *strings.Builder, r *verify.Report) {
	if r.Tasks == nil {
		return
	}
	fmt.Fprintf(b, "\n  %d tasks of %s\n", len(r.Tasks.Items), defect.Printable(baseName(r.Tasks.File)))
	against := compared(r.Tasks)
	if against {
		fmt.Fprintf(b, "  %-13s %5s %7s %9s %8s  %-19s %4s %4s\n", "metric", "tasks", "model", "reference", "change", "95% of the change", "lost", "won")
	} else {
		fmt.Fprintf(b, "  %-13s %5s %7s  %s\n", "metric", "tasks", "model", "95%")
	}
	for _, s := range r.Tasks.Scores {
		line := fmt.Sprintf("  %-13s %5d %7s", s.Metric, s.Items, s.Model.Short())
		if against {
			line += fmt.Sprintf(" %9s %8s  %-19s %4d %4d", s.Reference.Short(), (s.Model - s.Reference).Short(), intervalText(r, s.Metric+tasks.ChangeSuffix), s.Lost, s.Won)
		} else {
			line += fmt.Sprintf("  %-19s %s", intervalText(r, s.Metric), meaning(s.Metric))
		}
		b.WriteString(line + "\n")
	}
	for i := range r.Tasks.Examples[:min(len(r.Tasks.Examples), shownTokens)] {
		e := &r.Tasks.Examples[i]
		fmt.Fprintf(b, "  %s\n    after     %s\n    expected  %s\n", exampleTitle(e, against), quotedEnd(e.Prompt), quoted(e.Expected))
		if against {
			fmt.Fprintf(b, "    reference %s\n", quoted(e.Reference))
		}
		fmt.Fprintf(b, "    model     %s\n", quoted(e.Model))
	}
}

// compared reports whether a reference did the tasks too.
func compared(r *tasks.Report) bool { return len(r.Items) > 0 && r.Items[0].Reference != nil }

// meaning says what a metric of tasks is.
func meaning(name string) string {
	if e := metric.Find(tasks.Table, name); e != nil {
		return e.Means
	}
	return ""
}

// exampleTitle says which task e is and how it went.
func exampleTitle(e *tasks.Example, against bool) string {
	how := map[bool]string{true: "lost", false: "won"}[e.Lost]
	if !against {
		how = "wrong"
	}
	return fmt.Sprintf("line %d, %s by %s", e.Line, how, e.Metric)
}

// writeContinuations says how far the texts of the two models agree.
func writeContinuations(b *strings.Builder, r *verify.Report) {
	c := r.Continuations
	if c == nil {
		return
	}
	writeParagraph(b, continued(r))
	if len(c.Divergences) > 0 {
		fmt.Fprintf(b, "\n  earliest divergences\n  %6s %7s %9s  %-13s %5s %5s %-13s %5s %5s\n", "prompt", "at", "", "reference", "p", "q", "model", "p", "q")
	}
	for _, d := range c.Divergences[:min(len(c.Divergences), shownTokens)] {
		fmt.Fprintf(b, "  %6d %7d %9s  %s %s\n", d.Prompt, d.Prefix, "", choiceColumns(&d.Reference), choiceColumns(&d.Model))
		if d.Text != "" {
			fmt.Fprintf(b, "    after     %s\n    reference %s\n    model     %s\n", quotedEnd(d.Text), quoted(d.ReferenceText), quoted(d.ModelText))
		}
	}
}

// continued is a sentence about the continuations.
func continued(r *verify.Report) string {
	interval := ""
	if r.Interval("prefix_mean") != nil {
		interval = fmt.Sprintf(" (95%%: %s)", intervalText(r, "prefix_mean"))
	}
	whole := 0
	for _, n := range r.Continuations.Prefixes {
		if n == r.Continuations.Tokens {
			whole++
		}
	}
	return fmt.Sprintf("continued by %d tokens, the likeliest each time, %d of %d prompts have the same text from both models; they diverge after %s tokens%s in the mean, %s in the median",
		r.Continuations.Tokens, whole, len(r.Continuations.Prefixes), r.Metrics.PrefixMean.Short(), interval, r.Metrics.PrefixMedian.Short())
}
