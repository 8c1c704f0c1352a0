package signature

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// makeFiles makes empty files with the names, and those with contents.
func makeFiles(t *testing.T, dir string, names ...string) {
	t.Helper()
	for _, name := range names {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(name), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// A manifest is what "LC_ALL=C sha256sum *" prints in the folder.
func TestManifest(t *testing.T) {
	dir := t.TempDir()
	makeFiles(t, dir, "b.json", "B", "b", "sub/deep/x", "sub/.kept", ".git/left", ".out")
	if runtime.GOOS != "windows" {
		if err := os.Symlink("b", filepath.Join(dir, "link")); err != nil {
			t.Fatal(err)
		}
	} else {
		makeFiles(t, dir, "link")
	}
	names, paths, err := Folder(dir)
	if err != nil {
		t.Fatal(err)
	}
	slices.Reverse(names) // the order does not matter
	slices.Reverse(paths)
	var got bytes.Buffer
	if err := Manifest(t.Context(), names, paths, nil)(&got); err != nil {
		t.Fatal(err)
	}
	want := ""
	for _, name := range []string{"B", "b", "b.json", "link", "sub/.kept", "sub/deep/x"} {
		contents := name
		if name == "link" && runtime.GOOS != "windows" {
			contents = "b"
		}
		want += fmt.Sprintf("%x  %s\n", sha256.Sum256([]byte(contents)), name)
	}
	if got.String() != want {
		t.Errorf("%s\nwant\n%s", &got, want)
	}
	for _, name := range []string{"a\nb", `a\b`, "a\xff"} {
		if err := Manifest(t.Context(), []string{name}, []string{paths[0]}, nil)(&got); err == nil || !strings.Contains(err.Error(), "cannot be signed") {
			t.Errorf("%q: %v", name, err)
		}
	}
}

// A folder passes at the limit of its depth and is refused beyond.
func TestLimits(t *testing.T) {
	dir := t.TempDir()
	if _, _, err := Folder(dir); err == nil || !strings.Contains(err.Error(), "no files") {
		t.Error(err)
	}
	deep := strings.Repeat("d/", maxDepth)
	makeFiles(t, dir, deep+"file")
	if names, _, err := Folder(dir); err != nil || !slices.Equal(names, []string{deep + "file"}) {
		t.Error(names, err)
	}
	makeFiles(t, dir, deep+"d/file")
	if _, _, err := Folder(dir); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("more than %d folders deep", maxDepth)) {
		t.Error(err)
	}
	if runtime.GOOS == "windows" {
		return
	}
	dir = t.TempDir()
	makeFiles(t, dir, "file")
	if err := os.Symlink(dir, filepath.Join(dir, "loop")); err != nil {
		t.Fatal(err)
	}
	if _, _, err := Folder(dir); err == nil || !strings.Contains(err.Error(), "is a link to a folder") {
		t.Error(err)
	}
}

func TestFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	text := bytes.Repeat([]byte("0123456789"), 150_000)
	if err := os.WriteFile(path, text, 0o644); err != nil {
		t.Fatal(err)
	}
	var got bytes.Buffer
	var last, total int64
	if err := File(t.Context(), path, func(done, of int64) { last, total = done, of })(&got); err != nil || !bytes.Equal(got.Bytes(), text) {
		t.Error(err, got.Len())
	}
	if last != int64(len(text)) || total != last {
		t.Errorf("progress ends at %d of %d", last, total)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := File(ctx, path, nil)(&got); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
