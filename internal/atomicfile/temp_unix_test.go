//go:build linux || darwin || freebsd || netbsd || openbsd || dragonfly

package atomicfile_test

import (
	"io"
	"os"
	"path/filepath"
	"testing"

	"thimble/internal/atomicfile"
	"thimble/internal/atomicfile/faulty"
)

// Whoever makes a temporary file or folder removes those that a killed process has left, and no
// others: not those in use, nor files of other names, nor what a link leads to.
func TestLeftovers(t *testing.T) {
	for name, use := range map[string]func(dir string) error{
		"Create": func(dir string) error { return write(filepath.Join(dir, "out"), atomicfile.Options{}) },
		"Check":  func(dir string) error { return atomicfile.Check(filepath.Join(dir, "out"), atomicfile.Options{}) },
		"MkdirTemp": func(dir string) error {
			_, remove, err := atomicfile.MkdirTemp(dir)
			if err == nil {
				remove()
			}
			return err
		},
	} {
		dir := t.TempDir()
		made := func(err error) {
			t.Helper()
			if err != nil {
				t.Fatal(err)
			}
		}
		made(os.WriteFile(filepath.Join(dir, ".thimble-LEFT.partial"), []byte("left"), 0o600))
		made(os.WriteFile(filepath.Join(dir, ".thimble-1.scratch"), nil, 0o600))
		made(os.MkdirAll(filepath.Join(dir, ".thimble-LEFT2.partial", "sub"), 0o700))
		made(os.WriteFile(filepath.Join(dir, ".thimble-LEFT2.partial", "sub", "file"), []byte("left"), 0o600))
		made(os.WriteFile(filepath.Join(dir, ".thimble-notes"), []byte("mine"), 0o600))
		made(os.WriteFile(filepath.Join(dir, "thimble.partial"), []byte("mine"), 0o600))
		made(os.Symlink("thimble.partial", filepath.Join(dir, ".thimble-LINK.partial")))
		f, err := atomicfile.Create(filepath.Join(dir, "other"), atomicfile.Options{}) // removes them
		made(err)
		temp, remove, err := atomicfile.MkdirTemp(dir)
		made(err)
		made(os.WriteFile(filepath.Join(temp, "file"), []byte("used"), 0o600))
		made(os.WriteFile(filepath.Join(dir, ".thimble-LEFT3.partial"), []byte("left"), 0o600))
		made(use(dir))
		if _, err := os.Stat(filepath.Join(temp, "file")); err != nil {
			t.Errorf("%s: a folder in use is gone: %v", name, err)
		}
		if _, err := f.Write([]byte("x")); err != nil {
			t.Error(err)
		}
		if err := f.Commit(); err != nil {
			t.Errorf("%s: a file in use is gone: %v", name, err)
		}
		remove()
		os.Remove(filepath.Join(dir, "out"))
		if err := faulty.Only(dir, "other", ".thimble-notes", "thimble.partial", ".thimble-LINK.partial"); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A folder that is being written is in use until Commit.
func TestDirInUse(t *testing.T) {
	dir := t.TempDir()
	d, err := atomicfile.CreateDir(filepath.Join(dir, "out"), []string{"a"}, atomicfile.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Abort()
	if err := write(filepath.Join(dir, "other"), atomicfile.Options{}); err != nil { // as another process does
		t.Fatal(err)
	}
	if err := d.Write("a", func(w io.Writer) error { return nil }); err != nil {
		t.Fatal(err)
	}
	if err := d.Commit(); err != nil {
		t.Fatal(err)
	}
	if err := faulty.Only(filepath.Join(dir, "out"), "a"); err != nil {
		t.Error(err)
	}
}
