package thimble

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"thimble/internal/atomicfile"
	"thimble/internal/defect"
)

// A folder receives the files of a curve, all of them at the end. Until then they are in
// a temporary folder on the same file system, which a failed run removes.
type folder struct {
	path    string // "" if the curve writes no files
	existed bool   // before the run
	options atomicfile.Options
	temp    string
}

// newFolder checks that files with the given names can be written to path.
func newFolder(path string, overwrite bool, names, inputs []string) (*folder, error) {
	f := &folder{path: path, options: atomicfile.Options{Overwrite: overwrite, Inputs: inputs}}
	if path == "" {
		return f, nil
	}
	refuse := func(why string) error { return fmt.Errorf("-o %s: %s", defect.Printable(f.path), why) }
	switch info, err := os.Stat(f.path); {
	case f.path == "-":
		return nil, refuse("name a folder; the files of a curve cannot go to standard output")
	case errors.Is(err, fs.ErrNotExist):
		if parent, err := os.Stat(filepath.Dir(filepath.Clean(f.path))); err != nil || !parent.IsDir() {
			return nil, refuse("its parent folder does not exist")
		}
	case err != nil:
		return nil, err
	case !info.IsDir():
		return nil, refuse("is not a folder")
	default:
		f.existed = true
	}
	if !f.existed {
		if err := atomicfile.Check(f.path, f.options); err != nil {
			return nil, fmt.Errorf("-o %w", err)
		}
		return f, nil
	}
	for _, name := range names {
		if err := atomicfile.Check(filepath.Join(f.path, name), f.options); err != nil {
			return nil, forceHint(err)
		}
	}
	return f, nil
}

// open creates the temporary folder.
func (f *folder) open() (err error) {
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

// file returns the path of a container until it is published.
func (f *folder) file(name string) string { return filepath.Join(f.temp, name) }

// close removes the temporary folder.
func (f *folder) close() { os.RemoveAll(f.temp) }

// publish moves the named containers to path and writes the texts there. If it fails, it
// removes the files that it has put there.
func (f *folder) publish(containers []string, texts []namedFile) (err error) {
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
	for _, name := range containers {
		to := filepath.Join(f.path, name)
		if err := atomicfile.Check(to, f.options); err != nil { // another process may have written it meanwhile
			return err
		}
		if err := os.Rename(f.file(name), to); err != nil {
			return err
		}
		placed = append(placed, to)
	}
	for _, t := range texts {
		to := filepath.Join(f.path, t.name)
		if err := atomicfile.WriteFile(to, t.text, f.options); err != nil {
			return err
		}
		placed = append(placed, to)
	}
	return nil
}

// A namedFile is a file to write.
type namedFile struct {
	name string
	text []byte
}
