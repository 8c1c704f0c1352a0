package verify

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"thimble/internal/defect"
)

// worstPrompts is how many prompts String lists.
const worstPrompts = 5

// String is the report for people: the verdict and its reason first, 80 columns
// wide.
func (r *Report) String() string {
	var b strings.Builder
	b.WriteString(r.verdict() + "\n")
	if r.Diagnosis != "" {
		b.WriteString(r.Diagnosis + "\n")
	}
	fmt.Fprintf(&b, "  model    %s%s\n", defect.Printable(r.Model.Path), r.Model.size())
	if text := r.Arithmetic.String(); text != float32Name {
		fmt.Fprintf(&b, "  with     %s\n", text)
	}
	if r.Against != "" {
		fmt.Fprintf(&b, "  against  %s\n", defect.Printable(r.Against))
	}
	if r.Policy != "" {
		fmt.Fprintf(&b, "  policy   %s\n", defect.Printable(r.Policy))
	}
	if r.Speed != nil {
		fmt.Fprintf(&b, "  speed    %v\n", r.Speed)
	}
	if len(r.Prompts) > 0 {
		b.WriteString("\n")
	}
	r.writeMetrics(&b)
	r.writeIntervals(&b)
	r.writeBaseline(&b)
	r.writePrompts(&b)
	r.writeTokens(&b)
	r.writeTasks(&b)
	r.writeContinuations(&b)
	r.writeStages(&b)
	r.writeLayers(&b)
	r.writeDivergence(&b)
	for _, n := range r.Notes {
		writeWrapped(&b, "note: "+n)
	}
	return b.String()
}

func (r *Report) verdict() string {
	if len(r.Gates) == 0 && !r.held() {
		return "MEASURED, no gate set"
	}
	var missed, met, open []string
	for _, c := range r.Gates {
		if c.Pass {
			met = append(met, fmt.Sprintf("%s %s", c.Metric, figure(c.Value)))
		} else {
			missed = append(missed, c.sentence())
		}
		if c.Undecided {
			open = append(open, "\nUNDECIDED  "+r.openText(&c))
		}
	}
	for _, f := range r.worse() {
		missed = append(missed, f.sentence())
	}
	if r.held() && r.worse() == nil {
		met = append(met, "nothing worse than the baseline")
	}
	undecided := strings.Join(open, "")
	switch {
	case r.Pass:
		return "PASS  " + strings.Join(met, ", ") + undecided
	case missed == nil:
		return "FAIL  on what is undecided" + undecided
	}
	return "FAIL  " + strings.Join(missed, "\nFAIL  ") + undecided
}

// openText says why c is undecided and what to do.
func (r *Report) openText(c *Check) string {
	return fmt.Sprintf("%s, %s:\n           %s", c.title(), r.mayBe(c), r.remedy(c))
}

// mayBe is what c's metric may be.
func (r *Report) mayBe(c *Check) string {
	return "it may be " + r.intervalText(c.Metric)
}

// remedy is what decides c.
func (r *Report) remedy(c *Check) string {
	n, what := r.sampled(c.Metric)
	text := "use more " + what
	if c.Tokens > 0 {
		text += fmt.Sprintf(", about %d instead of %d", c.Tokens, n)
	}
	return text
}

func (m *ModelInfo) size() string {
	if m.Bytes == 0 {
		return ""
	}
	s := fmt.Sprintf(", %.1f MB", float64(m.Bytes)/1e6)
	if m.BitsPerWeight > 0 {
		s += fmt.Sprintf(", %.2f bits per weight", m.BitsPerWeight)
	}
	return s
}

func (r *Report) writeMetrics(b *strings.Builder) {
	for i := range metrics {
		k := &metrics[i]
		v, ok := k.listed(&r.Metrics)
		if !ok {
			continue
		}
		var gates []string
		for _, c := range r.Gates {
			if c.Metric == k.name {
				state := "pass"
				if !c.Pass {
					state = "FAIL"
				}
				if c.Undecided {
					state += "?"
				}
				gates = append(gates, fmt.Sprintf("%s %s %s", c.Op, figure(Value(c.Limit)), state))
			}
		}
		line := fmt.Sprintf("  %-15s %10s  %-16s  %s", k.name, figure(v), strings.Join(gates, ", "), k.means)
		b.WriteString(strings.TrimRight(line, " ") + "\n")
	}
}

