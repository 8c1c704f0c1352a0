package atomicfile

import (
	"io"
	"os"
)

// A System is what File asks of a file system. Tests put one in its place that
// fails where they want; see faulty.
type System interface {
	Create(path string) (Handle, error)        // a new file, fs.ErrExist if there is one
	Free(dir string) (bytes int64, known bool) // room for an ordinary user's files
	Rename(from, to string) error              // replaces to
	Remove(path string) error
	SyncDir(dir string) error // makes a rename in dir durable
}

// A Handle is an open file of a System.
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
		return nil, err // not f: a nil *os.File in a Handle is not nil
	}
	return f, nil
}

func (system) Free(dir string) (int64, bool) { return free(dir) }
func (system) Rename(from, to string) error  { return os.Rename(from, to) }
func (system) Remove(path string) error      { return os.Remove(path) }
func (system) SyncDir(dir string) error      { return syncDir(dir) }
