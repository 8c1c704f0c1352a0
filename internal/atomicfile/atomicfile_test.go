package atomicfile_test

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"

	"thimble/internal/atomicfile"
	"thimble/internal/atomicfile/faulty"
)

// write creates a file, writes to it three times and commits it.
func write(path string, o atomicfile.Options) error {
	f, err := atomicfile.Create(path, o)
	if err != nil {
		return err
	}
	defer f.Abort()
	if _, err := f.Write([]byte("----")); err != nil {
		return err
	}
	if _, err := f.Write([]byte("data")); err != nil {
		return err
	}
	if _, err := f.WriteAt([]byte("head"), 0); err != nil {
		return err
	}
	return f.Commit()
}

func contents(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestWrite(t *testing.T) {
	dir := t.TempDir()
	// With the longest name that file systems allow, a temporary name cannot add to it.
	path := filepath.Join(dir, strings.Repeat("n", 255))
	for _, o := range []atomicfile.Options{{Size: 8}, {Overwrite: true}} {
		if err := write(path, o); err != nil {
			t.Fatal(err)
		}
		if got := contents(t, path); got != "headdata" {
			t.Errorf("wrote %q", got)
		}
		if err := faulty.Only(dir, filepath.Base(path)); err != nil {
			t.Error(err)
		}
	}
}

// Commit syncs the contents before it renames, and syncs the folder before it returns.
func TestOrder(t *testing.T) {
	s := &faulty.System{}
	if err := write(filepath.Join(t.TempDir(), "out"), atomicfile.Options{System: s}); err != nil {
		t.Fatal(err)
	}
	want := []string{"create", "write", "write", "writeat", "sync", "close", "rename", "syncdir"}
	if !slices.Equal(s.Trace, want) {
		t.Errorf("operations %v, want %v", s.Trace, want)
	}
}

// missingFolder returns the system's text about a file in a folder that does not exist.
func missingFolder() string {
	if runtime.GOOS == "windows" {
		const errorPathNotFound = 3
		return syscall.Errno(errorPathNotFound).Error()
	}
	return syscall.ENOENT.Error()
}

func TestRefuses(t *testing.T) {
	dir := t.TempDir()
	old := filepath.Join(dir, "old")
	if err := os.WriteFile(old, []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(dir, "link")
	if err := os.Symlink("old", link); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		path string
		o    atomicfile.Options
		want string
	}{
		{old, atomicfile.Options{}, "exists"},
		{link, atomicfile.Options{}, "exists"},
		{old, atomicfile.Options{Overwrite: true, Inputs: []string{filepath.Join(dir, "absent"), link}}, "is an input"},
		{link, atomicfile.Options{Overwrite: true, Inputs: []string{old}}, "is an input"},
		{dir, atomicfile.Options{Overwrite: true}, "is a directory"},
		{os.DevNull, atomicfile.Options{Overwrite: true}, "not a regular file"},
		{filepath.Join(dir, "no", "out"), atomicfile.Options{}, missingFolder()},
		{filepath.Join(dir, "out"), atomicfile.Options{Size: 1 << 62}, "free"},
		{filepath.Join(dir, "out"), atomicfile.Options{Size: 8, System: &faulty.System{Room: 7}}, "needs 8 B, 1 B more than the disk has free; delete something there, or write to another disk"},
	} {
		err := write(c.path, c.o)
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), c.path) {
			t.Errorf("%s: got %v, want ... %s", c.path, err, c.want)
		}
	}
	if err := faulty.Only(dir, "old", "link"); err != nil {
		t.Error(err)
	}
	if got := contents(t, old); got != "old" {
		t.Errorf("the old file now contains %q", got)
	}
}

