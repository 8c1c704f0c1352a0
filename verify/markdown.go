package verify

import (
	"fmt"
	"strconv"
	"strings"
)

// markdownTokens is how many positions Markdown lists of each kind.
const markdownTokens = 5

// Markdown is the report for a job's summary, in GitHub's dialect.
func (r *Report) Markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, "## %s: %s\n\n", r.outcomeOfAll(), code(baseName(r.Model.Path)))
	for i := range r.Gates {
		if c := &r.Gates[i]; r.outcome(c) != passed {
			fmt.Fprintf(&b, "- **%s** %s\n", r.outcome(c), prose(r.reason(c)))
		}
	}
	for _, f := range r.worse() {
		fmt.Fprintf(&b, "- **%s** %s\n", missed, prose(f.sentence()))
	}
	if r.Diagnosis != "" {
		fmt.Fprintf(&b, "\n**Diagnosis** %s\n", inert(r.Diagnosis))
	}
	fmt.Fprintf(&b, "\n%s%s%s", code(r.Model.Path), r.Model.size(), r.beside())
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
		b.WriteString("; " + r.Speed.String())
	}
	b.WriteString("\n")
	r.markdownGates(&b)
	r.markdownBaseline(&b)
	r.markdownMetrics(&b)
	r.markdownTasks(&b)
	r.markdownContinuations(&b)
	r.markdownStages(&b)
	r.markdownTokens(&b)
	r.markdownStored(&b)
	for _, n := range r.Notes {
		fmt.Fprintf(&b, "\n> %s\n", inert(n))
	}
	if r.Model.SHA256 != "" {
		fmt.Fprintf(&b, "\nsha256 %s\n", code(r.Model.SHA256))
	}
	return b.String()
}

// beside is the arithmetic where it is not the usual one.
func (r *Report) beside() string {
	if text := r.Arithmetic.String(); text != float32Name {
		return ", with " + text
	}
	return ""
}

func (r *Report) markdownGates(b *strings.Builder) {
	if len(r.Gates) == 0 {
		return
	}
	t := markdownTable{b, "| gate | measured | 95 % interval | outcome |\n|---|---:|---:|---|\n"}
	for i := range r.Gates {
		c := &r.Gates[i]
		t.row(prose(c.title()), figure(c.Value), r.intervalText(c.Metric), r.outcome(c))
	}
}

func (r *Report) markdownMetrics(b *strings.Builder) {
	t := markdownTable{b, "| metric | value | 95 % interval | |\n|---|---:|---:|---|\n"}
	for i := range metrics {
		k := &metrics[i]
		if v, ok := k.listed(&r.Metrics); ok {
			t.row(prose(k.name), figure(v), r.intervalText(k.name), prose(k.means))
		}
	}
}

func (r *Report) markdownStages(b *strings.Builder) {
	t := markdownTable{b, "| stage | mean KL | added | top-1 | perplexity ratio |\n|---|---:|---:|---:|---:|\n"}
	for _, s := range r.Stages {
		t.row(inert(s.title()), figure(s.KLMean), figure(s.Added), figure(s.Top1), figure(s.PPLRatio))
	}
}

// markdownTokens lists worst positions and flips.
func (r *Report) markdownTokens(b *strings.Builder) {
	list := func(title string, tokens []Token) {
		fmt.Fprintf(b, "\n<details><summary>%s</summary>\n", title)
		t := markdownTable{b, "| prompt | at | KL | after | came | reference, p and q | model, p and q |\n|---:|---:|---:|---|---|---|---|\n"}
		for _, w := range tokens[:min(len(tokens), markdownTokens)] {
			next := "-"
			if w.Next >= 0 {
				next = code(spelled(w.NextText, w.Next))
			}
			t.row(strconv.Itoa(w.Prompt), strconv.Itoa(w.Position), figure(w.KL), code(w.after()), next, w.Reference.markdown(), w.Model.markdown())
		}
		b.WriteString("\n</details>\n")
	}
	if len(r.WorstTokens) > 0 {
		list("Worst tokens", r.WorstTokens)
	}
	if r.Flips != nil && r.Flips.Count > 0 {
		list(fmt.Sprintf("%d flips: the model's first choice is another, the surest first", r.Flips.Count), r.Flips.Worst)
	}
}

// after is what stands before the token that was predicted.
func (t *Token) after() string {
	if t.Text == "" {
		return strings.Trim(fmt.Sprint(t.Before), "[]")
	}
	return strconv.QuoteToGraphic(t.Text)
}

func (c *Choice) markdown() string {
	return fmt.Sprintf("%s %s %s", code(spelled(c.Text, c.ID)), share(c.PReference), share(c.PModel))
}

func (r *Report) markdownStored(b *strings.Builder) {
	if len(r.Tensors) == 0 {
		return
	}
	fmt.Fprintf(b, "\n<details><summary>How it is stored</summary>\n")
	t := markdownTable{b, "| tensors | kind | scheme | weights | bytes |\n|---:|---|---|---:|---:|\n"}
	for _, k := range r.kinds() {
		t.row(strconv.Itoa(k.Count), prose(k.Role), prose(k.Scheme), strconv.FormatInt(k.Weights, 10), strconv.FormatInt(k.Bytes, 10))
	}
	b.WriteString("\n</details>\n")
}

// A markdownTable writes its head, after an empty line, before the first row.
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

// code is text in a fixed font, whatever is in it: a character reference never has
// a meaning for Markdown, and in a code element nothing becomes a link, a mention
// or a formula.
func code(text string) string {
	return "<code>" + inert(text) + "</code>"
}

// inert is text with all its punctuation written by number.
func inert(text string) string {
	return byNumber(shown(text), func(rune) bool { return true })
}

// prose is text of ours, in which only what Markdown could take for its own is
// written by number.
func prose(text string) string {
	return byNumber(text, func(r rune) bool { return strings.ContainsRune("<>&|`*[]~$\\@", r) })
}

// byNumber writes the ASCII punctuation that is for so as character references.
func byNumber(text string, so func(rune) bool) string {
	var b strings.Builder
	for _, r := range text {
		punctuation := r > ' ' && r < 0x7f && !(r >= '0' && r <= '9' || r >= 'A' && r <= 'Z' || r >= 'a' && r <= 'z')
		if punctuation && so(r) {
			fmt.Fprintf(&b, "&#%d;", r)
		} else {
			b.WriteRune(r)
		}
	}
	return b.String()
}
