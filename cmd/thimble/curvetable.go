package main

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"thimble/internal/defect"
	"thimble/verify/metric"
)

// A table has a first column of names; the others are figures.
type table struct {
	head []string
	rows [][]string
}

func (t *table) add(cells ...string) { t.rows = append(t.rows, cells) }

// text is t for a terminal.
func (t *table) text(b *strings.Builder) {
	widths := make([]int, len(t.head))
	lines := append([][]string{t.head}, t.rows...)
	for _, cells := range lines {
		for i, cell := range cells {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	for _, cells := range lines {
		var line strings.Builder
		for i, cell := range cells {
			pad := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell))
			if i == 0 {
				line.WriteString("  " + cell + pad)
			} else {
				line.WriteString("  " + pad + cell)
			}
		}
		b.WriteString(strings.TrimRight(line.String(), " ") + "\n")
	}
}

// markdown is t in GitHub's.
func (t *table) markdown(b *strings.Builder) {
	line := func(cells []string) {
		for _, cell := range cells {
			b.WriteString("| " + strings.ReplaceAll(cell, "|", "\\|") + " ")
		}
		b.WriteString("|\n")
	}
	line(t.head)
	b.WriteString("|---" + strings.Repeat("|---:", len(t.head)-1) + "|\n")
	for _, cells := range t.rows {
		line(cells)
	}
}

