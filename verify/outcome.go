package verify

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// What became of a gate, and of a report.
const (
	passed    = "PASS"
	missed    = "FAIL"
	undecided = "UNDECIDED" // met by what was measured, and not missed for being undecided
	measured  = "MEASURED"  // there was no gate
)

// outcome is what became of c.
func (r *Report) outcome(c *Check) string {
	switch {
	case !c.Pass || c.Undecided && r.Strict:
		return missed
	case c.Undecided:
		return undecided
	}
	return passed
}

// outcomeOfAll is that of the report.
func (r *Report) outcomeOfAll() string {
	switch {
	case !r.Pass:
		return missed
	case len(r.Gates) == 0 && !r.held():
		return measured
	}
	for i := range r.Gates {
		if r.Gates[i].Undecided {
			return undecided
		}
	}
	return passed
}

// title is the gate, its limit as figures are written.
func (c *Check) title() string {
	return fmt.Sprintf("%s %s %s", c.Metric, c.Op, figure(Value(c.Limit)))
}

// sentence says what was measured and what was asked for.
func (c *Check) sentence() string {
	return fmt.Sprintf("%s %s, the gate is %s %s", c.Metric, figure(c.Value), c.Op, figure(Value(c.Limit)))
}

// reason says why c has its outcome, in a line.
func (r *Report) reason(c *Check) string {
	if c.Undecided {
		return fmt.Sprintf("%s; undecided, %s: %s", c.sentence(), r.mayBe(c), r.remedy(c))
	}
	return c.sentence()
}

// intervalOf is the interval of a metric, nil where it has none.
func (r *Report) intervalOf(metric string) *Interval {
	for i := range r.Intervals {
		if r.Intervals[i].Metric == metric {
			return &r.Intervals[i]
		}
	}
	return nil
}

// intervalText is the interval of a metric, or a dash.
func (r *Report) intervalText(metric string) string {
	if in := r.intervalOf(metric); in != nil {
		return figure(in.Low) + " to " + figure(in.High)
	}
	return "-"
}

// A piece is a part of a text that is written as it is, or a character that
// would not be seen or would act, in its escaped form.
type piece struct {
	Text    string
	Escaped bool
}

// legible makes every character of a model's text visible: controls, marks of
// direction, what has no width, and bytes that are not UTF-8.
func legible(text string) (all []piece) {
	from := 0
	plain := func(to int) {
		if to > from {
			all = append(all, piece{text[from:to], false})
		}
	}
	for i := 0; i < len(text); {
		r, n := utf8.DecodeRuneInString(text[i:])
		if !strconv.IsGraphic(r) || r == utf8.RuneError && n == 1 {
			plain(i)
			quoted := strconv.QuoteToGraphic(text[i : i+n])
			all = append(all, piece{quoted[1 : len(quoted)-1], true})
			from = i + n
		}
		i += n
	}
	plain(len(text))
	return all
}

// shown is what legible makes of text, in one.
func shown(text string) string {
	var b strings.Builder
	for _, p := range legible(text) {
		b.WriteString(p.Text)
	}
	return b.String()
}

// spelled is a token's text in quotes, or its id where it has none.
func spelled(text string, id int) string {
	if text == "" {
		return strconv.Itoa(id)
	}
	return strconv.QuoteToGraphic(text)
}

// baseName is a path less its folders, of whatever system.
func baseName(path string) string {
	trimmed := strings.TrimRight(path, `/\`)
	return trimmed[strings.LastIndexAny(trimmed, `/\`)+1:]
}
