package main

import (
	"bytes"
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

	"thimble"
	"thimble/internal/strictjson"
)

// print writes a report: as JSON with --json, otherwise as text.
func print(c *cli.Context, report fmt.Stringer) error {
	return printText(c, report, report.String)
}

// printText is print for a report without a String method.
func printText(c *cli.Context, report any, text func() string) error {
	if c.Bool(jsonFlag.Name) {
		return printJSON(c.App.Writer, report)
	}
	_, err := io.WriteString(c.App.Writer, text())
	return err
}

func printJSON(w io.Writer, v any) error {
	text, err := strictjson.Encode(v)
	if err != nil {
		return err
	}
	_, err = w.Write(text)
	return err
}

// A meter shows progress on standard error if that is a terminal: percentage,
// amount, rate and time left, on one line that it clears at the end.
type meter struct {
	mu    sync.Mutex
	w     io.Writer // nil: show nothing
	now   func() time.Time
	stage string    // shown now
	start time.Time // of the stage, or of its new work if the run is resumed
	ready int64     // amount that was done before start
	shown time.Time // when the line was last written
}

// newMeter returns a meter that is silent unless c's error stream is a terminal.
func newMeter(c *cli.Context) *meter {
	m := &meter{now: time.Now}
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

// A plainText writer replaces control characters, which a terminal would obey, in a
// model's text.
type plainText struct{ w io.Writer }

func (p plainText) Write(text []byte) (int, error) {
	shown := bytes.Map(func(r rune) rune {
		if unicode.IsControl(r) && r != '\n' && r != '\t' {
			return unicode.ReplacementChar
		}
		return r
	}, text)
	if _, err := p.w.Write(shown); err != nil {
		return 0, err
	}
	return len(text), nil
}

// step shows the progress of a stage, at most ten times a second.
func (m *meter) step(s thimble.Step) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.now()
	if s.Stage != m.stage {
		m.stage, m.start, m.ready, m.shown = s.Stage, now, 0, time.Time{}
	}
	if s.Resumed > m.ready {
		m.ready, m.start = s.Resumed, now
	}
	if m.w == nil || now.Sub(m.shown) < 100*time.Millisecond {
		return
	}
	m.shown = now
	unit, scale := unitOf(s.Unit)
	amount := func(n float64) string { return amountText(n, scale) }
	line := fmt.Sprintf("%s %3d%%  %s of %s %s", s.Stage, 100*s.Done/s.Total, amount(float64(s.Done)), amount(float64(s.Total)), unit)
	if elapsed := now.Sub(m.start); s.Done > m.ready && elapsed > 500*time.Millisecond {
		rate := float64(s.Done-m.ready) / elapsed.Seconds()
		left := time.Duration(float64(s.Total-s.Done) / rate * float64(time.Second))
		line += fmt.Sprintf("  %s %s/s  %s left", amount(rate), unit, left.Round(time.Second))
	}
	fmt.Fprintf(m.w, "\r\x1b[K%s", line)
}

// unitOf returns the displayed name of a unit, and the divisor for its amounts.
func unitOf(u thimble.Unit) (name string, scale float64) {
	switch u {
	case thimble.Bytes:
		return "MB", 1e6
	case thimble.Weights:
		return "million weights", 1e6
	}
	return string(u), 1
}

// amountText formats n/scale, with about three digits.
func amountText(n, scale float64) string {
	n /= scale
	digits := 0
	switch {
	case scale == 1 && n == math.Trunc(n):
	case n < 10:
		digits = 2
	case n < 100:
		digits = 1
	}
	return strconv.FormatFloat(n, 'f', digits, 64)
}

// done clears the line.
func (m *meter) done() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.w != nil && m.stage != "" {
		fmt.Fprint(m.w, "\r\x1b[K")
		m.stage = ""
	}
}

// oneLine returns a note in one line that is safe on a terminal, however long it is: its
// end says what to do.
func oneLine(note string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, note)
}

// indent indents every line of a text by two spaces.
func indent(text string) string {
	return "  " + strings.ReplaceAll(strings.TrimRight(text, "\n"), "\n", "\n  ") + "\n"
}
