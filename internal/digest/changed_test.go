package digest

import (
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"thimble/internal/mmap"
)

// A digest is of the file that is mapped, or an error.
func TestChanged(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("Windows does not write to or replace a mapped file")
	}
	for name, change := range map[string]func(path string) error{
		"nothing":  func(string) error { return nil },
		"replaced": func(path string) error { return os.Rename(write(t, "two")[0], path) },
		"longer":   func(path string) error { return os.WriteFile(path, []byte("three"), 0o666) },
		"written":  func(path string) error { return os.Chtimes(path, time.Time{}, time.Unix(1e9, 0)) },
		"removed":  os.Remove,
	} {
		path := write(t, "one")[0]
		f, err := mmap.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		h, err := Start(t.Context(), []string{path}, nil)
		if err != nil {
			t.Fatal(err)
		}
		<-h.done
		if err := change(path); err != nil {
			t.Fatal(err)
		}
		err = h.Wait()
		if (err == nil) != (name == "nothing") || err != nil && name != "removed" && !strings.Contains(err.Error(), "was replaced or written to while it was read") {
			t.Errorf("%s: %v", name, err)
		}
		f.Close()
		if err := mmap.Changed(path); err != nil {
			t.Errorf("%s: %v after Close", name, err)
		}
	}
}
