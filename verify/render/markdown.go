package render

import (
	"fmt"
	"strconv"
	"strings"

	"thimble/verify"
	"thimble/verify/metric"
	"thimble/verify/tasks"
)

// shownMarkdown is how many items of each kind Markdown lists.
const shownMarkdown = 5

// Markdown is a report for a job's summary, in GitHub's dialect.
func Markdown(r *verify.Report) string {
	var b strings.Builder
	fmt.Fprintf(&b, "## %s: %s\n\n", r.Outcome(), code(baseName(r.Model.Path)))
	for i := range r.Gates {
		if c := &r.Gates[i]; c.Outcome != verify.Passed {
			fmt.Fprintf(&b, "- **%s** %s\n", c.Outcome, prose(reason(r, c)))
		}
	}
	for _, f := range r.Baseline.Worse() {
		fmt.Fprintf(&b, "- **%s** %s\n", verify.Missed, prose(figureSentence(f)))
	}
	if r.Diagnosis != "" {
		fmt.Fprintf(&b, "\n**Diagnosis** %s\n", inert(r.Diagnosis))
	}
	fmt.Fprintf(&b, "\n%s%s%s", code(r.Model.Path), size(&r.Model), withArithmetic(r))
	if len(r.Prompts) > 0 {
		fmt.Fprintf(&b, ", %d tokens in %d prompts", r.Metrics.Tokens, len(r.Prompts))
	}
	if r.Against != "" {
		fmt.Fprintf(&b, ", against %s", code(r.Against))
	}
	if r.Policy != "" {
		fmt.Fprintf(&b, ", by %s", code(r.Policy))
	}
	if r.Speed != nil {
		b.WriteString("; " + speedText(r.Speed))
	}
	b.WriteString("\n")
	markdownGates(&b, r)
	markdownBaseline(&b, r)
	markdownMetrics(&b, r)
	markdownTasks(&b, r)
	markdownContinuations(&b, r)
	markdownStages(&b, r)
	markdownTokens(&b, r)
	markdownStored(&b, r)
	for _, n := range r.Notes {
		fmt.Fprintf(&b, "\n> %s\n", inert(n))
	}
	if r.Model.SHA256 != "" {
		fmt.Fprintf(&b, "\nsha256 %s\n", code(r.Model.SHA256))
	}
	return b.String()
}

// withArithmetic names the arithmetic, unless it rounds nothing.
func withArithmetic(r *verify.Report) string {
	if text := r.Arithmetic.String(); text != verify.Float32 {
		return ", with " + text
	}
	return ""
}

func markdownGates(b *strings.Builder, r *verify.Report) {
	if len(r.Gates) == 0 {
		return
	}
	t := markdownTable{b, "| gate | measured | 95 % interval | outcome |\n|---|---:|---:|---|\n"}
	for i := range r.Gates {
		c := &r.Gates[i]
		t.row(prose(limitText(c)), c.Value.Short(), intervalText(r, c.Metric), c.Outcome)
	}
}

func markdownMetrics(b *strings.Builder, r *verify.Report) {
	t := markdownTable{b, "| metric | value | 95 % interval | |\n|---|---:|---:|---|\n"}
	for _, e := range listed(r) {
		t.row(prose(e.Name), e.Of(&r.Metrics).Short(), intervalText(r, e.Name), prose(e.Means))
	}
}

func markdownStages(b *strings.Builder, r *verify.Report) {
	t := markdownTable{b, "| stage | mean KL | added | top-1 | perplexity ratio |\n|---|---:|---:|---:|---:|\n"}
	for i := range r.Stages {
		s := &r.Stages[i]
		t.row(inert(stageTitle(s)), s.KLMean.Short(), s.Added.Short(), s.Top1.Short(), s.PPLRatio.Short())
	}
}

