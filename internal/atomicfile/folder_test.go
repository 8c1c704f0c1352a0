package atomicfile_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"thimble/internal/atomicfile"
	"thimble/internal/atomicfile/faulty"
)

// open returns an open folder for path, in which "moved" is written.
func open(t *testing.T, path string, overwrite bool) *atomicfile.Folder {
	t.Helper()
	f, err := atomicfile.NewFolder(path, overwrite, nil)
	if err == nil {
		err = f.Open()
	}
	if err == nil {
		err = os.WriteFile(f.File("moved"), []byte("new"), 0o666)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.Close)
	return f
}

var texts = []atomicfile.NamedFile{{Name: "text", Text: []byte("abc")}}

func TestFolder(t *testing.T) {
	for _, existed := range []bool{false, true} {
		dir := t.TempDir()
		path := filepath.Join(dir, "out")
		if existed {
			path = dir
		}
		f := open(t, path, false)
		if _, err := os.Stat(filepath.Join(path, "moved")); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%v; the file appeared before Publish", err)
		}
		if err := f.Publish([]string{"moved"}, texts); err != nil {
			t.Fatal(err)
		}
		f.Close()
		if contents(t, filepath.Join(path, "moved")) != "new" || contents(t, filepath.Join(path, "text")) != "abc" {
			t.Error("the files have other contents")
		}
		if err := faulty.Only(path, "moved", "text"); err != nil {
			t.Error(err)
		}
		if !existed {
			if err := faulty.Only(dir, "out"); err != nil {
				t.Error(err)
			}
		}
	}
}

// Without a path the files are temporary.
func TestFolderTemporary(t *testing.T) {
	f := open(t, "", false)
	f.Close()
	if _, err := os.Stat(f.File("moved")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v; the file outlives the folder", err)
	}
}

// If a file cannot be published, none is.
func TestFolderFails(t *testing.T) {
	for _, existed := range []bool{false, true} {
		dir := t.TempDir()
		path := filepath.Join(dir, "out")
		if existed {
			if err := os.Mkdir(path, 0o777); err != nil {
				t.Fatal(err)
			}
		}
		f := open(t, path, false)
		if err := f.Publish([]string{"moved", "missing"}, texts); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%v, want an error about the missing file", err)
		}
		f.Close()
		left := dir
		if existed {
			left = path
		}
		if err := faulty.Only(left); err != nil {
			t.Error(err)
		}
	}
}

// If a file cannot be published, those that have replaced others stay: each is old or new, and none
// is lost.
func TestFolderFailsReplacing(t *testing.T) {
	dir := t.TempDir()
	old := filepath.Join(dir, "moved")
	if err := os.WriteFile(old, []byte("old"), 0o666); err != nil {
		t.Fatal(err)
	}
	f := open(t, dir, true)
	if err := os.WriteFile(f.File("other"), nil, 0o666); err != nil {
		t.Fatal(err)
	}
	if err := f.Publish([]string{"other", "moved", "missing"}, nil); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v, want an error about the missing file", err)
	}
	f.Close()
	if got := contents(t, old); got != "new" {
		t.Errorf("the file is %q, want the new one", got)
	}
	if err := faulty.Only(dir, "moved"); err != nil {
		t.Error(err)
	}
}

// Files that exist are replaced only with overwrite, and inputs never.
func TestFolderExisting(t *testing.T) {
	dir := t.TempDir()
	old := filepath.Join(dir, "moved")
	if err := os.WriteFile(old, []byte("old"), 0o666); err != nil {
		t.Fatal(err)
	}
	f := open(t, dir, false)
	if err := f.Check([]string{"text", "moved"}); !errors.Is(err, fs.ErrExist) {
		t.Errorf("Check: %v", err)
	}
	if err := f.Publish([]string{"moved"}, nil); !errors.Is(err, fs.ErrExist) || contents(t, old) != "old" {
		t.Errorf("Publish: %v, and the file is %q", err, contents(t, old))
	}
	f = open(t, dir, true)
	if err := f.Check([]string{"moved"}); err != nil {
		t.Error(err)
	}
	if err := f.Publish([]string{"moved"}, nil); err != nil || contents(t, old) != "new" {
		t.Errorf("Publish: %v, and the file is %q", err, contents(t, old))
	}
	f, err := atomicfile.NewFolder(dir, true, []string{old})
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Check([]string{"moved"}); err == nil || !strings.Contains(err.Error(), "is an input of this run") {
		t.Errorf("Check: %v", err)
	}
}

func TestFolderRefused(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o666); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		file:                           file + ": is not a folder",
		filepath.Join(dir, "no", "no"): filepath.Join(dir, "no", "no") + ": its parent folder does not exist",
	} {
		if _, err := atomicfile.NewFolder(path, false, nil); err == nil || err.Error() != want {
			t.Errorf("%v, want %s", err, want)
		}
	}
}
