package mmap

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// largePage is the size of a large page on amd64, and on arm64 with small pages of 4 KB. Advice
// about parts of a larger one has no effect.
const largePage = 2 << 20

func advise(b []byte) {
	lead := int(-uintptr(unsafe.Pointer(unsafe.SliceData(b))) % largePage)
	if whole := (len(b) - lead) &^ (largePage - 1); whole > 0 {
		_ = unix.Madvise(b[lead:lead+whole], unix.MADV_HUGEPAGE) // nothing depends on it
	}
}