// markdownTokens lists worst positions and flips.
func markdownTokens(b *strings.Builder, r *verify.Report) {
	list := func(title string, tokens []verify.Token) {
		fmt.Fprintf(b, "\n<details><summary>%s</summary>\n", title)
		t := markdownTable{b, "| prompt | at | KL | after | came | reference, p and q | model, p and q |\n|---:|---:|---:|---|---|---|---|\n"}
		for _, w := range tokens[:min(len(tokens), shownMarkdown)] {
			next := "-"
			if w.Next >= 0 {
				next = code(tokenText(w.NextText, w.Next))
			}
			t.row(strconv.Itoa(w.Prompt), strconv.Itoa(w.Position), w.KL.Short(), code(textBefore(&w)), next, choiceMarkdown(&w.Reference), choiceMarkdown(&w.Model))
		}
		b.WriteString("\n</details>\n")
	}
	if len(r.WorstTokens) > 0 {
		list("Worst tokens", r.WorstTokens)
	}
	if r.Flips != nil && r.Flips.Count > 0 {
		list(fmt.Sprintf("%d flips: the model's first choice differs, the surest first", r.Flips.Count), r.Flips.Worst)
	}
}

// choiceMarkdown writes a choice with its two probabilities.
func choiceMarkdown(c *metric.Choice) string {
	return fmt.Sprintf("%s %s %s", code(tokenText(c.Text, c.ID)), probability(c.PReference), probability(c.PModel))
}

func markdownStored(b *strings.Builder, r *verify.Report) {
	if len(r.Tensors) == 0 {
		return
	}
	fmt.Fprintf(b, "\n<details><summary>How it is stored</summary>\n")
	t := markdownTable{b, "| tensors | kind | scheme | weights | bytes |\n|---:|---|---|---:|---:|\n"}
	for _, k := range storedKinds(r.Tensors) {
		t.row(strconv.Itoa(k.Count), prose(k.Role), prose(k.Scheme), strconv.FormatInt(k.Weights, 10), strconv.FormatInt(k.Bytes, 10))
	}
	b.WriteString("\n</details>\n")
}

// markdownBaseline is the table of what has changed.
func markdownBaseline(b *strings.Builder, r *verify.Report) {
	if r.Baseline == nil {
		return
	}
	fmt.Fprintf(b, "\nBaseline %s", code(r.Baseline.Path))
	if state := fileState(r.Baseline); state != "" {
		b.WriteString(", " + state)
	}
	b.WriteString("\n")
	t := markdownTable{b, "| figure | was | is | change | 95 %, or all runs | allowed | outcome |\n|---|---:|---:|---:|---:|---:|---|\n"}
	for i := range r.Baseline.Figures {
		f := &r.Baseline.Figures[i]
		outcome := f.Outcome
		if outcome == verify.Worse {
			outcome = "**worse**"
		}
		t.row(prose(f.Name), f.Before.Short(), f.Now.Short(), changeText(f), spreadText(f), allowedText(f), outcome)
	}
}

func markdownTasks(b *strings.Builder, r *verify.Report) {
	if r.Tasks == nil {
		return
	}
	against := compared(r.Tasks)
	t := markdownTable{b, "| " + code(baseName(r.Tasks.File)) + " | tasks | model | reference | change | 95 % interval of the change | lost | won |\n|---|---:|---:|---:|---:|---:|---:|---:|\n"}
	if !against {
		t.head = "| " + code(baseName(r.Tasks.File)) + " | tasks | model | 95 % interval | |\n|---|---:|---:|---:|---|\n"
	}
	for _, s := range r.Tasks.Scores {
		if !against {
			t.row(prose(s.Metric), strconv.Itoa(s.Items), s.Model.Short(), intervalText(r, s.Metric), meaning(s.Metric))
			continue
		}
		t.row(prose(s.Metric), strconv.Itoa(s.Items), s.Model.Short(), s.Reference.Short(), (s.Model - s.Reference).Short(),
			intervalText(r, s.Metric+tasks.ChangeSuffix), strconv.Itoa(s.Lost), strconv.Itoa(s.Won))
	}
	if len(r.Tasks.Examples) == 0 {
		return
	}
	fmt.Fprintf(b, "\n<details><summary>Tasks</summary>\n")
	t = markdownTable{b, "| | after | expected | reference | model |\n|---|---|---|---|---|\n"}
	for i := range r.Tasks.Examples[:min(len(r.Tasks.Examples), shownMarkdown)] {
		e := &r.Tasks.Examples[i]
		t.row(prose(exampleTitle(e, against)), code(quotedEnd(e.Prompt)), code(quoted(e.Expected)), code(quoted(e.Reference)), code(quoted(e.Model)))
	}
	b.WriteString("\n</details>\n")
}

