package terminal

import (
	"bytes"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"thimble"
)

func TestMeter(t *testing.T) {
	var out strings.Builder
	now := time.Unix(0, 0)
	m := &Meter{w: &out, now: func() time.Time { return now }}
	stage, resumed := "convert", int64(0)
	step := func(after time.Duration, done int64, want string) {
		t.Helper()
		out.Reset()
		now = now.Add(after)
		m.Step(thimble.Step{Stage: stage, Unit: thimble.Bytes, Done: done, Total: 269e6, Resumed: resumed})
		if out.String() != want {
			t.Errorf("%q, want %q", out.String(), want)
		}
	}
	step(time.Millisecond, 0, "\r\x1b[Kconvert   0%  0.00 of 269 MB")
	step(50*time.Millisecond, 1e6, "") // too soon
	step(time.Second, 10e6, "\r\x1b[Kconvert   3%  10.0 of 269 MB  9.52 MB/s")
	step(19*time.Second, 40e6, "\r\x1b[Kconvert  14%  40.0 of 269 MB  2.00 MB/s  1m55s left")
	step(time.Second, 269e6, "\r\x1b[Kconvert 100%  269 of 269 MB  12.8 MB/s  0s left")
	out.Reset()
	m.Done()
	m.Done()
	if out.String() != "\r\x1b[K" {
		t.Errorf("%q, want the line to be wiped once", out.String())
	}

	// Work of an earlier run does not count towards the rate.
	stage, resumed = "quantize from block 7 of 12", 100e6
	step(9*time.Second, 100e6, "\r\x1b[Kquantize from block 7 of 12  37%  100 of 269 MB")
	step(10*time.Second, 120e6, "\r\x1b[Kquantize from block 7 of 12  44%  120 of 269 MB  2.00 MB/s  1m15s left")

	verify := thimble.Step{Stage: "verify", Unit: thimble.Tokens, Total: 4096}
	m.Step(verify)
	now = now.Add(time.Second)
	out.Reset()
	verify.Done = 512
	m.Step(verify)
	if want := "\r\x1b[Kverify  12%  512 of 4096 tokens  512 tokens/s"; out.String() != want {
		t.Errorf("%q, want %q", out.String(), want)
	}
}

// A fakeLog is a meter of a log on a clock that only the test moves.
type fakeLog struct {
	Meter
	out   strings.Builder
	clock time.Time
	due   time.Time
	woken func()
}

func newFakeLog() *fakeLog {
	l := &fakeLog{clock: time.Unix(0, 0)}
	l.Meter = Meter{w: &l.out, log: true, now: func() time.Time { return l.clock }, shown: l.clock}
	l.wake = func(d time.Duration, f func()) func() bool {
		l.due, l.woken = l.clock.Add(d), f
		return func() bool { l.woken = nil; return true }
	}
	return l
}

// wait moves the clock, and returns what is logged meanwhile.
func (l *fakeLog) wait(d time.Duration) string {
	l.out.Reset()
	for end := l.clock.Add(d); ; {
		if l.woken == nil || l.due.After(end) {
			l.clock = end
			return l.out.String()
		}
		f := l.woken
		l.clock, l.woken = l.due, nil
		f()
	}
}

// progress takes a step at once, and returns what is logged.
func (l *fakeLog) progress(stage string, done int64) string {
	l.out.Reset()
	l.Step(thimble.Step{Stage: stage, Unit: thimble.Work, Done: done, Total: 1000})
	return l.out.String()
}

func TestLog(t *testing.T) {
	l := newFakeLog()
	want := func(got, want string) {
		t.Helper()
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	// A run of less than three seconds leaves nothing.
	want(l.progress("survey", 0), "")
	want(l.wait(2900*time.Millisecond), "")
	want(l.progress("survey", 20), "")
	// The first line comes without a step, and names no time left yet.
	want(l.wait(100*time.Millisecond), "survey   2%\n")
	// A silent stage still says every half minute that it is alive.
	want(l.wait(29*time.Second), "")
	want(l.wait(2*time.Second), "survey   2%\n")
	want(l.wait(60*time.Second), "survey   2%\nsurvey   2%\n")
	// Then there is a line for each tenth, at least three seconds apart.
	want(l.progress("survey", 99), "")
	want(l.progress("survey", 100), "")
	want(l.wait(6*time.Second), "")
	want(l.progress("survey", 100), "survey  10%  15m0s left\n")
	want(l.progress("survey", 250), "")
	want(l.wait(10*time.Second), "")
	want(l.progress("survey", 290), "survey  29%  4m29s left\n")
	// A new stage has its own line and its own estimate.
	want(l.progress("quantize", 0), "")
	want(l.wait(3*time.Second), "quantize   0%\n")
	want(l.wait(4*time.Second), "")
	want(l.progress("quantize", 49), "")
	want(l.wait(25*time.Second), "")
	want(l.wait(2*time.Second), "quantize   4%\n")
	want(l.progress("quantize", 500), "")
	want(l.wait(3*time.Second), "")
	want(l.progress("quantize", 500), "quantize  50%  37s left\n")
	l.Done()
	want(l.wait(time.Hour), "")
	want(l.out.String(), "")
}

// A note precedes the first line of a log, and is shown at once on a terminal.
func TestNote(t *testing.T) {
	l := newFakeLog()
	l.Note("warning: few tokens")
	if got := l.progress("survey", 0) + l.wait(4*time.Second); got != "warning: few tokens\nsurvey   0%\n" {
		t.Errorf("%q", got)
	}
	if got := l.wait(30 * time.Second); got != "survey   0%\n" {
		t.Errorf("%q", got)
	}
	l.out.Reset()
	l.log = false
	l.Note("warning: few tokens")
	if l.out.String() != "\r\x1b[Kwarning: few tokens\n" {
		t.Errorf("%q", l.out.String())
	}
	(&Meter{now: time.Now}).Note("nothing")
}

// A pipe is a log unless it is to be quiet; the buffer of a test shows nothing.
func TestNewMeter(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	for _, c := range []struct {
		w            io.Writer
		quiet, shows bool
	}{{w, false, true}, {w, true, false}, {new(bytes.Buffer), false, false}} {
		if m := NewMeter(c.w, c.quiet); (m.w != nil) != c.shows || m.log != c.shows {
			t.Errorf("%T, quiet %t: shows %t, as a log %t", c.w, c.quiet, m.w != nil, m.log)
		}
	}
}

// A meter without a writer shows nothing.
func TestSilentMeter(t *testing.T) {
	m := &Meter{now: time.Now}
	m.Step(thimble.Step{Stage: "verify", Done: 1, Total: 2})
	m.Done()
}

// A note that the same stream has shown is not repeated; another stream has all of them.
func TestUntold(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	m := &Meter{w: w, now: time.Now}
	m.Note("note: a")
	for _, c := range []struct {
		out    io.Writer
		prefix string
		want   int
	}{{w, "note: ", 1}, {w, "warning: ", 2}, {os.Stdin, "note: ", 2}, {new(bytes.Buffer), "note: ", 2}} {
		if left := m.Untold(c.out, c.prefix, []string{"a", "b"}); len(left) != c.want {
			t.Errorf("%T, %q: %q are left, want %d", c.out, c.prefix, left, c.want)
		}
	}
}
