package atomicfile

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
)

// A Dir is a folder being written with all of its files. It appears under its name only at
// Commit. A Folder, in contrast, adds files to a folder that may hold others.
type Dir struct {
	path, temp string
	remove     func() // removes temp
	names      []string
	options    Options
}

// CreateDir starts writing the folder at path. names lists the files that may be in it, as
// patterns of filepath.Match. If the folder exists and is not empty, it must hold no others, and o.Overwrite must be set:
// Commit replaces it as a whole.
func CreateDir(path string, names []string, o Options) (*Dir, error) {
	if o.System == nil {
		o.System = system{}
	}
	d := &Dir{path: filepath.Clean(path), names: names, options: o}
	if err := d.check(); err != nil {
		return nil, err
	}
	if err := checkRoom(path, filepath.Dir(d.path), o); err != nil {
		return nil, err
	}
	var err error
	if d.temp, d.remove, err = mkdirTemp(filepath.Dir(d.path)); err != nil {
		return nil, d.wrap("create", err)
	}
	return d, nil
}

// CheckDir returns the error that CreateDir would return, and leaves nothing behind. See Check.
func CheckDir(path string, names []string, o Options) error {
	d, err := CreateDir(path, names, o)
	if err == nil {
		d.Abort()
		return nil
	}
	if _, missing := os.Stat(filepath.Dir(filepath.Clean(path))); errors.Is(missing, fs.ErrNotExist) {
		return fmt.Errorf("%s: its parent folder does not exist; create it first", path)
	}
	return err
}

func (d *Dir) wrap(op string, err error) error { return pathError(d.path, op, err) }

// check returns an error if what exists at the path must not be replaced.
func (d *Dir) check() error {
	refuse := func(why string) error { return fmt.Errorf("%s: %s, choose another output", d.path, why) }
	old, err := os.Lstat(d.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return d.wrap("look up", err)
	case !old.IsDir():
		return refuse("exists and is not a folder")
	}
	files, err := os.ReadDir(d.path)
	if err != nil {
		return d.wrap("read", err)
	}
	for _, f := range files {
		info, err := os.Stat(filepath.Join(d.path, f.Name()))
		if err == nil && d.options.isInput(info) {
			return refuse("holds " + f.Name() + ", an input of this run")
		}
	}
	for _, f := range files {
		if !f.Type().IsRegular() || !d.knows(f.Name()) {
			return refuse(fmt.Sprintf("holds %q, which is not a file of this format", f.Name()))
		}
	}
	if len(files) > 0 && !d.options.Overwrite {
		return fmt.Errorf("%s: %w", d.path, fs.ErrExist)
	}
	return nil
}

// knows reports whether a file called name may be in the folder.
func (d *Dir) knows(name string) bool {
	return slices.ContainsFunc(d.names, func(pattern string) bool {
		ok, err := filepath.Match(pattern, name)
		return ok && err == nil
	})
}

// Write writes the file called name, one of the names of CreateDir: what body writes to w.
func (d *Dir) Write(name string, body func(w io.Writer) error) error {
	if !d.knows(name) {
		return fmt.Errorf("%s: %q is not a file of this format", d.path, name)
	}
	f, err := d.options.System.Create(filepath.Join(d.temp, name))
	if err != nil {
		return d.wrap("create "+name, err)
	}
	if err := body(&namedWriter{d, name, f}); err != nil {
		f.Close()
		return err
	}
	if err := f.Sync(); err != nil {
		f.Close()
		return d.wrap("sync "+name, err)
	}
	if err := f.Close(); err != nil {
		return d.wrap("close "+name, err)
	}
	return nil
}

// A namedWriter names the file in errors.
type namedWriter struct {
	d    *Dir
	name string
	f    Handle
}

func (w *namedWriter) Write(p []byte) (int, error) {
	n, err := w.f.Write(p)
	if err == nil && n < len(p) {
		err = io.ErrShortWrite
	}
	if err != nil {
		return n, w.d.wrap("write "+w.name, err)
	}
	return n, nil
}

// Commit gives the folder its name. On an error it leaves what was at the path as it was, with
// the exception that File.Commit has. A folder that existed is there until the new one is, if the
// system can exchange names; else it moves aside first, and there is a moment without one.
func (d *Dir) Commit() error {
	defer d.Abort() // removes the old folder, once the new one is certain to stay
	system := d.options.System
	if err := system.SyncDir(d.temp); err != nil {
		return d.wrap("sync folder", err)
	}
	if err := d.check(); err != nil { // another process may have created it since
		return err
	}
	if err := d.place(); err != nil {
		return d.wrap("rename", err)
	}
	if err := system.SyncDir(filepath.Dir(d.path)); err != nil {
		return d.wrap("sync folder", err)
	}
	return nil
}

// place gives the folder its name and, if a folder has it, that one the temporary name. So the next
// run removes it if this one is killed.
func (d *Dir) place() error {
	system := d.options.System
	if _, err := os.Lstat(d.path); err != nil {
		return system.Rename(d.temp, d.path)
	}
	if err := system.Exchange(d.temp, d.path); !errors.Is(err, errors.ErrUnsupported) {
		return err
	}
	// Between the next two renames this may be the only copy: no sweep removes such a name.
	old := filepath.Join(filepath.Dir(d.path), tempPrefix+rand.Text()+".old")
	if err := system.Rename(d.path, old); err != nil {
		return err
	}
	if err := system.Rename(d.temp, d.path); err != nil {
		os.Rename(old, d.path)
		return err
	}
	return os.Rename(old, d.temp)
}

// Abort removes the unfinished folder. After Commit or Abort it does nothing.
func (d *Dir) Abort() { d.remove() }
