package checkpoint

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"unicode"

	"thimble/internal/defect"
	"thimble/internal/stray"
)

// A Dir is the directory of a checkpoint. It opens regular files by base name, and follows
// symbolic links out of the directory: the user named it, and the Hugging Face cache, DVC
// and Git annex consist of such links. The files name each other too, in an index of
// shards; those names must be plain, so that none can lead elsewhere.
type Dir struct {
	Path string
}

// OpenDir opens the directory at path.
func OpenDir(path string) (*Dir, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		return nil, &os.PathError{Op: "open", Path: path, Err: errors.New("not a directory")}
	}
	return &Dir{path}, nil
}

// Has reports whether the directory has an entry of the given name, of any kind. If the system
// cannot tell, Open does not either, and returns the reason.
func (d *Dir) Has(name string) bool {
	_, err := os.Lstat(filepath.Join(d.Path, name))
	return checkName(name) == nil && !errors.Is(err, os.ErrNotExist)
}

// Names returns the names of all entries, sorted.
func (d *Dir) Names() ([]string, error) {
	entries, err := os.ReadDir(d.Path)
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = e.Name()
	}
	return names, err
}

// Open opens a regular file. The error wraps os.ErrNotExist only if the directory has no
// entry of that name; a dangling symbolic link gives a different error.
func (d *Dir) Open(name string) (*os.File, error) {
	if err := checkName(name); err != nil {
		return nil, fmt.Errorf("%s: %w", defect.Printable(d.Path), err)
	}
	path := filepath.Join(d.Path, name)
	info, err := os.Lstat(path)
	if err != nil {
		return nil, err
	}
	link := info.Mode()&os.ModeSymlink != 0
	// Check the kind before opening: opening a FIFO would block.
	info, err = os.Stat(path)
	switch {
	case err != nil && link:
		return nil, fmt.Errorf("%s: a symbolic link to nothing (%v): fetch the file that it is for, or replace it with the file itself", defect.Printable(path), errors.Unwrap(err))
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("%s: not a regular file", defect.Printable(path))
	}
	return os.Open(path)
}

// ReadFile returns the contents of a file of at most limit bytes.
func (d *Dir) ReadFile(name string, limit int64) ([]byte, error) {
	f, err := d.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	path := filepath.Join(d.Path, name)
	if info.Size() > limit {
		return nil, defect.Corrupt(path, "", "%d bytes, want at most %d", info.Size(), limit)
	}
	b := make([]byte, info.Size())
	if _, err := io.ReadFull(f, b); err != nil {
		return nil, fmt.Errorf("%s: %w", defect.Printable(path), err)
	}
	if what := stray.Impostor(b); what != "" {
		return nil, defect.Corrupt(path, "", "%s", what)
	}
	return b, nil
}

// checkName returns an error unless name is a plain base name on every operating system.
func checkName(name string) error {
	switch {
	case name == "" || name == "." || name == ".." || len(name) > 255:
	case strings.ContainsAny(name, `/\:`) || strings.ContainsFunc(name, unicode.IsControl):
	default:
		return nil
	}
	return fmt.Errorf("%.128q is not a plain file name", name)
}
