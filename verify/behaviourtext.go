package verify

import (
	"fmt"
	"html/template"
	"strconv"
	"strings"

	"thimble/internal/chart"
	"thimble/internal/defect"
)

// quoted is text in quotes, no longer than fits a line.
func quoted(text string) string { return beginning(strconv.QuoteToGraphic(text), 64, 61) }

// quotedEnd is quoted for a text whose end says more.
func quotedEnd(text string) string { return ending(strconv.QuoteToGraphic(text), 64, 61) }

// writeTasks gives the shares of tasks that are right, and some that are not.
func (r *Report) writeTasks(b *strings.Builder) {
	if r.Tasks == nil {
		return
	}
	fmt.Fprintf(b, "\n  %d tasks of %s\n", len(r.Tasks.Items), defect.Printable(baseName(r.Tasks.File)))
	against := r.Tasks.compared()
	if against {
		fmt.Fprintf(b, "  %-13s %5s %7s %9s %8s  %-19s %4s %4s\n", "metric", "tasks", "model", "reference", "change", "95% of the change", "lost", "won")
	} else {
		fmt.Fprintf(b, "  %-13s %5s %7s  %s\n", "metric", "tasks", "model", "95%")
	}
	for _, s := range r.Tasks.Scores {
		line := fmt.Sprintf("  %-13s %5d %7s", s.Metric, s.Items, figure(s.Model))
		if against {
			line += fmt.Sprintf(" %9s %8s  %-19s %4d %4d", figure(s.Reference), figure(s.Model-s.Reference), r.intervalText(s.Metric+changeSuffix), s.Lost, s.Won)
		} else {
			line += fmt.Sprintf("  %-19s %s", r.intervalText(s.Metric), taskMetricOf(s.Metric).means)
		}
		b.WriteString(line + "\n")
	}
	for _, e := range r.Tasks.Examples[:min(len(r.Tasks.Examples), shownTokens)] {
		fmt.Fprintf(b, "  %s\n    after     %s\n    expected  %s\n", e.title(against), quotedEnd(e.Prompt), quoted(e.Expected))
		if against {
			fmt.Fprintf(b, "    reference %s\n", quoted(e.Reference))
		}
		fmt.Fprintf(b, "    model     %s\n", quoted(e.Model))
	}
}

// compared says whether the tasks were put to a reference too.
func (s *Tasks) compared() bool { return len(s.Items) > 0 && s.Items[0].Reference != nil }

// title says which task e is and how it went.
func (e *TaskExample) title(against bool) string {
	how := map[bool]string{true: "lost", false: "won"}[e.Lost]
	if !against {
		how = "wrong"
	}
	return fmt.Sprintf("line %d, %s by %s", e.Line, how, e.Metric)
}

// writeContinuations says how far what the two models write agrees.
func (r *Report) writeContinuations(b *strings.Builder) {
	c := r.Continuations
	if c == nil {
		return
	}
	writeWrapped(b, r.continued())
	if len(c.Partings) > 0 {
		fmt.Fprintf(b, "\n  earliest partings\n  %6s %7s %9s  %-13s %5s %5s %-13s %5s %5s\n", "prompt", "at", "", "reference", "p", "q", "model", "p", "q")
	}
	for _, p := range c.Partings[:min(len(c.Partings), shownTokens)] {
		fmt.Fprintf(b, "  %6d %7d %9s  %s %s\n", p.Prompt, p.Prefix, "", p.Reference.columns(), p.Model.columns())
		if p.Text != "" {
			fmt.Fprintf(b, "    after     %s\n    reference %s\n    model     %s\n", quotedEnd(p.Text), quoted(p.ReferenceText), quoted(p.ModelText))
		}
	}
}

// continued is a sentence about the continuations.
func (r *Report) continued() string {
	n := len(r.Continuations.Prefixes)
	between := ""
	if r.intervalOf("prefix_mean") != nil {
		between = fmt.Sprintf(" (95%%: %s)", r.intervalText("prefix_mean"))
	}
	whole := 0
	for _, p := range r.Continuations.Prefixes {
		if p == r.Continuations.Tokens {
			whole++
		}
	}
	return fmt.Sprintf("continued by %d tokens, the likeliest each time, %d of %d prompts have the same text from both models; they part after %s tokens%s in the mean, %s in the median",
		r.Continuations.Tokens, whole, n, figure(r.Metrics.PrefixMean), between, figure(r.Metrics.PrefixMedian))
}

