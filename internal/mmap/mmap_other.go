//go:build !unix && !windows

package mmap

import (
	"io"
	"os"
)

// mapping reads the file into memory, because this package maps files only on Unix and Windows.
func mapping(f *os.File, size int) (data []byte, unmap func() error, err error) {
	data = make([]byte, size)
	_, err = io.ReadFull(io.NewSectionReader(f, 0, int64(size)), data)
	return data, func() error { return nil }, err
}

func dontNeed([]byte) {}
