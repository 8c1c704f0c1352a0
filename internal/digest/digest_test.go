package digest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"thimble/internal/model"
)

// write writes the texts to files and returns their paths.
func write(t *testing.T, texts ...string) (paths []string) {
	t.Helper()
	dir := t.TempDir()
	for i, text := range texts {
		path := filepath.Join(dir, string(rune('a'+i)))
		if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
		paths = append(paths, path)
	}
	return paths
}

func TestFiles(t *testing.T) {
	texts := []string{"one", strings.Repeat("two", 1<<20), ""}
	paths := write(t, texts...)
	var mutex sync.Mutex
	var most int64
	const total = 3 + 3<<20
	got, err := Files(t.Context(), paths, func(done, of int64) {
		mutex.Lock()
		defer mutex.Unlock()
		if most = max(most, done); of != total {
			t.Errorf("the total is %d, want %d", of, total)
		}
	})
	if err != nil || len(got) != len(texts) {
		t.Fatal(got, err)
	}
	if most != total {
		t.Errorf("progress ends at %d of %d bytes", most, total)
	}
	for i, text := range texts {
		sum := sha256.Sum256([]byte(text))
		if s := got[i]; s.Name != filepath.Base(paths[i]) || s.Bytes != int64(len(text)) || !bytes.Equal(s.SHA256, sum[:]) {
			t.Errorf("%+v, want %d bytes with %x", s, len(text), sum)
		}
	}
	sized, err := Sized(paths)
	if err != nil || len(sized) != len(texts) || sized[1].Bytes != 3<<20 || !bytes.Equal(sized[1].SHA256, make([]byte, sha256.Size)) {
		t.Error(sized, err)
	}
	if !bytes.Equal(Main(got), got[1].SHA256) {
		t.Errorf("%x identifies the model, want the digest of the largest file", Main(got))
	}
	if Main([]model.Source{}) != nil {
		t.Error("no files have a digest")
	}
}

// Sources has its digests only after Wait, so that a caller can read the lengths meanwhile.
func TestStart(t *testing.T) {
	h, err := Start(t.Context(), write(t, "text"), nil)
	if err != nil {
		t.Fatal(err)
	}
	<-h.done
	if s := h.Sources[0]; s.Bytes != 4 || !bytes.Equal(s.SHA256, make([]byte, sha256.Size)) {
		t.Errorf("%+v before Wait", s)
	}
	if sum := sha256.Sum256([]byte("text")); h.Wait() != nil || !bytes.Equal(h.Sources[0].SHA256, sum[:]) {
		t.Errorf("%+v after Wait", h.Sources[0])
	}
	h.Stop()
}

func TestErrors(t *testing.T) {
	paths := write(t, "one", "two")
	if _, err := Files(t.Context(), append(paths, paths[0]+".missing"), nil); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v, want an error about a missing file", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Files(ctx, paths, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("%v, want %v", err, context.Canceled)
	}
	if _, err := Files(t.Context(), []string{t.TempDir()}, nil); err == nil {
		t.Error("a folder has a digest")
	}
}