func markdownContinuations(b *strings.Builder, r *verify.Report) {
	if r.Continuations == nil {
		return
	}
	fmt.Fprintf(b, "\nGreedy text: %s.\n", prose(continued(r)))
	all := r.Continuations.Divergences
	if len(all) == 0 {
		return
	}
	fmt.Fprintf(b, "\n<details><summary>Earliest divergences</summary>\n")
	t := markdownTable{b, "| prompt | at | after | reference, p and q | model, p and q | reference continues | model continues |\n|---:|---:|---|---|---|---|---|\n"}
	for _, d := range all[:min(len(all), shownMarkdown)] {
		t.row(strconv.Itoa(d.Prompt), strconv.Itoa(d.Prefix), code(quotedEnd(d.Text)), choiceMarkdown(&d.Reference), choiceMarkdown(&d.Model), code(quoted(d.ReferenceText)), code(quoted(d.ModelText)))
	}
	b.WriteString("\n</details>\n")
}

// A markdownTable writes an empty line and its head before the first row.
type markdownTable struct {
	b    *strings.Builder
	head string
}

func (t *markdownTable) row(cells ...string) {
	if t.head != "" {
		t.b.WriteString("\n" + t.head)
		t.head = ""
	}
	t.b.WriteString("| " + strings.Join(cells, " | ") + " |\n")
}

// code is text in a fixed font, whatever it holds: Markdown gives a character
// reference no meaning, and in a code element nothing becomes a link, a mention or
// a formula.
func code(text string) string {
	return "<code>" + references(printable(text), acts) + "</code>"
}

// inert is text that others chose, outside a code element: there, punctuation at the
// start could make a list or a heading.
func inert(text string) string {
	text = printable(text)
	start := strings.IndexFunc(text, func(r rune) bool { return r == ' ' || isAlphanumeric(r) && !(r >= '0' && r <= '9') })
	if start < 0 {
		start = len(text)
	}
	return references(text, func(text string, i int) bool { return i < start || acts(text, i) })
}

// prose is text of ours. Only what Markdown could interpret becomes a character
// reference.
func prose(text string) string {
	return references(text, func(text string, i int) bool { return strings.IndexByte("<>&|`*[]~$\\@", text[i]) >= 0 })
}

// harmless is the punctuation that means nothing to Markdown and HTML inside a line.
const harmless = "./-,;()'\"=+%?"

// acts reports whether the punctuation at text[i] could have a meaning in Markdown. An
// underscore inside a word has none; the point of "www." makes a link.
func acts(text string, i int) bool {
	switch c := text[i]; {
	case c == '_':
		return i == 0 || i+1 == len(text) || !isAlphanumeric(rune(text[i-1])) || !isAlphanumeric(rune(text[i+1]))
	case c == '.':
		return i >= 3 && strings.EqualFold(text[i-3:i], "www")
	default:
		return strings.IndexByte(harmless, c) < 0
	}
}

// references replaces the ASCII punctuation for which replaced returns true by
// character references.
func references(text string, replaced func(text string, i int) bool) string {
	var b strings.Builder
	for i, r := range text {
		if r > ' ' && r < 0x7f && !isAlphanumeric(r) && replaced(text, i) {
			fmt.Fprintf(&b, "&#%d;", r)
		} else {
			b.WriteRune(r)
		}
	}
	return b.String()
}

func isAlphanumeric(r rune) bool {
	return r >= '0' && r <= '9' || r >= 'A' && r <= 'Z' || r >= 'a' && r <= 'z'
}
