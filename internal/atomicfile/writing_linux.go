package atomicfile

import (
	"os"

	"golang.org/x/sys/unix"
)

// startWriting starts to write all of f to the disk. Sync reports an error, if there is one.
func startWriting(f *os.File) {
	_ = unix.SyncFileRange(int(f.Fd()), 0, 0, unix.SYNC_FILE_RANGE_WRITE)
}
