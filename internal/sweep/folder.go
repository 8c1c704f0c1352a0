package sweep

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"

	"thimble/internal/atomicfile"
	"thimble/internal/defect"
	"thimble/internal/strictjson"
)

// MaxResult is the largest size of a result, in bytes.
const MaxResult = 1 << 20

// A Folder holds results. Any number of processes may use it at once: each result appears
// complete or not at all, and two processes that do one job write the same bytes.
type Folder string

// Create makes the folder unless it exists.
func Create(path string) (Folder, error) {
	if err := os.Mkdir(path, 0o777); err != nil && !errors.Is(err, fs.ErrExist) {
		if errors.Is(err, fs.ErrNotExist) {
			err = fmt.Errorf("%s: its parent folder does not exist", defect.Printable(path))
		}
		return "", err
	}
	if info, err := os.Stat(path); err != nil || !info.IsDir() {
		return "", fmt.Errorf("%s: is not a folder", defect.Printable(path))
	}
	f := Folder(path)
	return f, atomicfile.Check(f.file("0"), atomicfile.Options{})
}

func (f Folder) file(name string) string { return filepath.Join(string(f), name+".json") }

// Read returns the result called name, or nil if there is none.
func (f Folder) Read(name string) (*Result, error) {
	path := f.file(name)
	file, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, MaxResult+1))
	if err != nil {
		return nil, err
	}
	if len(text) > MaxResult {
		return nil, fmt.Errorf("%s: is larger than %d bytes", defect.Printable(path), MaxResult)
	}
	return parse(path, name, text)
}

// Write stores r, and returns its name. It replaces a result of the same name, which has the
// same figures.
func (f Folder) Write(r *Result) (name string, err error) {
	if name, err = r.Inputs.Name(); err != nil {
		return "", err
	}
	if err := r.check(name); err != nil { // curve would refuse it
		return "", fmt.Errorf("%s: %w", r.Recipe, err)
	}
	stored := *r
	if stored.Digest, err = r.digest(); err != nil {
		return "", err
	}
	text, err := strictjson.Encode(&stored)
	if err != nil {
		return "", err
	}
	return name, atomicfile.WriteFile(f.file(name), text, atomicfile.Options{Overwrite: true})
}

// Label gives the result r of the folder the names that its job has in the plan now. The
// figures do not depend on them.
func (f Folder) Label(r *Result, model, recipe, text string) error {
	if r.Model == model && r.Recipe == recipe && r.Text == text {
		return nil
	}
	r.Model, r.Recipe, r.Text = model, recipe, text
	_, err := f.Write(r)
	return err
}

var resultName = regexp.MustCompile(`^([0-9a-f]{64})\.json$`)

// names returns the names of the results, in order.
func (f Folder) names() (names []string, err error) {
	files, err := os.ReadDir(string(f))
	for _, file := range files {
		if found := resultName.FindStringSubmatch(file.Name()); found != nil {
			names = append(names, found[1])
		}
	}
	return names, err
}

// HasResults reports whether there is a folder with results at path.
func HasResults(path string) bool {
	names, err := Folder(path).names()
	return err == nil && len(names) > 0
}

// All returns all results, ordered by name.
func (f Folder) All() (all []*Result, err error) {
	names, err := f.names()
	if err != nil {
		return nil, err
	}
	slices.Sort(names)
	for _, name := range names {
		r, err := f.Read(name)
		if err != nil {
			return nil, err
		}
		if r != nil { // nobody removed it meanwhile
			all = append(all, r)
		}
	}
	return all, nil
}
