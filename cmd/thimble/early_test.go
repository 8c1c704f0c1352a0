package main

import (
	"context"
	"slices"
	"strings"
	"testing"

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
