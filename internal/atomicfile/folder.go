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
	parent := "" // the system's directory for temporary files
	switch {
	case f.existed:
		parent = f.path
	case f.path != "":
		parent = filepath.Dir(filepath.Clean(f.path))
	}
	f.temp, err = os.MkdirTemp(parent, ".thimble-*.partial")
	return err
}

// File returns the path of the file called name until it is published.
func (f *Folder) File(name string) string { return filepath.Join(f.temp, name) }

// Close removes the temporary folder.
func (f *Folder) Close() { os.RemoveAll(f.temp) }

// Publish moves the named files, which the caller wrote to File(name), into the folder and
// writes the texts there. If it fails, it removes the files that it has put there.
func (f *Folder) Publish(names []string, texts []NamedFile) (err error) {
	var placed []string
	defer func() {
		if err != nil {
			for _, path := range placed {
				os.Remove(path)
			}
			if !f.existed {
				os.Remove(f.path)
			}
		}
	}()
	if !f.existed {
		if err := os.Mkdir(f.path, 0o777); err != nil {
			return err
		}
	}
	for _, name := range names {
		to := filepath.Join(f.path, name)
		if err := Check(to, f.options); err != nil { // another process may have written it meanwhile
			return err
		}
		if err := os.Rename(f.File(name), to); err != nil {
			return err
		}
		placed = append(placed, to)
	}
	for _, t := range texts {
		to := filepath.Join(f.path, t.Name)
		if err := WriteFile(to, t.Text, f.options); err != nil {
			return err
		}
		placed = append(placed, to)
	}
	return nil
}

// A NamedFile is a file to write.
type NamedFile struct {
	Name string
	Text []byte
}
