package render

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"thimble/internal/defect"
	"thimble/verify"
)

// difference writes a difference of f as its tolerance is given: for shares in
// percentage points, otherwise in percent of the baseline's value.
func difference(f *verify.Figure, d float64, sign bool) string {
	unit := " %"
	if f.IsShare() {
		unit = " pp"
	} else if f.Before != 0 {
		d /= math.Abs(float64(f.Before))
	}
	text := strconv.FormatFloat(100*d, 'g', 3, 64)
	if math.Abs(100*d) >= 999.5 {
		text = strconv.FormatFloat(100*d, 'f', 0, 64)
	}
	if sign && d > 0 {
		text = "+" + text
	}
	return text + unit
}

// changeText is by how much f has changed.
func changeText(f *verify.Figure) string {
	return difference(f, float64(f.Now)-float64(f.Before), true)
}

// spreadText is the interval of the change, or a dash.
func spreadText(f *verify.Figure) string {
	if !f.Low.Known() {
		return "-"
	}
	low := difference(f, float64(f.Low), true)
	return low[:strings.LastIndexByte(low, ' ')] + " to " + difference(f, float64(f.High), true)
}

// allowedText is by how much f may be worse.
func allowedText(f *verify.Figure) string { return difference(f, float64(f.Allowed), false) }

// figureSentence says what f was and is, and what is allowed.
func figureSentence(f *verify.Figure) string {
	return fmt.Sprintf("%s %s, baseline %s: %s, allowed %s", f.Name, f.Now.Short(), f.Before.Short(), changeText(f), allowedText(f))
}

// figureOutcome is the outcome of f as that of a gate.
func figureOutcome(f *verify.Figure) string {
	if f.Outcome == verify.Worse {
		return verify.Missed
	}
	return verify.Passed
}

// fileState says what became of the baseline's file, "" for nothing.
func fileState(b *verify.Baseline) string {
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

// writeBaseline writes the table of what has changed.
func writeBaseline(b *strings.Builder, base *verify.Baseline) {
	if base == nil {
		return
	}
	title := "baseline " + defect.Printable(base.Path)
	if state := fileState(base); state != "" {
		title += ", " + state
	}
	fmt.Fprintf(b, "\n  %s\n", title)
	if len(base.Figures) == 0 {
		return
	}
	fmt.Fprintf(b, "  %-15s %10s %10s %9s  %s\n", "", "was", "is", "change", "95%, or all runs")
	for i := range base.Figures {
		f := &base.Figures[i]
		outcome := f.Outcome
		if outcome == verify.Worse {
			outcome = "WORSE"
		}
		fmt.Fprintf(b, "  %-15s %10s %10s %9s  %-19s %s\n", f.Name, f.Before.Short(), f.Now.Short(), changeText(f), spreadText(f), outcome)
	}
}
