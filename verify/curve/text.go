package curve

import (
	"fmt"
	"strconv"
	"strings"

	"thimble/internal/defect"
	"thimble/internal/label"
	"thimble/internal/table"
	"thimble/internal/textwrap"
	"thimble/internal/units"
)

// kl formats a divergence with two or three significant digits.
func kl(v Value) string {
	switch x := float64(v); {
	case !v.Known():
		return "-"
	case x >= 0.1 && x < 100:
		return strconv.FormatFloat(x, 'f', 3, 64)
	case x >= 0.01:
		return strconv.FormatFloat(x, 'f', 4, 64)
	case x >= 0.0001:
		return strconv.FormatFloat(x, 'f', 5, 64)
	}
	return strconv.FormatFloat(float64(v), 'e', 1, 64)
}

func percent(v Value) string    { return known(v, "%.1f%%", 100) }
func ratio(v Value) string      { return known(v, "%.2f%%", 100) }
func perplexity(v Value) string { return known(v, "%.2f", 1) }

// known formats v times scale, or a dash for an unknown figure.
func known(v Value, format string, scale float64) string {
	if !v.Known() {
		return "-"
	}
	return fmt.Sprintf(format, scale*float64(v))
}

// optional formats a figure that may be unknown.
func optional(v *float64, format func(Value) string) string {
	if v == nil {
		return "-"
	}
	return format(Value(*v))
}

func megabytes(n float64) string {
	digits := 1
	if n < 10e6 {
		digits = 3
	}
	return strconv.FormatFloat(n/1e6, 'f', digits, 64)
}

// quality returns the table of the files' measurements on one text.
func (r *Report) quality(text int) *table.Table {
	t := table.New("file", "MB", "mean KL", "KL 99%", "top-1", "perplexity", "of the original's")
	for _, row := range r.Rows {
		m := row.Measured[text]
		t.Add(row.Name, megabytes(float64(row.Size())), kl(m.KLMean), kl(m.KLP99), percent(m.Top1), perplexity(m.PPL), ratio(m.PPLRatio))
	}
	return t
}

// comparison returns the table of the peers on one text, nil if there are none.
func (r *Report) comparison(text int) *table.Table {
	t := table.New("peer", "MB", "mean KL", "KL 99%", "top-1", "perplexity", "curve's KL there")
	for _, p := range r.peersOn(text) {
		there := "-"
		if at, ok := r.At(text, p.Bytes); ok {
			there = fmt.Sprintf("%s, %.0f%%", kl(Value(at)), 100*at/p.KL)
		}
		t.Add(p.Name, megabytes(p.Bytes), kl(Value(p.KL)), optional(p.KLP99, kl), optional(p.Top1, percent), optional(p.PPL, perplexity), there)
	}
	if len(t.Rows) == 0 {
		return nil
	}
	return t
}

// costs returns the table of the time and memory that each file took to make, as far as known.
func (r *Report) costs() *table.Table {
	head := []string{"file", "bits/w", "predicted KL", "seconds", "peak memory"}
	if r.Cores == 0 {
		head = head[:3]
	}
	t := table.New(head...)
	line := func(name, bits, predicted string, c *Cost) {
		if r.Cores == 0 {
			t.Add(name, bits, predicted)
			return
		}
		peak := "-"
		if c.Peak > 0 {
			peak = units.Size(c.Peak)
		}
		t.Add(name, bits, predicted, strconv.FormatFloat(c.Seconds, 'f', 1, 64), peak)
	}
	if r.Survey != nil {
		line("survey, shared", "", "", r.Survey)
	}
	for _, row := range r.Rows {
		if row.File != "" {
			continue
		}
		predicted := "-"
		if row.PredictedKL > 0 {
			predicted = kl(Value(row.PredictedKL))
		}
		line(row.Name, strconv.FormatFloat(row.BitsPerWeight, 'f', 2, 64), predicted, &row.Cost)
	}
	return t
}

// costNote explains the columns of costs.
func (r *Report) costNote() string {
	if r.Cores == 0 {
		return "thimble curve MODEL --rows FILE measures the time and memory that files take to make."
	}
	return fmt.Sprintf("Seconds to make the file, on %d cores; peak memory is the largest resident size of the process meanwhile, mapped files included, where the system reports it.", r.Cores)
}

// about describes the measurement on a text.
func (r *Report) about(text int) string {
	t := r.Texts[text]
	return fmt.Sprintf("%d chunks of %d tokens, %d positions scored; the original's perplexity is %s", t.Chunks, t.Context, t.Tokens, perplexity(t.PPL))
}

// origin describes the model and the calibration that the files were made from.
func (r *Report) origin() string {
	text := fmt.Sprintf("%.4g million weights", float64(r.Weights)/1e6)
	if c := r.Calibration; c != nil {
		text += fmt.Sprintf(", calibrated on %d tokens in pieces of %d", c.Tokens, c.Context)
	}
	return text
}

// String returns the report for a terminal.
func (r *Report) String() string {
	const width = 80
	var b strings.Builder
	for _, note := range r.Notes {
		fmt.Fprintln(&b, "note:", note)
	}
	fmt.Fprintf(&b, "%s: %s\n", defect.Printable(r.Model), r.origin())
	for i, t := range r.Texts {
		fmt.Fprintf(&b, "\n%s: %s\n\n", t.Name, r.about(i))
		r.quality(i).Text(&b)
		if peers := r.comparison(i); peers != nil {
			b.WriteString("\n")
			peers.Text(&b)
		}
	}
	b.WriteString("\n")
	r.costs().Text(&b)
	b.WriteString("\n")
	textwrap.Write(&b, r.costNote(), 0, 0, width)
	if len(r.Output) > 0 {
		fmt.Fprintf(&b, "wrote in %s:\n  ", defect.Printable(r.Folder))
		textwrap.Write(&b, strings.Join(r.Output, " "), 2, 2, width)
	}
	return b.String()
}

// Markdown returns the report in Markdown. It refers to the charts by the file names
// that Pictures returns.
func (r *Report) Markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, "# What %s loses at each size\n\n%s.", label.OfModel(r.Model), r.origin())
	for _, note := range r.Notes {
		fmt.Fprintf(&b, " Note: %s.", note)
	}
	b.WriteString(" KL is KL(original || file) in nats per token.\n")
	for i, picture := range r.pictures() {
		fmt.Fprintf(&b, "\n## On %s\n\n%s.\n\n![KL against size](%s)\n\n", r.Texts[i].Name, r.about(i), picture)
		r.quality(i).Markdown(&b)
		if peers := r.comparison(i); peers != nil {
			b.WriteString("\n")
			peers.Markdown(&b)
			b.WriteString("\nThe last column is the curve's divergence at the peer's size, interpolated between its points on a logarithmic scale, and that divergence as a percentage of the peer's.\n")
		}
	}
	b.WriteString("\n## Time and memory\n\n")
	r.costs().Markdown(&b)
	fmt.Fprintf(&b, "\n%s\n", r.costNote())
	return b.String()
}

// pictures returns the file names of the charts.
func (r *Report) pictures() []string {
	files := Pictures(r.names())
	for i := range files {
		files[i] = r.Prefix + files[i]
	}
	return files
}

// names returns the names of the texts.
func (r *Report) names() (names []string) {
	for _, t := range r.Texts {
		names = append(names, t.Name)
	}
	return names
}

// Pictures returns the file names of the charts, one for each text.
func Pictures(texts []string) (files []string) {
	if len(texts) == 1 {
		return []string{"curve.svg"}
	}
	for _, name := range texts {
		files = append(files, "curve-"+label.FileName(name)+".svg")
	}
	return files
}
