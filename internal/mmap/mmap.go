// Package mmap maps regular files into memory for reading. Readers of containers
// (format) and of checkpoints (internal/checkpoint) use it.
//
// Reading mapped bytes of a file that has been truncated since causes a memory
// fault. Read them within parallel.Guard or parallel.Do, which return an error
// instead.
package mmap

import (
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"unsafe"
)

// A File holds the contents of a file, of the length it had when it was opened.
type File struct {
	Data  []byte // read-only; valid until Close
	unmap func() error
	path  string
	info  os.FileInfo // when it was opened
}

// Open maps the regular file at path, following symbolic links. On systems that
// can map files, it takes the same time for a file of any size.
func Open(path string) (*File, error) {
	// Check before opening: os.Open blocks on a FIFO until somebody writes to it.
	if info, err := os.Stat(path); err != nil {
		return nil, err
	} else if err := regular(path, info); err != nil {
		return nil, err
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return OpenFile(f)
}

// OpenFile maps f, which the caller may close afterwards.
func OpenFile(f *os.File) (*File, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if err := regular(f.Name(), info); err != nil {
		return nil, err
	}
	size := info.Size()
	switch {
	case size == 0:
		return &File{}, nil // the system cannot map an empty file
	case size > math.MaxInt:
		return nil, &os.PathError{Op: "map", Path: f.Name(), Err: fmt.Errorf("%d bytes do not fit this machine's address space", size)}
	}
	data, unmap, err := mapping(f, int(size))
	if err != nil {
		return nil, &os.PathError{Op: "map", Path: f.Name(), Err: err}
	}
	file := &File{data, unmap, f.Name(), info}
	live.add(file)
	return file, nil
}

// Close removes the mapping. Slices of Data must not be used afterwards. A second
// Close does nothing.
func (f *File) Close() error {
	unmap := f.unmap
	live.remove(f)
	f.Data, f.unmap = nil, nil
	if unmap == nil {
		return nil
	}
	return unmap()
}

// Release tells the system that it may reclaim the memory that holds b, a part of
// the Data of some File. Call it after the only pass over a large file, so that
// the file does not stay resident. b stays valid; the system reads it again when
// it is used again. Release does nothing if b is not part of a mapping.
func Release(b []byte) { live.release(b) }

// Large returns n zeros for data that will stay in memory. Where the system can, it takes large
// pages: filling 135 MB then takes 500 times fewer page faults.
func Large(n int) []byte {
	b := make([]byte, n)
	advise(b)
	return b
}

// Changed returns an error if the file at path is mapped and has been replaced or written to since
// it was. What was read from the mapping is then of another file than the one at path, or of two
// states of it.
func Changed(path string) error {
	live.mu.Lock()
	defer live.mu.Unlock()
	for _, f := range live.all {
		if filepath.Clean(f.path) != filepath.Clean(path) {
			continue
		}
		now, err := os.Stat(path)
		if err != nil {
			return err
		}
		if err := Compare(path, f.info, now); err != nil {
			return err
		}
	}
	return nil
}

// Compare returns an error if the file at path has been replaced or written to between then and
// now.
func Compare(path string, then, now os.FileInfo) error {
	if os.SameFile(then, now) && then.Size() == now.Size() && then.ModTime().Equal(now.ModTime()) {
		return nil
	}
	return &os.PathError{Op: "read", Path: path, Err: errChanged}
}

var errChanged = errors.New("the file was replaced or written to while it was read; run the command again")

// live lists the current mappings, so that Release advises the system on no other
// memory: the same advice would fill anonymous memory with zeros.
var live mappings

type mappings struct {
	mu  sync.Mutex
	all []*File
}

func (m *mappings) add(f *File) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.all = append(m.all, f)
}

func (m *mappings) remove(f *File) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.all = slices.DeleteFunc(m.all, func(other *File) bool { return other == f })
}

func (m *mappings) release(b []byte) {
	if len(b) == 0 {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	at := uintptr(unsafe.Pointer(&b[0]))
	for _, f := range m.all {
		d := f.Data
		from := uintptr(unsafe.Pointer(&d[0]))
		if at < from || at-from > uintptr(len(d)-len(b)) || len(b) > len(d) {
			continue
		}
		// Release only whole pages. The mapping itself starts at a page boundary.
		page := uintptr(os.Getpagesize())
		first, end := (at-from+page-1)&^(page-1), (at-from+uintptr(len(b)))&^(page-1)
		if first < end {
			dontNeed(d[first:end])
		}
		return
	}
}

func regular(path string, info os.FileInfo) error {
	if info.Mode().IsRegular() {
		return nil
	}
	return &os.PathError{Op: "open", Path: path, Err: fmt.Errorf("not a regular file")}
}
