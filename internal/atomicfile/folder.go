package atomicfile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"thimble/internal/defect"
)

// A Folder receives several files, all of them at the end. Until then they are in a
// temporary folder on the same file system, which Close removes.
type Folder struct {
	path    string // "" to keep no files
	existed bool   // before the run
	options Options
	temp    string
	remove  func() // removes temp
}

// NewFolder checks that the folder at path exists or can be created. overwrite and inputs
// are those of Options, for each file. If path is "", the files are only temporary, and
// the caller must not call Publish.
func NewFolder(path string, overwrite bool, inputs []string) (*Folder, error) {
	f := &Folder{path: path, options: Options{Overwrite: overwrite, Inputs: inputs}}
	if path == "" {
		return f, nil
	}
	refuse := func(why string) error { return fmt.Errorf("%s: %s", defect.Printable(path), why) }
	switch info, err := os.Stat(path); {
	case errors.Is(err, fs.ErrNotExist):
		if parent, err := os.Stat(filepath.Dir(filepath.Clean(path))); err != nil || !parent.IsDir() {
			return nil, refuse("its parent folder does not exist")
		}
		if err := Check(path, f.options); err != nil {
			return nil, err
		}
		return f, nil
	case err != nil:
		return nil, err
	case !info.IsDir():
		return nil, refuse("is not a folder")
	}
	f.existed = true
	return f, nil
}

// Check returns an error if a file with one of the names cannot be published. See the
// function Check.
func (f *Folder) Check(names []string) error {
	if !f.existed {
		return nil
	}
	for _, name := range names {
		if err := Check(filepath.Join(f.path, name), f.options); err != nil {
			return err
		}
	}
	return nil
}

// Open creates the temporary folder.
func (f *Folder) Open() (err error) {
	parent := os.TempDir()
	switch {
	case f.existed:
		parent = f.path
	case f.path != "":
		parent = filepath.Dir(filepath.Clean(f.path))
	}
	f.temp, f.remove, err = MkdirTemp(parent)
	return err
}

// File returns the path of the file called name until it is published.
func (f *Folder) File(name string) string { return filepath.Join(f.temp, name) }

// Close removes the temporary folder.
func (f *Folder) Close() { f.remove() }

// Publish moves the named files, which the caller wrote to File(name), into the folder and
// writes the texts there. A new folder appears with all of them or not at all. In one that existed,
// Publish removes what it has put there if it fails, except files that have replaced others.
func (f *Folder) Publish(names []string, texts []NamedFile) error {
	if f.existed {
		return f.fill(names, texts)
	}
	for _, name := range names {
		if !exists(f.File(name)) {
			return pathError(filepath.Join(f.path, name), "rename", fs.ErrNotExist)
		}
	}
	for _, t := range texts {
		if err := WriteFile(f.File(t.Name), t.Text, f.options); err != nil {
			if cause := errors.Unwrap(err); cause != nil { // without the name of the temporary folder
				err = cause
			}
			return pathError(filepath.Join(f.path, t.Name), "write", err)
		}
	}
	if err := os.Rename(f.temp, f.path); err != nil {
		return pathError(f.path, "rename", err)
	}
	return f.sync(filepath.Dir(filepath.Clean(f.path)))
}

// fill is Publish for a folder that existed.
func (f *Folder) fill(names []string, texts []NamedFile) (err error) {
	var placed []string // that replaced nothing
	defer func() {
		if err != nil {
			for _, path := range placed {
				os.Remove(path)
			}
		}
	}()
	put := func(name string, write func(to string) error) error {
		to := filepath.Join(f.path, name)
		if err := checkTarget(to, f.options); err != nil { // another process may have written it meanwhile
			return err
		}
		replaces := exists(to)
		err := write(to)
		if err == nil && !replaces {
			placed = append(placed, to)
		}
		return err
	}
	for _, name := range names {
		if err := put(name, func(to string) error {
			if err := os.Rename(f.File(name), to); err != nil {
				return pathError(to, "rename", err)
			}
			return nil
		}); err != nil {
			return err
		}
	}
	for _, t := range texts {
		if err := put(t.Name, func(to string) error { return WriteFile(to, t.Text, f.options) }); err != nil {
			return err
		}
	}
	return f.sync(f.path)
}

func (f *Folder) sync(dir string) error {
	if err := syncDir(dir); err != nil {
		return pathError(f.path, "sync folder", err)
	}
	return nil
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// A NamedFile is a file to write.
type NamedFile struct {
	Name string
	Text []byte
}
