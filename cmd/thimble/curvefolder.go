package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/urfave/cli/v2"

	"thimble/internal/atomicfile"
	"thimble/internal/defect"
)

// A folder is where a curve's files go, all of them at the end. Until then they
// are in a hidden one beside them, which a run that fails removes.
type folder struct {
	path    string // "" if nothing is to be kept
	there   bool   // before the run
	options atomicfile.Options
	hidden  string
}

// folderOf checks that the files of these names can be written to -o.
func folderOf(c *cli.Context, names, inputs []string) (*folder, error) {
	f := &folder{path: c.String(folderFlag.Name), options: atomicfile.Options{Overwrite: c.Bool(forceFlag.Name), Inputs: inputs}}
	if !c.IsSet(folderFlag.Name) {
		for _, name := range []string{keepFlag.Name, forceFlag.Name} {
			if c.Bool(name) {
				return nil, fmt.Errorf("--%s has no effect without -o FOLDER", name)
			}
		}
		return f, nil
	}
	refuse := func(why string) error { return fmt.Errorf("-o %s: %s", defect.Printable(f.path), why) }
	switch info, err := os.Stat(f.path); {
	case f.path == "" || f.path == "-":
		return nil, refuse("name a folder; the files of a curve cannot go to standard output")
	case errors.Is(err, fs.ErrNotExist):
		if parent, err := os.Stat(filepath.Dir(filepath.Clean(f.path))); err != nil || !parent.IsDir() {
			return nil, refuse("the folder that it would be in does not exist")
		}
	case err != nil:
		return nil, err
	case !info.IsDir():
		return nil, refuse("is not a folder")
	default:
		f.there = true
	}
	if !f.there {
		return f, nil
	}
	for _, name := range names {
		if err := atomicfile.Check(filepath.Join(f.path, name), f.options); err != nil {
			return nil, forceHint(err)
		}
	}
	return f, nil
}

// open makes the hidden folder.
func (f *folder) open() (err error) {
	beside := "" // the system's folder for such things
	switch {
	case f.there:
		beside = f.path
	case f.path != "":
		beside = filepath.Dir(filepath.Clean(f.path))
	}
	f.hidden, err = os.MkdirTemp(beside, ".thimble-*.partial")
	return err
}

// file is the path of a container on its way.
func (f *folder) file(name string) string { return filepath.Join(f.hidden, name) }

// close removes what is left of the hidden folder.
func (f *folder) close() { os.RemoveAll(f.hidden) }

// publish puts everything in place: the containers of these names, and texts by
// name. What it has placed is taken back if it fails.
func (f *folder) publish(containers []string, texts []namedText) (err error) {
	var placed []string
	defer func() {
		if err != nil {
			for _, path := range placed {
				os.Remove(path)
			}
			if !f.there {
				os.Remove(f.path)
			}
		}
	}()
	if !f.there {
		if err := os.Mkdir(f.path, 0o777); err != nil {
			return err
		}
	}
	for _, name := range containers {
		to := filepath.Join(f.path, name)
		if err := atomicfile.Check(to, f.options); err != nil { // somebody else may have written it meanwhile
			return err
		}
		if err := os.Rename(f.file(name), to); err != nil {
			return err
		}
		placed = append(placed, to)
	}
	for _, t := range texts {
		to := filepath.Join(f.path, t.name)
		if err := writeWhole(to, t.text, f.options); err != nil {
			return err
		}
		placed = append(placed, to)
	}
	return nil
}

// A namedText is a file to be.
type namedText struct {
	name string
	text []byte
}
