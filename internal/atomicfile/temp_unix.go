//go:build linux || darwin || freebsd || netbsd || openbsd || dragonfly

package atomicfile

import (
	"os"

	"golang.org/x/sys/unix"
)

// claim locks the file or folder at path, which this process has just created, until release. ours
// is false if another process adopted it in between and has removed it. Where the file system has
// no locks, nobody can adopt it either.
func claim(path string) (release func(), ours bool) {
	f, err := openLocked(path, unix.LOCK_EX)
	if f == nil {
		return func() {}, !os.IsNotExist(err)
	}
	release = func() { f.Close() }
	here, err := f.Stat()
	if now, lost := os.Lstat(path); err == nil && (lost != nil || !os.SameFile(here, now)) {
		release()
		return nil, false
	}
	return release, true
}

// adopt locks the file or folder at path if no process that has claimed it is alive.
func adopt(path string) (release func(), ok bool) {
	f, err := openLocked(path, unix.LOCK_EX|unix.LOCK_NB)
	if err != nil {
		return nil, false
	}
	return func() { f.Close() }, true
}

func openLocked(path string, how int) (*os.File, error) {
	// NFS locks only files that are open for writing, and folders cannot be.
	f, err := os.OpenFile(path, os.O_RDWR|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		if f, err = os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0); err != nil {
			return nil, err
		}
	}
	for {
		if err = unix.Flock(int(f.Fd()), how); err != unix.EINTR {
			break
		}
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}