func (r *Report) markdownTasks(b *strings.Builder) {
	if r.Tasks == nil {
		return
	}
	t := markdownTable{b, "| " + code(baseName(r.Tasks.File)) + " | tasks | model | reference | change | 95 % interval of the change | lost | won |\n|---|---:|---:|---:|---:|---:|---:|---:|\n"}
	if !r.Tasks.compared() {
		t.head = "| " + code(baseName(r.Tasks.File)) + " | tasks | model | 95 % interval | |\n|---|---:|---:|---:|---|\n"
	}
	for _, s := range r.Tasks.Scores {
		if !r.Tasks.compared() {
			t.row(prose(s.Metric), strconv.Itoa(s.Items), figure(s.Model), r.intervalText(s.Metric), taskMetricOf(s.Metric).means)
			continue
		}
		t.row(prose(s.Metric), strconv.Itoa(s.Items), figure(s.Model), figure(s.Reference), figure(s.Model-s.Reference), r.intervalText(s.Metric+changeSuffix), strconv.Itoa(s.Lost), strconv.Itoa(s.Won))
	}
	if len(r.Tasks.Examples) == 0 {
		return
	}
	fmt.Fprintf(b, "\n<details><summary>Tasks</summary>\n")
	t = markdownTable{b, "| | after | expected | reference | model |\n|---|---|---|---|---|\n"}
	for _, e := range r.Tasks.Examples[:min(len(r.Tasks.Examples), markdownTokens)] {
		t.row(prose(e.title(r.Tasks.compared())), code(quotedEnd(e.Prompt)), code(quoted(e.Expected)), code(quoted(e.Reference)), code(quoted(e.Model)))
	}
	b.WriteString("\n</details>\n")
}

func (r *Report) markdownContinuations(b *strings.Builder) {
	if r.Continuations == nil {
		return
	}
	fmt.Fprintf(b, "\nGreedy text: %s.\n", prose(r.continued()))
	if len(r.Continuations.Partings) == 0 {
		return
	}
	fmt.Fprintf(b, "\n<details><summary>Earliest partings</summary>\n")
	t := markdownTable{b, "| prompt | at | after | reference, p and q | model, p and q | reference goes on | model goes on |\n|---:|---:|---|---|---|---|---|\n"}
	for _, p := range r.Continuations.Partings[:min(len(r.Continuations.Partings), markdownTokens)] {
		t.row(strconv.Itoa(p.Prompt), strconv.Itoa(p.Prefix), code(quotedEnd(p.Text)), p.Reference.markdown(), p.Model.markdown(), code(quoted(p.ReferenceText)), code(quoted(p.ModelText)))
	}
	b.WriteString("\n</details>\n")
}

// Against says whether the tasks have a reference beside them.
func (p *page) Against() bool { return p.Report.Tasks.compared() }

// Title is that of a TaskExample.
func (p *page) Title(e TaskExample) string { return e.title(p.Against()) }

// Interval is that of a metric of tasks, or of its change.
func (p *page) Interval(metric string, change bool) string {
	if change {
		metric += changeSuffix
	}
	return p.Report.intervalText(metric)
}

// Change is by how much a share of tasks is more than the reference's.
func (p *page) Change(s TaskScore) Value { return s.Model - s.Reference }

// Continued is what the continuations come to.
func (p *page) Continued() string { return p.Report.continued() }

// Means says what a metric of tasks is.
func (p *page) Means(metric string) string {
	if k := taskMetricOf(metric); k != nil {
		return k.means
	}
	return ""
}

// picture draws how many continuations part when.
func (c *Continuations) picture() template.HTML {
	if c == nil || len(c.Prefixes) < 2 {
		return ""
	}
	const bins = 16
	width := max(1, (c.Tokens+bins-1)/bins)
	n := (c.Tokens + width - 1) / width
	counts := make([]int, n+1) // the last are those that do not part
	for _, p := range c.Prefixes {
		if p == c.Tokens {
			counts[n]++
		} else {
			counts[p/width]++
		}
	}
	return template.HTML(c.columns(counts, width).SVG("prefixes"))
}

func (c *Continuations) columns(counts []int, width int) *chart.ColumnChart {
	picture := &chart.ColumnChart{
		Title: "Where texts part", About: "How many continuations part after how many tokens.",
		XAxis: "tokens before they part", YAxis: "prompts", Edges: []float64{0},
	}
	for i, n := range counts {
		from, to := i*width, min((i+1)*width, c.Tokens)
		about, mark := fmt.Sprintf("%d to %d tokens: %d", from, to-1, n), strconv.Itoa(from)
		if i == len(counts)-1 {
			about, mark = fmt.Sprintf("the same throughout: %d", n), "all"
		}
		if i%2 == 0 || i == len(counts)-1 {
			picture.Marks = append(picture.Marks, chart.Mark{At: i, Text: mark})
		}
		picture.Edges = append(picture.Edges, float64((i+1)*width))
		picture.Columns = append(picture.Columns, chart.Column{Value: float64(n), About: about})
	}
	return picture
}
