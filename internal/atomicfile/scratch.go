package atomicfile

import (
	"os"
	"path/filepath"
	"runtime"
)

// A Scratch is a temporary file for data that does not fit into memory. Where the system
// allows it, the file has no name, so that nothing is left of it even if the process is
// killed.
type Scratch struct {
	path string // "" if the file has no name
	file *os.File
}

// NewScratch creates an empty temporary file in dir.
func NewScratch(dir string) (*Scratch, error) {
	f, err := os.CreateTemp(dir, tempPrefix+"*"+scratchSuffix)
	if err != nil {
		return nil, err
	}
	s := &Scratch{f.Name(), f}
	if runtime.GOOS != "windows" && os.Remove(s.path) == nil {
		s.path = ""
	}
	return s, nil
}

// ReadAt and WriteAt are those of os.File. Their errors name no file, because the user
// never sees it.
func (s *Scratch) ReadAt(p []byte, off int64) (int, error) {
	n, err := s.file.ReadAt(p, off)
	return n, s.wrap("read", err)
}

func (s *Scratch) WriteAt(p []byte, off int64) (int, error) {
	n, err := s.file.WriteAt(p, off)
	return n, s.wrap("write", err)
}

// Close removes the file. A second Close does nothing.
func (s *Scratch) Close() {
	s.file.Close()
	if s.path != "" {
		os.Remove(s.path)
	}
}

func (s *Scratch) wrap(op string, err error) error {
	if err == nil {
		return nil
	}
	return pathError("a temporary file in "+filepath.Dir(s.file.Name()), op, err)
}
