// Package faulty provides a file system that fails on purpose, to test programs
// that write files.
package faulty

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"thimble/internal/atomicfile"
)

// A System writes real files and counts its operations: Create, Write, WriteAt,
// Sync, Close, Rename, Exchange and SyncDir. It does not count Remove and Free.
type System struct {
	Fail  int      // number of the operation that fails, from 1; 0 means none
	Err   error    // the error it returns; nil makes a write short and any other operation succeed
	Room  int64    // free bytes that Free reports; 0 means unknown
	Apart bool     // Exchange is unsupported
	Trace []string // the operations so far
}

// fails counts one operation and reports whether it must fail.
func (s *System) fails(op string) bool {
	s.Trace = append(s.Trace, op)
	return len(s.Trace) == s.Fail
}

func (s *System) Create(path string) (atomicfile.Handle, error) {
	if s.fails("create") && s.Err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: s.Err}
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	return &handle{s, f}, nil
}

func (s *System) Free(string) (int64, bool) { return s.Room, s.Room > 0 }
func (s *System) Remove(path string) error  { return os.Remove(path) }

func (s *System) Rename(from, to string) error {
	if s.fails("rename") && s.Err != nil {
		return &os.LinkError{Op: "rename", Old: from, New: to, Err: s.Err}
	}
	return os.Rename(from, to)
}

func (s *System) Exchange(a, b string) error {
	switch {
	case s.Apart:
		return errors.ErrUnsupported
	case s.fails("exchange") && s.Err != nil:
		return &os.LinkError{Op: "exchange", Old: a, New: b, Err: s.Err}
	}
	return errors.Join(os.Rename(a, a+"-"), os.Rename(b, a), os.Rename(a+"-", b))
}

func (s *System) SyncDir(dir string) error {
	if s.fails("syncdir") && s.Err != nil {
		return &os.PathError{Op: "sync", Path: dir, Err: s.Err}
	}
	return nil
}

type handle struct {
	system *System
	*os.File
}

func (h *handle) Write(p []byte) (int, error) {
	if h.system.fails("write") {
		n, _ := h.File.Write(p[:len(p)/2])
		return n, h.system.Err
	}
	return h.File.Write(p)
}

func (h *handle) WriteAt(p []byte, off int64) (int, error) {
	if h.system.fails("writeat") {
		n, _ := h.File.WriteAt(p[:len(p)/2], off)
		return n, h.system.Err
	}
	return h.File.WriteAt(p, off)
}

func (h *handle) Sync() error {
	if h.system.fails("sync") {
		return h.system.Err
	}
	return nil // without a real sync, to keep tests fast
}

func (h *handle) Close() error {
	failed := h.system.fails("close")
	if err := h.File.Close(); err != nil || !failed {
		return err
	}
	return h.system.Err
}

// Only returns an error unless dir contains exactly the given names. Tests use it
// to check that a failed writer leaves no temporary files.
func Only(dir string, names ...string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	known := map[string]bool{}
	for _, name := range names {
		known[name] = true
	}
	for _, e := range entries {
		if !known[e.Name()] {
			return fmt.Errorf("%s should not exist", filepath.Join(dir, e.Name()))
		}
		delete(known, e.Name())
	}
	for _, name := range names {
		if known[name] {
			return fmt.Errorf("%s is missing", filepath.Join(dir, name))
		}
	}
	return nil
}
