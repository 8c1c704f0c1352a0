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

// dontNeed advises the system that pages may be reclaimed. It ignores a failure,
// because nothing depends on the advice.
func dontNeed(pages []byte) { _ = unix.Madvise(pages, unix.MADV_DONTNEED) }
