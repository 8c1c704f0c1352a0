package layout

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A package that one person can hold in mind: more is two packages.
const (
	maxLines = 4500
	maxFiles = 45
)

// No package has too many lines or files, tests not counted. One that is near the limit is due to
// be divided along a boundary of meaning; see docs/ADDING.md.
func TestPackageSizes(t *testing.T) {
	type size struct{ lines, files int }
	sizes := map[string]size{}
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			return err
		}
		text, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		s := sizes[filepath.Dir(name)]
		sizes[filepath.Dir(name)] = size{s.lines + bytes.Count(text, []byte("\n")), s.files + 1}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for folder, s := range sizes {
		if s.lines > maxLines || s.files > maxFiles {
			t.Errorf("%s has %d lines in %d files, more than %d in %d", folder, s.lines, s.files, maxLines, maxFiles)
		}
	}
}
