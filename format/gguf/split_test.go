package gguf

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// splitDraft writes the tiny model in three files, the first without tensors, and returns
// their paths.
func splitDraft(t *testing.T) (paths []string) {
	t.Helper()
	whole, dir := tinyDraft(t), t.TempDir()
	total := len(whole.tensors)
	for i, tensors := range [][]draftTensor{nil, whole.tensors[:total/2], whole.tensors[total/2:]} {
		d := &draft{version: version, align: alignment, tensors: tensors}
		if i == 0 {
			d.keys = whole.keys
		}
		d.set(splitNo, uint16(i))
		d.set(splitCount, uint16(3))
		d.set("split.tensors.count", total)
		path := filepath.Join(dir, fmt.Sprintf("tiny-%05d-of-00003.gguf", i+1))
		if err := os.WriteFile(path, d.bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
		paths = append(paths, path)
	}
	return paths
}

// A split model opens by any of its files and has the tensors of the whole one.
func TestSplit(t *testing.T) {
	paths, want := splitDraft(t), opened(t, tinyDraft(t).bytes())
	for _, path := range paths {
		m := reopen(t, path)
		if m.Path != paths[0] || !slices.Equal(m.Files, paths) || len(m.Tensors) != len(want.Tensors) {
			t.Errorf("%s: path %s, files %q, %d tensors", path, m.Path, m.Files, len(m.Tensors))
		}
		for name, x := range want.Tensors {
			if !m.Tensors[name].SameValues(x) {
				t.Errorf("%s: %s differs", path, name)
			}
		}
	}
	if path, ok := InFolder(filepath.Dir(paths[0])); !ok || path != paths[0] {
		t.Errorf("in the folder: %q, %v", path, ok)
	}
	if err := os.WriteFile(filepath.Join(filepath.Dir(paths[0]), "other.gguf"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if path, ok := InFolder(filepath.Dir(paths[0])); ok {
		t.Errorf("in a folder of two models: %q", path)
	}
}

func TestSplitDamaged(t *testing.T) {
	for _, c := range []struct {
		name   string
		damage func(paths []string) error
		want   string
	}{
		{"a part missing", func(p []string) error { return os.Remove(p[1]) }, "tiny-00002-of-00003.gguf: part 2 of 3 of this model is missing; put all parts into one folder"},
		{"a part twice", func(p []string) error { return copyFile(p[1], p[2]) }, "split.no: is 1 of 3, its name says 2 of 3"},
		{"a part cut off", func(p []string) error { return os.Truncate(p[2], 600) }, "tiny-00003-of-00003.gguf: byte "},
		{"a part renamed", func(p []string) error { return os.Rename(p[0], p[0]+".gguf") }, "part 1 of 3 of this model is missing"},
	} {
		paths := splitDraft(t)
		if err := c.damage(paths); err != nil {
			t.Fatal(err)
		}
		path := paths[2]
		if c.name == "a part cut off" || c.name == "a part twice" {
			path = paths[0]
		}
		if m, err := Open(path); err == nil {
			m.Close()
			t.Errorf("%s: opened", c.name)
		} else if !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v\nwant %s", c.name, err, c.want)
		}
	}
}

func copyFile(from, to string) error {
	b, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, b, 0o600)
}
