package tokenizer

import (
	"errors"
	"strings"
	"testing"

	"thimble/internal/defect"
)

// Readers of testdata, which files_test.go sets.
var ParseJSON, ParseSentencePiece func(b []byte) (*Data, error)

// checkError checks that err is of the right kind and a single line that contains want.
// If want is empty, err must be nil.
func checkError(t *testing.T, err error, unsupported bool, want string) {
	t.Helper()
	if want == "" {
		if err != nil {
			t.Errorf("got %v, want no error", err)
		}
		return
	}
	var corrupt *defect.CorruptError
	switch {
	case err == nil:
		t.Errorf("no error, want %q", want)
	case !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n"):
		t.Errorf("got %q, want %q in one line", err, want)
	case errors.Is(err, defect.ErrUnsupported) != unsupported || errors.As(err, &corrupt) == unsupported:
		t.Errorf("%q is of the wrong kind, want unsupported %v", err, unsupported)
	}
}
