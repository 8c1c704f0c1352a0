package atomicfile

import (
	"io"
	"os"
)

// A System is the part of a file system that File uses. Tests replace it with one
// that fails on purpose; see package faulty.
type System interface {
	Create(path string) (Handle, error)        // returns fs.ErrExist if path exists
	Free(dir string) (bytes int64, known bool) // space available to an unprivileged user
	Rename(from, to string) error              // replaces to if it exists
	Exchange(a, b string) error                // swaps two folders at once, or returns errors.ErrUnsupported
	Remove(path string) error
	SyncDir(dir string) error // makes a rename in dir durable
}

// A Handle is an open file in a System.
type Handle interface {
	io.Writer
	io.WriterAt
	io.Closer
	Sync() error
}

type system struct{}

func (system) Create(path string) (Handle, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o666)
	if err != nil {
		return nil, err // not f: a Handle that holds a nil *os.File is not nil
	}
	return &file{File: f}, nil
}

// A file tells the system to start writing what it was given now and then, so that less is
// left for Sync to wait for.
type file struct {
	*os.File
	pending int // bytes
}

// writeBehind is the number of bytes after which a file starts writing.
const writeBehind = 8 << 20

func (f *file) Write(p []byte) (int, error) { return f.written(f.File.Write(p)) }

func (f *file) WriteAt(p []byte, off int64) (int, error) { return f.written(f.File.WriteAt(p, off)) }

func (f *file) written(n int, err error) (int, error) {
	if f.pending += n; f.pending >= writeBehind {
		f.pending = 0
		startWriting(f.File)
	}
	return n, err
}

func (system) Free(dir string) (int64, bool) { return free(dir) }
func (system) Rename(from, to string) error  { return os.Rename(from, to) }
func (system) Exchange(a, b string) error    { return exchange(a, b) }
func (system) Remove(path string) error      { return os.Remove(path) }
func (system) SyncDir(dir string) error      { return syncDir(dir) }
