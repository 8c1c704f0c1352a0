package render

import (
	"fmt"
	"slices"
	"strings"

	"thimble/internal/textwrap"
	"thimble/verify"
	"thimble/verify/metric"
)

// Headline is the first line of Text.
func Headline(r *verify.Report) string {
	var b strings.Builder
	writeVerdict(&b, r)
	first, _, _ := strings.Cut(b.String(), "\n")
	return first
}

// writeVerdict writes the outcome and its reasons. A caveat that changes what a pass
// means comes before the figures.
func writeVerdict(b *strings.Builder, r *verify.Report) {
	if r.Outcome() == verify.Measured {
		b.WriteString("MEASURED, no gate set\n")
		return
	}
	if r.Pass {
		writePassed(b, r)
	} else {
		writeMissed(b, r)
	}
	for i := range r.Gates {
		if c := &r.Gates[i]; c.Undecided && !failsByStrict(c) {
			writeOutcome(b, verify.Undecided, fmt.Sprintf("%s, it may be %s:", limitText(c), possibleText(r, c)))
			writeMore(b, verify.Undecided, remedy(r, c))
		}
	}
}

func writePassed(b *strings.Builder, r *verify.Report) {
	outcome := r.Outcome()
	var good []string
	for i := range r.Gates {
		c := &r.Gates[i]
		text := fmt.Sprintf("%s %s", c.Metric, c.Value.Short())
		if !(c.Source == verify.GateDefault && verify.IsIntegrity(c.Metric)) && !slices.Contains(good, text) {
			good = append(good, text)
		}
	}
	if r.Baseline.Compared() {
		good = append(good, "nothing worse than the baseline")
	}
	figures := strings.Join(good, ", ")
	if e := r.Expected; e != nil && e.Wreckage {
		writeOutcome(b, outcome, "but these gates only tell a wrecked model")
		writeMore(b, outcome, figures)
		writeMore(b, outcome, fmt.Sprintf("rounding alone explains KL %s", e.KLMean.Short()))
		writeMore(b, outcome, "set --gate 'kl<=0.1' --gate 'top1>=0.9' to judge quality")
		return
	}
	writeOutcome(b, outcome, figures)
	writeMore(b, outcome, tells(r))
}

// writeMissed writes a line for each reason to fail. What the default gates can tell
// follows the gates on divergence that failed.
func writeMissed(b *strings.Builder, r *verify.Report) {
	if r.Unrelated() {
		writeOutcome(b, verify.Missed, printable(r.Diagnosis))
	}
	divergence := false
	for i := range r.Gates {
		switch c := &r.Gates[i]; {
		case failsByStrict(c):
			writeOutcome(b, verify.Missed, fmt.Sprintf("(strict) %s %s meets %s %s, but may be %s:",
				c.Metric, c.Value.Short(), c.Op, metric.Value(c.Limit).Short(), possibleText(r, c)))
			writeMore(b, verify.Missed, remedy(r, c))
		case !c.Pass:
			writeOutcome(b, verify.Missed, sentence(c))
			divergence = divergence || !verify.IsIntegrity(c.Metric)
		}
	}
	if divergence {
		writeMore(b, verify.Missed, tells(r))
	}
	for _, f := range r.Baseline.Worse() {
		writeOutcome(b, verify.Missed, figureSentence(f))
	}
}

// writeOutcome writes a reason after its outcome, in lines of 80 columns.
func writeOutcome(b *strings.Builder, outcome, text string) {
	b.WriteString(outcome + "  ")
	textwrap.Write(b, text, len(outcome)+2, len(outcome)+2, 80)
}

// writeMore writes a text below that of writeOutcome, nothing for "".
func writeMore(b *strings.Builder, outcome, text string) {
	if text != "" {
		b.WriteString(strings.Repeat(" ", len(outcome)+2))
		textwrap.Write(b, text, len(outcome)+2, len(outcome)+2, 80)
	}
}

// failsByStrict reports whether c was met, but failed since it is undecided.
func failsByStrict(c *verify.Check) bool { return c.Pass && c.Outcome == verify.Missed }

// beyondReach is how many times the present sample a remedy proposes at most.
const beyondReach = 100

// remedy says what would decide a gate.
func remedy(r *verify.Report, c *verify.Check) string {
	n, unit := r.Sample(c.Metric)
	var ways []string
	switch reachable := c.Tokens > 0 && c.Tokens <= beyondReach*int64(n); {
	case c.ByReference:
		ways = []string{"use --against, or a reference that keeps more logits"}
	case !reachable:
		ways = []string{"the limit is too close to the value: loosen the gate"}
	case r.AgainstFile && unit == metric.Tokens:
		ways = []string{fmt.Sprintf("make a reference of about %d tokens instead of %d", c.Tokens, n), "or loosen the gate"}
	default:
		ways = []string{fmt.Sprintf("use more %s, about %d instead of %d", unit, c.Tokens, n)}
		if c.Outcome == verify.Missed {
			ways = append(ways, "or loosen the gate")
		}
	}
	if failsByStrict(c) {
		ways = append(ways, "or leave --strict out")
	}
	return strings.Join(ways, ", ")
}

// tells says what the default gates can tell, "" for other gates.
func tells(r *verify.Report) string {
	e := r.Expected
	switch {
	case e == nil:
		return ""
	case e.Wreckage:
		return fmt.Sprintf("these gates only tell a wrecked model: rounding alone explains KL %s", e.KLMean.Short())
	case !e.KLMean.Known():
		return fmt.Sprintf("these gates tell a mistake of more than %s in KL", e.Tells.Short())
	}
	return fmt.Sprintf("rounding explains KL %s; these gates tell a mistake of %s more", e.KLMean.Short(), e.Tells.Short())
}
