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
	return &File{data, unmap}, nil
}

// Close gives the mapping back. Slices of Data must not be used afterwards.
// Closing again does nothing.
func (f *File) Close() error {
	unmap := f.unmap
	f.Data, f.unmap = nil, nil
	if unmap == nil {
		return nil
	}
	return unmap()
}

func regular(path string, info os.FileInfo) error {
	if info.Mode().IsRegular() {
		return nil
	}
	return &os.PathError{Op: "open", Path: path, Err: fmt.Errorf("not a regular file")}
}
