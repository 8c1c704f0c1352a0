//go:build !unix && !windows

package hub

import "os"

// tryLock does nothing, where no system call locks.
func tryLock(*os.File) error { return nil }
