//go:build unix

package mmap

import (
	"os"

	"golang.org/x/sys/unix"
)

func mapping(f *os.File, size int) (data []byte, unmap func() error, err error) {
	data, err = unix.Mmap(int(f.Fd()), 0, size, unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return nil, nil, err
	}
	return data, func() error { return unix.Munmap(data) }, nil
}

// unneeded is advice: that it could not be taken is no error.
func unneeded(pages []byte) { _ = unix.Madvise(pages, unix.MADV_DONTNEED) }
