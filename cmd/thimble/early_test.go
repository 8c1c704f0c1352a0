package main

import (
	"bytes"
	"context"
	"io"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"thimble"
)

// What is known before a survey is told before it, and an interrupt during it says what was
// lost.
func TestNotesBeforeSurvey(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var notes []string
	_, err := thimble.Quantize(ctx, thimble.QuantizeOptions{
		Model: "../../fixtures/trained", Budget: &thimble.Budget{Bits: 5.5}, Notes: []string{"the preset"},
		Noted: func(text string) { notes = append(notes, text) },
		Progress: func(s thimble.Step) { // the survey's, unless no note came before it
			if s.Stage == "survey" {
				stop()
			}
		},
	})
	if err == nil {
		t.Fatal("an interrupt during the survey did not end it")
	}
	if got, want := interrupted(err).Error(), "; the unfinished survey is lost; --stats FILE keeps a finished one"; !strings.Contains(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	for _, want := range []string{"the preset", "no --calib: ", "survey of 85 matrices on 16384 tokens, the longest part; --calib-tokens 4096 is faster, --stats FILE keeps it for the next run"} {
		if !slices.ContainsFunc(notes, func(note string) bool { return strings.HasPrefix(note, want) }) {
			t.Errorf("no note %q in %q", want, notes)
		}
	}
}

// A speed is told once, however many types have it.
func TestTypesText(t *testing.T) {
	text := typesText([]thimble.TargetType{
		{Target: "llama.cpp", Type: "Q4_0", Tensors: 1, Weights: 1, Speed: "fast"},
		{Target: "llama.cpp", Type: "Q5_0", Tensors: 1, Weights: 1, Speed: "slow"},
		{Target: "llama.cpp", Type: "Q5_1", Tensors: 1, Weights: 2, Speed: "slow"},
	})
	if !strings.Contains(text, "weights: slow\n") || !strings.HasSuffix(text, " 50.0% of their weights: as Q5_0\n") {
		t.Error(text)
	}
}

// A note that the same stream has shown is not repeated; another stream has all of them.
func TestUntold(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	m := &meter{w: w, now: time.Now}
	m.note("note: a")
	for _, c := range []struct {
		out    io.Writer
		prefix string
		want   int
	}{{w, "note: ", 1}, {w, "warning: ", 2}, {os.Stdin, "note: ", 2}, {new(bytes.Buffer), "note: ", 2}} {
		if left := m.untold(c.out, c.prefix, []string{"a", "b"}); len(left) != c.want {
			t.Errorf("%T, %q: %q are left, want %d", c.out, c.prefix, left, c.want)
		}
	}
}
