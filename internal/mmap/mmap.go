// Package mmap maps regular files for reading. Containers (format) and
// checkpoints (internal/checkpoint) both open their files through it.
//
// Touching mapped bytes of a file that was truncated meanwhile is a memory
// fault: read them under parallel.Guard or parallel.Do, which make it an error.
package mmap

import (
	"fmt"
	"math"
	"os"
	"slices"
	"sync"
	"unsafe"
)

// A File is a file's contents as they were long when it was opened.
type File struct {
	Data  []byte // read-only; valid until Close
	unmap func() error
}

// Open maps the regular file at path, following symbolic links. Its cost does
// not depend on the size of the file where the system can map files.
func Open(path string) (*File, error) {
	// A fifo would block in Open until somebody writes to it.
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

// OpenFile maps f, which the caller may close at once.
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
		return &File{}, nil // a mapping cannot be empty
	case size > math.MaxInt:
		return nil, &os.PathError{Op: "map", Path: f.Name(), Err: fmt.Errorf("%d bytes do not fit this machine's address space", size)}
	}
	data, unmap, err := mapping(f, int(size))
	if err != nil {
		return nil, &os.PathError{Op: "map", Path: f.Name(), Err: err}
	}
	live.add(data)
	return &File{data, unmap}, nil
}

// Close gives the mapping back. Slices of Data must not be used afterwards.
// Closing again does nothing.
func (f *File) Close() error {
	unmap := f.unmap
	live.remove(f.Data)
	f.Data, f.unmap = nil, nil
	if unmap == nil {
		return nil
	}
	return unmap()
}

// Release lets the system take back the memory that holds b, a part of the Data
// of some File: whoever has read a large file once, from end to end, need not
// keep it resident. b stays valid, and costs a read when it is touched again.
// Anything else than a part of a mapping is left alone.
func Release(b []byte) { live.release(b) }

// live lists the mappings there are, so that Release never advises the system
// on memory that is not one: anonymous memory would come back as zeros.
var live mappings

type mappings struct {
	mu  sync.Mutex
	all [][]byte
}

func (m *mappings) add(data []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.all = append(m.all, data)
}

func (m *mappings) remove(data []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.all = slices.DeleteFunc(m.all, func(d []byte) bool { return len(data) > 0 && &d[0] == &data[0] })
}

func (m *mappings) release(b []byte) {
	if len(b) == 0 {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	at := uintptr(unsafe.Pointer(&b[0]))
	for _, d := range m.all {
		from := uintptr(unsafe.Pointer(&d[0]))
		if at < from || at-from > uintptr(len(d)-len(b)) || len(b) > len(d) {
			continue
		}
		// Whole pages only; a mapping starts on one.
		page := uintptr(os.Getpagesize())
		first, end := (at-from+page-1)&^(page-1), (at-from+uintptr(len(b)))&^(page-1)
		if first < end {
			unneeded(d[first:end])
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
