package verify

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"thimble/internal/defect"
)

// watchedAs is the watched figure of f.
func (f *Figure) watchedAs() *watchedFigure {
	for i := range watched {
		if watched[i].name == f.Name {
			return &watched[i]
		}
	}
	return &watchedFigure{name: f.Name}
}

// part writes a difference as f's tolerance is given: as a part of what the
// baseline has, in percent, or in percentage points.
func (f *Figure) part(difference float64, sign bool) string {
	unit := " %"
	if f.watchedAs().share {
		unit = " pp"
	} else if f.Before != 0 {
		difference /= math.Abs(float64(f.Before))
	}
	text := strconv.FormatFloat(100*difference, 'g', 3, 64)
	if math.Abs(100*difference) >= 999.5 {
		text = strconv.FormatFloat(100*difference, 'f', 0, 64)
	}
	if sign && difference > 0 {
		text = "+" + text
	}
	return text + unit
}

// change is how far f moved.
func (f *Figure) change() string { return f.part(float64(f.Now)-float64(f.Before), true) }

// spread is where the change lies, or a dash.
func (f *Figure) spread() string {
	if !f.Low.Known() {
		return "-"
	}
	low := f.part(float64(f.Low), true)
	return low[:strings.LastIndexByte(low, ' ')] + " to " + f.part(float64(f.High), true)
}

// sentence says what f was and is, and what is allowed.
func (f *Figure) sentence() string {
	return fmt.Sprintf("%s %s, baseline %s: %s, allowed %s", f.Name, figure(f.Now), figure(f.Before), f.change(), f.part(float64(f.Allowed), false))
}

// state is the outcome of f as of a gate.
func (f *Figure) state() string {
	if f.Outcome == worse {
		return missed
	}
	return passed
}

// Said tells what became of the baseline's file.
func (b *Baseline) Said() string {
	switch {
	case b.Written && len(b.Figures) == 0:
		return "written, the first"
	case b.Written:
		return "written again: something is better, nothing worse"
	case len(b.Figures) == 0:
		return "not written: there is none, and a gate was missed"
	}
	return ""
}

// writeBaseline is the table of what has moved.
func (r *Report) writeBaseline(b *strings.Builder) {
	if r.Baseline == nil {
		return
	}
	title := "baseline " + defect.Printable(r.Baseline.Path)
	if said := r.Baseline.Said(); said != "" {
		title += ", " + said
	}
	fmt.Fprintf(b, "\n  %s\n", title)
	if len(r.Baseline.Figures) == 0 {
		return
	}
	fmt.Fprintf(b, "  %-15s %10s %10s %9s  %s\n", "", "was", "is", "change", "95%, or all runs")
	for i := range r.Baseline.Figures {
		f := &r.Baseline.Figures[i]
		outcome := f.Outcome
		if outcome == worse {
			outcome = "WORSE"
		}
		fmt.Fprintf(b, "  %-15s %10s %10s %9s  %-19s %s\n", f.Name, figure(f.Before), figure(f.Now), f.change(), f.spread(), outcome)
	}
}

// markdownBaseline is the same for a job's summary.
func (r *Report) markdownBaseline(b *strings.Builder) {
	if r.Baseline == nil {
		return
	}
	fmt.Fprintf(b, "\nBaseline %s", code(r.Baseline.Path))
	if said := r.Baseline.Said(); said != "" {
		b.WriteString(", " + said)
	}
	b.WriteString("\n")
	t := markdownTable{b, "| figure | was | is | change | 95 %, or all runs | allowed | outcome |\n|---|---:|---:|---:|---:|---:|---|\n"}
	for i := range r.Baseline.Figures {
		f := &r.Baseline.Figures[i]
		outcome := f.Outcome
		if outcome == worse {
			outcome = "**worse**"
		}
		t.row(prose(f.Name), figure(f.Before), figure(f.Now), f.change(), f.spread(), f.part(float64(f.Allowed), false), outcome)
	}
}

// Each is the figures, for the page.
func (b *Baseline) Each() (all []*Figure) {
	for i := range b.Figures {
		all = append(all, &b.Figures[i])
	}
	return all
}