// writeIntervals gives the intervals in a paragraph.
func (r *Report) writeIntervals(b *strings.Builder) {
	var all []string
	for _, in := range r.Intervals {
		if taskMetricOf(in.Metric) == nil && !isPrefix(in.Metric) { // which are told elsewhere
			all = append(all, fmt.Sprintf("%s %s to %s", in.Metric, figure(in.Low), figure(in.High)))
		}
	}
	if len(all) == 0 {
		return
	}
	writeWrapped(b, fmt.Sprintf("95%% over the choice of %d prompts: %s", len(r.Prompts), strings.Join(all, "; ")))
}

// shownTokens is how many positions String lists of each kind.
const shownTokens = 3

// writeTokens lists the positions with the largest divergence, and the flips.
func (r *Report) writeTokens(b *strings.Builder) {
	if len(r.WorstTokens) > 0 {
		writeTokenTable(b, "worst tokens", r.WorstTokens)
	}
	if r.Flips != nil && r.Flips.Count > 0 {
		writeTokenTable(b, fmt.Sprintf("worst of %d flips", r.Flips.Count), r.Flips.Worst)
	}
}

// writeTokenTable has two lines for a token: with p and q, what reference and
// model give to the first choice of each, and what stands before it.
func writeTokenTable(b *strings.Builder, title string, tokens []Token) {
	fmt.Fprintf(b, "\n  %s\n  %6s %7s %9s  %-13s %5s %5s %-13s %5s %5s\n", title, "prompt", "at", "kl", "reference", "p", "q", "model", "p", "q")
	for _, t := range tokens[:min(len(tokens), shownTokens)] {
		fmt.Fprintf(b, "  %6d %7d %9s  %s %s\n", t.Prompt, t.Position, figure(t.KL), t.Reference.columns(), t.Model.columns())
		text := strings.Trim(fmt.Sprint(t.Before), "[]")
		if t.Text != "" {
			text = strconv.QuoteToGraphic(t.Text)
		}
		if runes := []rune(text); len(runes) > 60 {
			text = "..." + string(runes[len(runes)-57:])
		}
		fmt.Fprintf(b, "           after %s\n", text)
	}
}

// columns writes c with its two probabilities.
func (c *Choice) columns() string {
	text := strconv.Itoa(c.ID)
	if c.Text != "" {
		text = strconv.QuoteToGraphic(c.Text)
	}
	if runes := []rune(text); len(runes) > 13 {
		text = string(runes[:10]) + "..."
	}
	return fmt.Sprintf("%-13s %5s %5s", text, share(c.PReference), share(c.PModel))
}

// share writes a probability with three digits.
func share(p Value) string {
	if !p.Known() {
		return "-"
	}
	return strconv.FormatFloat(float64(p), 'f', 3, 64)
}

// writePrompts lists the prompts with the largest divergence, if there are
// several.
func (r *Report) writePrompts(b *strings.Builder) {
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
	if len(order) > worstPrompts {
		order = order[:worstPrompts]
		fmt.Fprintf(b, "\n  worst of %d prompts\n", len(r.Prompts))
	} else {
		b.WriteString("\n")
	}
	fmt.Fprintf(b, "  %6s %7s %10s %10s %7s %10s %10s\n", "prompt", "tokens", "kl_mean", "kl_max", "at", "top1", "ppl")
	for _, i := range order {
		p := &r.Prompts[i]
		fmt.Fprintf(b, "  %6d %7d %10s %10s %7d %10s %10s\n", i, p.Tokens, figure(p.KLMean), figure(p.KLMax), p.KLMaxAt,
			figure(p.Top1Agreement), figure(p.PPL))
	}
}

// figure writes v with four significant digits, or more where it is an integer.
func figure(v Value) string {
	switch {
	case !v.Known():
		return "-"
	case v > -1e9 && v < 1e9 && v == Value(int64(v)):
		return strconv.FormatInt(int64(v), 10)
	}
	return strconv.FormatFloat(float64(v), 'g', 4, 64)
}

// writeWrapped writes text in lines of up to 78 columns.
func writeWrapped(b *strings.Builder, text string) {
	column := 0
	for _, word := range strings.Fields(text) {
		switch {
		case column == 0:
			b.WriteString("\n  ")
			column = 2
		case column+1+len(word) > 78:
			b.WriteString("\n    ")
			column = 4
		default:
			b.WriteString(" ")
			column++
		}
		b.WriteString(word)
		column += len(word)
	}
	b.WriteString("\n")
}
