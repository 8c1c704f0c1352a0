package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/urfave/cli/v2"
)

// print writes a report: as JSON where --json asks for it, else as its text.
func print(c *cli.Context, report fmt.Stringer) error {
	if c.Bool(jsonFlag.Name) {
		return printJSON(c.App.Writer, report)
	}
	_, err := io.WriteString(c.App.Writer, report.String())
	return err
}

func printJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

// A meter shows progress on a terminal's standard error: share, amount, rate
// and time left, on one line that it wipes at the end.
type meter struct {
	mu    sync.Mutex
	w     io.Writer // nil where nothing is to be shown
	now   func() time.Time
	label string
	unit  string  // "MB", "tokens"
	scale float64 // amounts are divided by it
	begun time.Time
	ready int64 // done before begun
	shown time.Time
}

// newMeter returns a meter that is silent unless c's error stream is a terminal.
func newMeter(c *cli.Context, label, unit string, scale float64) *meter {
	m := &meter{now: time.Now, label: label, unit: unit, scale: scale, begun: time.Now()}
	if isTerminal(c.App.ErrWriter) && !c.Bool(quietFlag.Name) && os.Getenv("TERM") != "dumb" {
		m.w = c.App.ErrWriter
	}
	return m
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// harmless keeps the control characters of a model's text, which are commands
// to a terminal, from w.
type harmless struct{ w io.Writer }

func (h harmless) Write(text []byte) (int, error) {
	shown := bytes.Map(func(r rune) rune {
		if unicode.IsControl(r) && r != '\n' && r != '\t' {
			return unicode.ReplacementChar
		}
		return r
	}, text)
	if _, err := h.w.Write(shown); err != nil {
		return 0, err
	}
	return len(text), nil
}

// from says that done is finished already, and no measure of the rate.
func (m *meter) from(done int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.ready, m.begun = done, m.now()
}

// at shows that done of total is finished, at most ten times a second. A nil
// meter shows nothing.
func (m *meter) at(done, total int64) {
	if m == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.now()
	if m.w == nil || total <= 0 || now.Sub(m.shown) < 100*time.Millisecond {
		return
	}
	m.shown = now
	line := fmt.Sprintf("%s %3d%%  %s of %s %s", m.label, 100*done/total, m.amount(float64(done)), m.amount(float64(total)), m.unit)
	if elapsed := now.Sub(m.begun); done > m.ready && elapsed > 500*time.Millisecond {
		rate := float64(done-m.ready) / elapsed.Seconds()
		left := time.Duration(float64(total-done) / rate * float64(time.Second))
		line += fmt.Sprintf("  %s %s/s  %s left", m.amount(rate), m.unit, left.Round(time.Second))
	}
	fmt.Fprintf(m.w, "\r\x1b[K%s", line)
}

// amount is n in the meter's unit, with three digits where it is small.
func (m *meter) amount(n float64) string {
	n /= m.scale
	digits := 0
	switch {
	case m.scale == 1 && n == math.Trunc(n):
	case n < 10:
		digits = 2
	case n < 100:
		digits = 1
	}
	return strconv.FormatFloat(n, 'f', digits, 64)
}

// done wipes the line.
func (m *meter) done() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.w != nil && !m.shown.IsZero() {
		fmt.Fprint(m.w, "\r\x1b[K")
		m.shown = time.Time{}
	}
}

// bytesText is a size for people, in the decimal units of file listings.
func bytesText(n int64) string {
	switch {
	case n < 1e4:
		return fmt.Sprintf("%d B", n)
	case n < 1e6:
		return fmt.Sprintf("%.1f kB", float64(n)/1e3)
	case n < 1e9:
		return fmt.Sprintf("%.1f MB", float64(n)/1e6)
	}
	return fmt.Sprintf("%.2f GB", float64(n)/1e9)
}

// indent shifts every line of a table to the right.
func indent(table string) string {
	return "  " + strings.ReplaceAll(strings.TrimRight(table, "\n"), "\n", "\n  ") + "\n"
}