// Check returns what Create would, before the work, and leaves nothing behind.
func TestCheck(t *testing.T) {
	dir := t.TempDir()
	old := filepath.Join(dir, "old")
	if err := os.WriteFile(old, []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		path string
		o    atomicfile.Options
		want string // "" if the file can be written
	}{
		{filepath.Join(dir, "new"), atomicfile.Options{}, ""},
		{old, atomicfile.Options{Overwrite: true}, ""},
		{old, atomicfile.Options{}, "exists"},
		{filepath.Join(dir, "none", "new"), atomicfile.Options{}, "its folder does not exist; create it first"},
		{filepath.Join(old, "new"), atomicfile.Options{}, "not a directory"},
		{filepath.Join(dir, "new"), atomicfile.Options{System: &faulty.System{Fail: 1, Err: syscall.EROFS}}, "create: read-only file system; write to a folder that is yours"},
		{filepath.Join(dir, "new"), atomicfile.Options{Size: 8, System: &faulty.System{Room: 7}}, "needs 8 B, 1 B more than the disk has free; delete something there, or write to another disk"},
	} {
		err := atomicfile.Check(c.path, c.o)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: got %v, want %s", c.path, err, c.want)
		}
	}
	if err := faulty.Only(dir, "old"); err != nil {
		t.Error(err)
	}
	if got := contents(t, old); got != "old" {
		t.Errorf("the old file now contains %q", got)
	}
}

// Commit does not replace a file that appeared after Create.
func TestCreatedMeanwhile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "out")
	f, err := atomicfile.Create(path, atomicfile.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("theirs"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := f.Commit(); err == nil || !strings.Contains(err.Error(), "exists") {
		t.Errorf("got %v", err)
	}
	if got := contents(t, path); got != "theirs" {
		t.Errorf("their file now contains %q", got)
	}
	if err := faulty.Only(dir, "out"); err != nil {
		t.Error(err)
	}
}

// Whichever operation fails, the old file remains or the new one is complete, and
// no temporary file remains.
func TestFaults(t *testing.T) {
	for _, cause := range []error{syscall.ENOSPC, syscall.EIO, nil} {
		for n := 1; failOperation(t, n, cause); n++ {
		}
	}
}

// failOperation overwrites a file while operation n fails with cause, and checks
// the error and the file. It returns false if there are fewer than n operations.
func failOperation(t *testing.T, n int, cause error) bool {
	t.Helper()
	dir := t.TempDir()
	path := filepath.Join(dir, "out")
	if err := os.WriteFile(path, []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := &faulty.System{Fail: n, Err: cause}
	err := write(path, atomicfile.Options{Overwrite: true, System: s})
	if len(s.Trace) < n {
		if n < 9 || err != nil {
			t.Errorf("%d operations, %v", len(s.Trace), err)
		}
		return false
	}
	op, want, reason := s.Trace[n-1], "old", cause
	if op == "syncdir" {
		want = "headdata"
	}
	if cause == nil {
		if !strings.HasPrefix(op, "write") {
			return true // a short write is the only failure without an error
		}
		reason = io.ErrShortWrite
	}
	if !errors.Is(err, reason) || !strings.HasPrefix(err.Error(), path+": ") || strings.Contains(err.Error(), "partial") {
		t.Errorf("%s: %v, want %v", op, err, reason)
	}
	if got := contents(t, path); got != want {
		t.Errorf("%s failed: file is %q, want %q", op, got, want)
	}
	if err := faulty.Only(dir, "out"); err != nil {
		t.Errorf("%s failed: %v", op, err)
	}
	return true
}

func TestAfterAbort(t *testing.T) {
	dir := t.TempDir()
	f, err := atomicfile.Create(filepath.Join(dir, "out"), atomicfile.Options{})
	if err != nil {
		t.Fatal(err)
	}
	f.Abort()
	f.Abort()
	if _, err := f.Write([]byte("x")); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("write after Abort: %v", err)
	}
	if err := f.Commit(); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("commit after Abort: %v", err)
	}
	if err := faulty.Only(dir); err != nil {
		t.Error(err)
	}
}