// kl is a divergence for people: two digits, three from 0.1 on.
func kl(v metric.Value) string {
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

func percent(v metric.Value) string    { return fmt.Sprintf("%.1f%%", 100*float64(v)) }
func perplexity(v metric.Value) string { return fmt.Sprintf("%.2f", float64(v)) }

// known is the text of what may not be known.
func known(v *float64, text func(metric.Value) string) string {
	if v == nil {
		return "-"
	}
	return text(metric.Value(*v))
}

func megabytes(n float64) string { return strconv.FormatFloat(n/1e6, 'f', sizeDigits(n), 64) }

// sizeDigits are those after the point of n in MB.
func sizeDigits(n float64) int {
	if n < 10e6 {
		return 3
	}
	return 1
}

// quality is the table of one text.
func (v *curve) quality(text int) *table {
	t := &table{head: []string{"file", "MB", "mean KL", "KL 99%", "top-1", "perplexity", "of the original's"}}
	for _, r := range v.Rows {
		m := r.Measured[text]
		t.add(r.Name, megabytes(float64(r.Bytes)), kl(m.KLMean), kl(m.KLP99), percent(m.Top1), perplexity(m.PPL), fmt.Sprintf("%.2f%%", 100*float64(m.PPLRatio)))
	}
	return t
}

// comparison is the table of peers on one text, nil without any.
func (v *curve) comparison(text int) *table {
	t := &table{head: []string{"peer", "MB", "mean KL", "KL 99%", "top-1", "perplexity", "curve's KL there"}}
	for _, p := range v.peersOn(text) {
		there := "-"
		if at, ok := v.at(text, p.Bytes); ok {
			there = fmt.Sprintf("%s, %.0f%%", kl(metric.Value(at)), 100*at/p.KL)
		}
		t.add(p.Name, megabytes(p.Bytes), kl(metric.Value(p.KL)), known(p.KLP99, kl), known(p.Top1, percent), known(p.PPL, perplexity), there)
	}
	if len(t.rows) == 0 {
		return nil
	}
	return t
}

func (v *curve) peersOn(text int) (on []peer) {
	for _, p := range v.Peers {
		if p.Text == v.Texts[text].Name {
			on = append(on, p)
		}
	}
	return on
}

// costs is the table of what rows took.
func (v *curve) costs() *table {
	t := &table{head: []string{"file", "bits/w", "predicted KL", "seconds", "peak memory"}}
	line := func(name, bits, predicted string, k *cost) {
		peak := "-"
		if k.Peak > 0 {
			peak = bytesText(k.Peak)
		}
		t.add(name, bits, predicted, strconv.FormatFloat(k.Seconds, 'f', 1, 64), peak)
	}
	if v.Survey != nil {
		line("survey, once for all", "", "", v.Survey)
	}
	for _, r := range v.Rows {
		if r.File != "" {
			continue
		}
		predicted := "-"
		if r.PredictedKL > 0 {
			predicted = kl(metric.Value(r.PredictedKL))
		}
		line(r.Name, strconv.FormatFloat(r.BitsPerWeight, 'f', 2, 64), predicted, &r.cost)
	}
	return t
}

// costNote says what the columns of costs mean.
func (v *curve) costNote() string {
	return fmt.Sprintf("Seconds to make the file, on %d cores; peak memory is what the process had resident meanwhile, mapped files included, where the system tells.", v.Cores)
}

// about says what was measured on a text.
func (v *curve) about(text int) string {
	t := v.Texts[text]
	return fmt.Sprintf("%d chunks of %d tokens, %d positions scored; the original's perplexity is %s", t.Chunks, t.Context, t.Tokens, perplexity(t.PPL))
}

// made says how rows were made.
func (v *curve) made() string {
	text := fmt.Sprintf("%.4g million weights", float64(v.Weights)/1e6)
	if k := v.Calibration; k != nil {
		text += fmt.Sprintf(", calibrated on %d tokens in pieces of %d", k.Tokens, k.Context)
	}
	return text
}

func (v *curve) String() string {
	var b strings.Builder
	for _, note := range v.Notes {
		fmt.Fprintln(&b, "note:", note)
	}
	fmt.Fprintf(&b, "%s: %s\n", defect.Printable(v.Model), v.made())
	for i, t := range v.Texts {
		fmt.Fprintf(&b, "\n%s: %s\n\n", t.Name, v.about(i))
		v.quality(i).text(&b)
		if peers := v.comparison(i); peers != nil {
			b.WriteString("\n")
			peers.text(&b)
		}
	}
	b.WriteString("\n")
	v.costs().text(&b)
	b.WriteString("\n")
	wrap(&b, v.costNote(), 0, 0)
	if len(v.Output) > 0 {
		fmt.Fprintf(&b, "wrote in %s:\n  ", defect.Printable(v.Folder))
		wrap(&b, strings.Join(v.Output, " "), 2, 2)
	}
	return b.String()
}

// name is the model's, less its folder and ending.
func (v *curve) name() string { return textName(v.Model) }

// pictureName is the file of a text's picture.
func pictureName(names []string, text int) string {
	if len(names) == 1 {
		return "curve.svg"
	}
	return "curve-" + fileName(names[text]) + ".svg"
}

const (
	reportName = "curve.md"
	dataName   = "curve.json"
)

// curveFiles are the names of files for texts of these names.
func curveFiles(names []string) (files []string) {
	for i := range names {
		files = append(files, pictureName(names, i))
	}
	return append(files, reportName, dataName)
}

// files are the pictures, the report and the data.
func (v *curve) files() (files []namedText) {
	var names []string
	for _, t := range v.Texts {
		names = append(names, t.Name)
	}
	for i := range names {
		files = append(files, namedText{pictureName(names, i), v.picture(i).SVG()})
	}
	var data bytes.Buffer
	printJSON(&data, v) // a Buffer takes everything
	return append(files, namedText{reportName, []byte(v.markdown(names))}, namedText{dataName, data.Bytes()})
}

// markdown is the report with its pictures.
func (v *curve) markdown(names []string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "# What %s loses at each size\n\n%s.", v.name(), v.made())
	for _, note := range v.Notes {
		fmt.Fprintf(&b, " Note: %s.", note)
	}
	b.WriteString(" KL is KL(original || file) in nats per token.\n")
	for i, name := range names {
		fmt.Fprintf(&b, "\n## On %s\n\n%s.\n\n![KL against size](%s)\n\n", name, v.about(i), pictureName(names, i))
		v.quality(i).markdown(&b)
		if peers := v.comparison(i); peers != nil {
			b.WriteString("\n")
			peers.markdown(&b)
			b.WriteString("\nThe last column is the divergence of the curve at the peer's size, between its points a straight line on a logarithmic scale, and its share of the peer's.\n")
		}
	}
	b.WriteString("\n## What it took\n\n")
	v.costs().markdown(&b)
	fmt.Fprintf(&b, "\n%s\n", v.costNote())
	return b.String()
}
