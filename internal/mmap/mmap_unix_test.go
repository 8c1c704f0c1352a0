//go:build unix

package mmap

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"thimble/internal/parallel"
)

// Open must reject a FIFO without opening it, which would block until a writer
// opens it too.
func TestOpenFifo(t *testing.T) {
	path := filepath.Join(t.TempDir(), "fifo")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { _, err := Open(path); done <- err }()
	select {
	case err := <-done:
		if err == nil {
			t.Error("Open accepts a FIFO")
		}
	case <-time.After(10 * time.Second):
		t.Fatal("Open waits for a writer of the FIFO")
	}
}

// Mapping a file allocates no memory for its contents.
func TestOpenSparse(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "sparse"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	const size = 1 << 30
	if err := f.Truncate(size); err != nil {
		t.Fatal(err)
	}
	m, err := OpenFile(f)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if len(m.Data) != size || m.Data[size-1] != 0 {
		t.Errorf("mapped %d bytes, want %d", len(m.Data), size)
	}
}

func TestTruncatedAfterwards(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	m, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if err := os.Truncate(path, 0); err != nil {
		t.Fatal(err)
	}
	var sum byte
	err = parallel.Guard(func() error {
		for _, b := range m.Data {
			sum += b
		}
		return nil
	})
	if !errors.Is(err, parallel.ErrFault) {
		t.Errorf("read %d from a truncated mapping: %v, want ErrFault", sum, err)
	}
}

// Release keeps the contents of a mapping, and leaves other memory alone, which
// the same advice would fill with zeros.
func TestRelease(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	want := bytes.Repeat([]byte("thimble"), 100_000)
	if err := os.WriteFile(path, want, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	Release(f.Data[5000:600_000])
	Release(f.Data)
	Release(nil)
	if !bytes.Equal(f.Data, want) {
		t.Error("contents changed")
	}
	ours := bytes.Clone(want)
	Release(ours)
	if !bytes.Equal(ours, want) {
		t.Error("Release changed memory that is not part of a mapping")
	}
	closed := f.Data
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	Release(closed) // must not affect what the system maps at the same address next
	if len(live.all) != 0 {
		t.Errorf("%d mappings are still listed", len(live.all))
	}
}
