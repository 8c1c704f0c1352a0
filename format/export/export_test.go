package export

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// File fails, and leaves no file, if the body does not have the planned length.
func TestFileOfAnotherLength(t *testing.T) {
	for _, text := range []string{"", "abc", "abcde"} {
		dir := t.TempDir()
		write := File(&Options{}, 4, func(_ context.Context, w io.Writer) error {
			_, err := io.WriteString(w, text)
			return err
		})
		if err := write(t.Context(), filepath.Join(dir, "out")); err == nil || !strings.Contains(err.Error(), "planned 4") {
			t.Errorf("%q: %v", text, err)
		}
		if left, _ := os.ReadDir(dir); len(left) > 0 {
			t.Errorf("%q left %v", text, left)
		}
	}
}

// File stops once the context is done, even if the body does not look at it, and
// reports progress as the file grows.
func TestFileProgress(t *testing.T) {
	const chunk, chunks = 1 << 20, 5
	ctx, cancel := context.WithCancel(t.Context())
	var seen []int64
	o := Options{Progress: func(done int64) {
		if seen = append(seen, done); len(seen) == 2 {
			cancel()
		}
	}}
	body := func(_ context.Context, w io.Writer) error {
		for range chunks {
			if _, err := w.Write(make([]byte, chunk)); err != nil {
				return err
			}
		}
		return nil
	}
	dir := t.TempDir()
	if err := File(&o, chunk*chunks, body)(ctx, filepath.Join(dir, "out")); !errors.Is(err, context.Canceled) {
		t.Errorf("error is %v", err)
	}
	if want := []int64{chunk, 2 * chunk}; !slices.Equal(seen, want) {
		t.Errorf("progress was %v, want %v", seen, want)
	}
	if left, _ := os.ReadDir(dir); len(left) > 0 {
		t.Errorf("%v was left", left)
	}
}
