package terminal

import (
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"strconv"
	"sync"
	"time"

	"thimble"
)

// A Meter shows progress on standard error. On a terminal it is one line, which changes and
// is cleared at the end. Elsewhere, such as in the log of a CI job, it is a line at the start
// of each stage and then one for every tenth of it or every half minute, whichever comes
// first; a run of a few seconds leaves none.
type Meter struct {
	mu     sync.Mutex
	w      io.Writer // nil: show nothing
	log    bool      // w is not a terminal
	now    func() time.Time
	wake   func(time.Duration, func()) (stop func() bool) // calls a function later
	stop   func() bool                                    // of the call to come
	last   thimble.Step
	stage  string    // shown now
	start  time.Time // of the stage, or of its new work if the run is resumed
	ready  int64     // amount that was done before start
	shown  time.Time // when the line was last written; in a log, at first the start of the run
	logged struct {
		stage string
		tenth int64
	}
	notes []string        // to be logged before the first line
	told  map[string]bool // the notes that were shown
}

// In a log, lines are at least logPause apart, and logEvery in a long stage.
const (
	logPause = 3 * time.Second
	logEvery = 30 * time.Second
)

// The time left is only shown after this much of a stage: earlier estimates are wild.
const (
	estimateAfter = 3 * time.Second
	estimateShare = 0.05
)

// NewMeter returns a meter on w. It is silent if quiet is set, and if w is not a file: a
// pipe, a log or a terminal is one, the buffer of a test is not.
func NewMeter(w io.Writer, quiet bool) *Meter {
	m := &Meter{now: time.Now, wake: func(d time.Duration, f func()) func() bool { return time.AfterFunc(d, f).Stop }}
	if _, isFile := w.(*os.File); !isFile || quiet {
		return m
	}
	m.w = w
	m.log = !IsTerminal(m.w) || os.Getenv("TERM") == "dumb"
	m.shown = m.now()
	return m
}

// Step shows the progress of a stage: on a terminal, at most ten times a second.
func (m *Meter) Step(s thimble.Step) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.now()
	if s.Stage != m.stage {
		m.stage, m.start, m.ready = s.Stage, now, 0
		if !m.log {
			m.shown = time.Time{}
		}
	}
	if s.Resumed > m.ready {
		m.ready, m.start = s.Resumed, now
	}
	m.last = s
	switch {
	case m.w == nil:
	case m.log:
		m.tick(now)
	case now.Sub(m.shown) >= 100*time.Millisecond:
		m.shown = now
		fmt.Fprintf(m.w, "\r\x1b[K%s", m.line(now))
	}
}

// tick writes a line to the log if one is due, and comes back when the next may be, even if
// the work takes no step until then.
func (m *Meter) tick(now time.Time) {
	tenth := 10 * m.last.Done / m.last.Total
	idle := now.Sub(m.shown)
	unfinished := m.last.Done < m.last.Total
	if idle >= logPause && (m.stage != m.logged.stage || tenth > m.logged.tenth || idle >= logEvery && unfinished) {
		m.shown, m.logged.stage, m.logged.tenth = now, m.stage, tenth
		for _, text := range m.notes {
			m.tell("", text)
		}
		m.notes = nil
		fmt.Fprintln(m.w, m.line(now))
	}
	if m.stop != nil {
		m.stop()
	}
	if m.stage == m.logged.stage && !unfinished {
		return // until the next stage
	}
	next := logEvery
	if m.stage != m.logged.stage {
		next = logPause
	}
	m.stop = m.wake(m.shown.Add(next).Sub(now), func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		if m.stage != "" {
			m.tick(m.now())
		}
	})
}

// line describes the last step: stage, share, amount, rate and time left.
func (m *Meter) line(now time.Time) string {
	s := &m.last
	line := fmt.Sprintf("%s %3d%%", s.Stage, 100*s.Done/s.Total)
	unit, scale := unitOf(s.Unit)
	amount := func(n float64) string { return amountText(n, scale) }
	if unit != "" {
		line += fmt.Sprintf("  %s of %s %s", amount(float64(s.Done)), amount(float64(s.Total)), unit)
	}
	elapsed := now.Sub(m.start)
	if s.Done <= m.ready || elapsed <= 500*time.Millisecond {
		return line
	}
	rate := float64(s.Done-m.ready) / elapsed.Seconds()
	if unit != "" {
		line += fmt.Sprintf("  %s %s/s", amount(rate), unit)
	}
	if elapsed >= estimateAfter && float64(s.Done-m.ready) >= estimateShare*float64(s.Total-m.ready) {
		left := time.Duration(float64(s.Total-s.Done) / rate * float64(time.Second))
		line += fmt.Sprintf("  %s left", left.Round(time.Second))
	}
	return line
}

// Note shows a line above the progress: on a terminal at once, in a log before its next line,
// so that a short run leaves none.
func (m *Meter) Note(text string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case m.w == nil:
	case m.log:
		m.notes = append(m.notes, text)
	default:
		m.tell("\r\x1b[K", text)
	}
}

// tell shows a note, and remembers it.
func (m *Meter) tell(clear, text string) {
	fmt.Fprintf(m.w, "%s%s\n", clear, text)
	if m.told == nil {
		m.told = map[string]bool{}
	}
	m.told[text] = true
}

// Untold returns the texts that were not shown as notes with the given prefix, or all of them
// if out is another file or terminal than the meter's.
func (m *Meter) Untold(out io.Writer, prefix string, texts []string) []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.told) == 0 || !sameStream(out, m.w) {
		return texts
	}
	return slices.DeleteFunc(slices.Clone(texts), func(text string) bool { return m.told[prefix+OneLine(text)] })
}

// unitOf returns the displayed name of a unit, and the divisor for its amounts. An amount of
// work means nothing to a person, so it has no name.
func unitOf(u thimble.Unit) (name string, scale float64) {
	switch u {
	case thimble.Bytes:
		return "MB", 1e6
	case thimble.Weights:
		return "million weights", 1e6
	case thimble.Work:
		return "", 1
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

// Done clears the line, and ends the lines of a log.
func (m *Meter) Done() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.stop != nil {
		m.stop()
	}
	if m.w != nil && !m.log && m.stage != "" {
		fmt.Fprint(m.w, "\r\x1b[K")
	}
	m.stage = ""
}
