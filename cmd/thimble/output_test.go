package main

import (
	"strings"
	"testing"
	"time"
)

func TestMeter(t *testing.T) {
	var out strings.Builder
	now := time.Unix(0, 0)
	m := &meter{w: &out, now: func() time.Time { return now }, label: "convert", unit: "MB", scale: 1e6, begun: now}
	step := func(after time.Duration, done int64, want string) {
		t.Helper()
		out.Reset()
		now = now.Add(after)
		m.at(done, 269e6)
		if out.String() != want {
			t.Errorf("%q, want %q", out.String(), want)
		}
	}
	step(time.Millisecond, 0, "\r\x1b[Kconvert   0%  0.00 of 269 MB")
	step(50*time.Millisecond, 1e6, "") // too soon
	step(time.Second, 10e6, "\r\x1b[Kconvert   3%  10.0 of 269 MB  9.51 MB/s  27s left")
	step(19*time.Second, 40e6, "\r\x1b[Kconvert  14%  40.0 of 269 MB  1.99 MB/s  1m55s left")
	step(time.Second, 269e6, "\r\x1b[Kconvert 100%  269 of 269 MB  12.8 MB/s  0s left")
	out.Reset()
	m.done()
	m.done()
	if out.String() != "\r\x1b[K" {
		t.Errorf("the line is not wiped once: %q", out.String())
	}

	// What an earlier run has done says nothing of how fast this one is.
	m = &meter{w: &out, now: m.now, label: "quantize from block 7 of 12", unit: "MB", scale: 1e6, begun: now}
	now = now.Add(9 * time.Second)
	m.from(100e6)
	step(0, 100e6, "\r\x1b[Kquantize from block 7 of 12  37%  100 of 269 MB")
	step(10*time.Second, 120e6, "\r\x1b[Kquantize from block 7 of 12  44%  120 of 269 MB  2.00 MB/s  1m15s left")

	m = &meter{w: &out, now: m.now, label: "verify", unit: "tokens", scale: 1, begun: now}
	now = now.Add(time.Second)
	out.Reset()
	m.at(512, 4096)
	if want := "\r\x1b[Kverify  12%  512 of 4096 tokens  512 tokens/s  7s left"; out.String() != want {
		t.Errorf("%q, want %q", out.String(), want)
	}
}

// Where nothing is to be shown nothing is written: there is no writer.
func TestSilentMeter(t *testing.T) {
	m := &meter{now: time.Now}
	m.at(1, 2)
	m.done()
	var none *meter
	none.at(1, 2)
}

func TestHarmless(t *testing.T) {
	var b strings.Builder
	n, err := harmless{&b}.Write([]byte("a\tb\n\x1b[2Jé\r\u009b\x7f"))
	if n != 14 || err != nil || b.String() != "a\tb\n\ufffd[2Jé\ufffd\ufffd\ufffd" {
		t.Errorf("%d, %v, %q", n, err, b.String())
	}
}

func TestBytesText(t *testing.T) {
	for _, c := range []struct {
		n    int64
		want string
	}{{0, "0 B"}, {9999, "9999 B"}, {10000, "10.0 kB"}, {1515100, "1.5 MB"}, {269060552, "269.1 MB"}, {13476839424, "13.48 GB"}} {
		if got := bytesText(c.n); got != c.want {
			t.Errorf("%d: %q, want %q", c.n, got, c.want)
		}
	}
}
