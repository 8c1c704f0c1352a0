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
)

// A Dir is the directory of a checkpoint. It opens regular files by base name. It
// follows no symbolic link out of the directory, except in the Hugging Face cache,
// whose snapshots consist of links to ../../blobs/<hash>.
type Dir struct {
	Path  string
	root  *os.Root
	blobs *os.Root // nil outside the Hugging Face cache
}

// OpenDir opens the directory at path, following symbolic links in path, since the user
// named it.
func OpenDir(path string) (*Dir, error) {
	root, err := os.OpenRoot(path)
	if err != nil {
		return nil, err
	}
	d := &Dir{Path: path, root: root}
	if hub := hubCache(path); hub != "" {
		if d.blobs, err = openBlobs(hub); err != nil {
			root.Close()
			return nil, err
		}
	}
	return d, nil
}

// hubCache returns the directory models--* of the Hugging Face cache whose
// snapshots/<revision> is path, or "" if path is not in such a cache.
func hubCache(path string) string {
	full, err := filepath.Abs(path)
	if err != nil {
		return ""
	}
	if full, err = filepath.EvalSymlinks(full); err != nil {
		return ""
	}
	snapshots := filepath.Dir(full)
	hub := filepath.Dir(snapshots)
	if filepath.Base(snapshots) != "snapshots" || !strings.HasPrefix(filepath.Base(hub), "models--") {
		return ""
	}
	return hub
}

// openBlobs opens hub/blobs. It returns nil if that does not exist, as in a copy of the
// cache without it.
func openBlobs(hub string) (*os.Root, error) {
	root, err := os.OpenRoot(hub)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	blobs, err := root.OpenRoot("blobs")
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	return blobs, err
}

// Close closes the directory. Files opened from it stay open.
func (d *Dir) Close() error {
	if d.blobs != nil {
		d.blobs.Close()
	}
	return d.root.Close()
}

// Has reports whether the directory has an entry of the given name, of any kind.
func (d *Dir) Has(name string) bool {
	_, err := d.root.Lstat(name)
	return err == nil
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
	root := d.root
	info, err := root.Lstat(name)
	if err != nil {
		return nil, err
	}
	link := info.Mode()&os.ModeSymlink != 0
	if link && d.blobs != nil {
		if target, err := root.Readlink(name); err == nil {
			if blob, ok := strings.CutPrefix(filepath.ToSlash(target), "../../blobs/"); ok && checkName(blob) == nil {
				root, name = d.blobs, blob
			}
		}
	}
	// Check the kind before opening: opening a FIFO would block.
	info, err = root.Stat(name)
	switch {
	case err != nil && link:
		return nil, fmt.Errorf("%s: a symbolic link to outside the directory or to nothing (%v): replace it with the file itself", defect.Printable(path), errors.Unwrap(err))
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("%s: not a regular file", defect.Printable(path))
	}
	return root.Open(name)
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
