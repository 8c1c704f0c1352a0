package mmap

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"
)

func TestOpen(t *testing.T) {
	dir := t.TempDir()
	for _, text := range []string{"", "x", "thimble"} {
		path := filepath.Join(dir, "file")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		f, err := Open(path)
		if err != nil {
			t.Fatal(err)
		}
		if string(f.Data) != text {
			t.Errorf("got %q, want %q", f.Data, text)
		}
		for range 2 {
			if err := f.Close(); err != nil || f.Data != nil {
				t.Errorf("close: %v, data %q", err, f.Data)
			}
		}
	}
}

func TestOpenRefuses(t *testing.T) {
	dir := t.TempDir()
	if _, err := Open(dir); err == nil {
		t.Error("Open accepts a directory")
	}
	if _, err := Open(filepath.Join(dir, "absent")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("missing file: %v", err)
	}
	f, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := OpenFile(f); err == nil {
		t.Error("OpenFile accepts a directory")
	}
}

func TestLarge(t *testing.T) {
	for _, n := range []int{0, 1, 4096, 2<<20 - 1, 6 << 20, 7<<20 + 5} {
		b := Large(n)
		if len(b) != n || bytes.Count(b, []byte{0}) != n {
			t.Errorf("Large(%d) has %d bytes, %d of them zero", n, len(b), bytes.Count(b, []byte{0}))
		}
		for i := range b {
			b[i] = 1
		}
	}
}
