package calibration

import (
	"strings"
	"testing"

	"thimble/quantize"
)

// Shorter pieces are a remedy only for a text that is worth cutting.
func TestCheckPieces(t *testing.T) {
	for _, c := range []struct {
		tokens  int
		holdOut bool
		want    string
	}{
		{9, false, "the text has 9 tokens, fewer than one piece of 1024; use a longer text, or leave --calib out for the built-in one"},
		{511, true, "fewer than two pieces of 1024; use a longer text, or leave --calib out for the built-in one"},
		{600, false, "use a longer text or a smaller --calib-context, at most 600"},
		{600, true, "use a longer text or a smaller --calib-context, at most 300"},
	} {
		err := checkPieces(c.tokens, quantize.Texts{Tokens: 4096, Context: 1024}, c.holdOut)
		if err == nil || !strings.HasSuffix(err.Error(), c.want) {
			t.Errorf("%d tokens: %v, want %q", c.tokens, err, c.want)
		}
	}
}
