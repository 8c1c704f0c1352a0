package mmap

import (
	"os"
	"unsafe"

	"golang.org/x/sys/windows"
)

// mapping maps the file. Until unmap, Windows refuses to truncate, replace or delete it.
func mapping(f *os.File, size int) (data []byte, unmap func() error, err error) {
	object, err := windows.CreateFileMapping(windows.Handle(f.Fd()), nil, windows.PAGE_READONLY, 0, 0, nil)
	if err != nil {
		return nil, nil, err
	}
	defer windows.CloseHandle(object) // the view keeps the object alive
	view, err := windows.MapViewOfFile(object, windows.FILE_MAP_READ, 0, 0, uintptr(size))
	if err != nil {
		return nil, nil, err
	}
	// The system returns an address as an integer, which go vet lets nobody convert directly.
	data = unsafe.Slice(*(**byte)(unsafe.Pointer(&view)), size)
	return data, func() error { return windows.UnmapViewOfFile(view) }, nil
}

// dontNeed removes pages from the working set: that is what VirtualUnlock does to pages
// that are not locked, although it then reports an error.
func dontNeed(pages []byte) {
	_ = windows.VirtualUnlock(uintptr(unsafe.Pointer(&pages[0])), uintptr(len(pages)))
}
