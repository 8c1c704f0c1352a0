package main

import (
	"bytes"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/urfave/cli/v2"

	"thimble"
)

func TestMeter(t *testing.T) {
	var out strings.Builder
	now := time.Unix(0, 0)
	m := &meter{w: &out, now: func() time.Time { return now }}
	stage, resumed := "convert", int64(0)
	step := func(after time.Duration, done int64, want string) {
		t.Helper()
		out.Reset()
		now = now.Add(after)
		m.step(thimble.Step{Stage: stage, Unit: thimble.Bytes, Done: done, Total: 269e6, Resumed: resumed})
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
	m.done()
	m.done()
	if out.String() != "\r\x1b[K" {
		t.Errorf("%q, want the line to be wiped once", out.String())
	}

	// Work of an earlier run does not count towards the rate.
	stage, resumed = "quantize from block 7 of 12", 100e6
	step(9*time.Second, 100e6, "\r\x1b[Kquantize from block 7 of 12  37%  100 of 269 MB")
	step(10*time.Second, 120e6, "\r\x1b[Kquantize from block 7 of 12  44%  120 of 269 MB  2.00 MB/s  1m15s left")

	verify := thimble.Step{Stage: "verify", Unit: thimble.Tokens, Total: 4096}
	m.step(verify)
	now = now.Add(time.Second)
	out.Reset()
	verify.Done = 512
	m.step(verify)
	if want := "\r\x1b[Kverify  12%  512 of 4096 tokens  512 tokens/s"; out.String() != want {
		t.Errorf("%q, want %q", out.String(), want)
	}
}

// A fakeLog is a meter of a log on a clock that only the test moves.
type fakeLog struct {
	meter
	out   strings.Builder
	clock time.Time
	due   time.Time
	woken func()
}

func newFakeLog() *fakeLog {
	l := &fakeLog{clock: time.Unix(0, 0)}
	l.meter = meter{w: &l.out, log: true, now: func() time.Time { return l.clock }, shown: l.clock}
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
	l.step(thimble.Step{Stage: stage, Unit: thimble.Work, Done: done, Total: 1000})
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
	l.done()
	want(l.wait(time.Hour), "")
	want(l.out.String(), "")
}

// A note precedes the first line of a log, and is shown at once on a terminal.
func TestNote(t *testing.T) {
	l := newFakeLog()
	l.note("warning: few tokens")
	if got := l.progress("survey", 0) + l.wait(4*time.Second); got != "warning: few tokens\nsurvey   0%\n" {
		t.Errorf("%q", got)
	}
	if got := l.wait(30 * time.Second); got != "survey   0%\n" {
		t.Errorf("%q", got)
	}
	l.out.Reset()
	l.log = false
	l.note("warning: few tokens")
	if l.out.String() != "\r\x1b[Kwarning: few tokens\n" {
		t.Errorf("%q", l.out.String())
	}
	(&meter{now: time.Now}).note("nothing")
}

// A pipe is a log unless --quiet is given; the buffer of a test shows nothing.
func TestNewMeter(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	for _, c := range []struct {
		stderr io.Writer
		args   []string
		shows  bool
	}{{w, nil, true}, {w, []string{"-q"}, false}, {new(bytes.Buffer), nil, false}} {
		app := newApp(io.Discard, c.stderr)
		app.Commands = []*cli.Command{{Name: "test", Flags: []cli.Flag{quietFlag}, Action: func(ctx *cli.Context) error {
			if m := newMeter(ctx); (m.w != nil) != c.shows || m.log != c.shows {
				t.Errorf("%T, %q: shows %t, as a log %t", c.stderr, c.args, m.w != nil, m.log)
			}
			return nil
		}}}
		if err := app.Run(append([]string{"thimble", "test"}, c.args...)); err != nil {
			t.Fatal(err)
		}
	}
}

// A meter without a writer shows nothing.
func TestSilentMeter(t *testing.T) {
	m := &meter{now: time.Now}
	m.step(thimble.Step{Stage: "verify", Done: 1, Total: 2})
	m.done()
}

func TestPlainText(t *testing.T) {
	var b strings.Builder
	n, err := plainText{&b}.Write([]byte("a\tb\n\x1b[2Jé\r\u009b\x7f"))
	if n != 14 || err != nil || b.String() != "a\tb\n\ufffd[2Jé\ufffd\ufffd\ufffd" {
		t.Errorf("%d, %v, %q", n, err, b.String())
	}
}

func TestColorsByDefault(t *testing.T) {
	for _, c := range []struct {
		env      map[string]string
		terminal bool
		want     bool
	}{
		{nil, true, true},
		{nil, false, false},
		{map[string]string{"NO_COLOR": "1"}, true, false},
		{map[string]string{"NO_COLOR": ""}, true, true},
		{map[string]string{"NO_COLOR": "1", "CLICOLOR_FORCE": "1"}, true, false},
		{map[string]string{"CLICOLOR_FORCE": "1"}, false, true},
		{map[string]string{"CLICOLOR_FORCE": "0"}, false, false},
		{map[string]string{"CLICOLOR": "0"}, true, false},
		{map[string]string{"TERM": "dumb"}, true, false},
	} {
		if got := colorsByDefault(func(name string) string { return c.env[name] }, c.terminal); got != c.want {
			t.Errorf("%v, terminal %v: %v", c.env, c.terminal, got)
		}
	}
}

func TestUnicodeLocale(t *testing.T) {
	for _, c := range []struct {
		env  map[string]string
		want bool
	}{
		{nil, false},
		{map[string]string{"LANG": "de_DE.UTF-8"}, true},
		{map[string]string{"LANG": "en_US.utf8"}, true},
		{map[string]string{"LANG": "en_US.UTF-8", "LC_ALL": "C"}, false},
		{map[string]string{"LANG": "C", "LC_CTYPE": "C.UTF-8"}, true},
		{map[string]string{"LANG": "C.UTF-8", "TERM": "dumb"}, false},
	} {
		if got := unicodeLocale(func(name string) string { return c.env[name] }); got != c.want {
			t.Errorf("%v: %v", c.env, got)
		}
	}
}

// Only verdicts are colored, not the same words in the names of files.
func TestColored(t *testing.T) {
	const text = "FAIL  kl_mean 0.1, the gate is <= 0.05\n  model    PASS  FAIL.thimble\n" +
		"  kl_mean                0.1  <= 0.05 FAIL      nats\n  top1_agreement         0.9  >= 0.8 pass       share\n"
	const want = red + "FAIL" + plain + "  kl_mean 0.1, the gate is <= 0.05\n  model    PASS  FAIL.thimble\n" +
		"  kl_mean                0.1  <= 0.05 " + red + "FAIL" + plain + "      nats\n  top1_agreement         0.9  >= 0.8 " + green + "pass" + plain + "       share\n"
	if got := colored(text); got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestKLText(t *testing.T) {
	for kl, want := range map[float64]string{0.02812: "0.0281", 0.5: "0.5000", 1e-8: "1.0e-8", 0.00123: "0.0012", 0.000999: "1.0e-3", 3.3e-13: "3.3e-13", 0: "0.0000"} {
		if got := klText(kl); got != want {
			t.Errorf("%g: %s, want %s", kl, got, want)
		}
	}
}
