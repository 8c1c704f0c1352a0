//go:build unix

package hub

import (
	"os"

	"golang.org/x/sys/unix"
)

// tryLock locks f against other processes, as filelock does for huggingface_hub.
func tryLock(f *os.File) error { return unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) }
