package gguf

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"

	"thimble/format/gguf/kv"
	"thimble/internal/defect"
	"thimble/internal/mmap"
	"thimble/internal/model"
	"thimble/internal/parallel"
)

// A model may be split into files NAME-00001-of-0000N.gguf (llama.cpp, tools/gguf-split).
// Each has its own table of tensors and split.no, from 0. The first has all other keys.
const (
	splitCount = "split.count"
	splitNo    = "split.no"
	maxParts   = 99999 // five digits
)

var partName = regexp.MustCompile(`^(.*)-([0-9]{5})-of-([0-9]{5})\.gguf$`)

// parts are the mapped files of one model.
type parts []*mmap.File

func (p *parts) close() error {
	var errs []error
	for _, m := range *p {
		errs = append(errs, m.Close())
	}
	*p = nil
	return errors.Join(errs...)
}

// open maps the file at path, and the others if it is one of several, and reads the model.
func (p *parts) open(path string) (m *model.Model, err error) {
	f, err := p.front(path)
	if err != nil {
		return nil, err
	}
	if n, ok := f.integer(splitCount); ok && n > 1 {
		if f, err = p.join(f, n); err != nil {
			return nil, err
		}
	}
	err = guard(f.path, func() error {
		m, err = f.model()
		return err
	})
	return m, err
}

// front maps the file at path and reads what precedes its tensors.
func (p *parts) front(path string) (f *file, err error) {
	mapped, err := mmap.Open(path)
	if err != nil {
		return nil, err
	}
	*p = append(*p, mapped)
	err = guard(path, func() error {
		f, err = parseFront(path, mapped.Data)
		return err
	})
	return f, err
}

// guard runs read and names the file in the error of a memory fault.
func guard(path string, read func() error) error {
	err := parallel.Guard(read)
	if err == parallel.ErrFault {
		return fmt.Errorf("%s: %w", defect.Printable(path), err)
	}
	return err
}

// join returns the first file of the model of n files that one belongs to, with the
// tensors of all.
func (p *parts) join(one *file, n uint64) (*file, error) {
	name := partName.FindStringSubmatch(filepath.Base(one.path))
	no, ok := one.integer(splitNo)
	if name == nil || !ok || n > maxParts || name[2] != fmt.Sprintf("%05d", no+1) || name[3] != fmt.Sprintf("%05d", n) {
		return nil, defect.Corrupt(one.path, splitCount, "is one of %d files of a split model, but its name does not end in -%05d-of-%05d.gguf; give the files their names back, or join them with llama-gguf-split --merge", n, no+1, n)
	}
	var first *file
	for i := range n {
		path := filepath.Join(filepath.Dir(one.path), fmt.Sprintf("%s-%05d-of-%05d.gguf", name[1], i+1, n))
		f := one
		if path != filepath.Clean(one.path) {
			var err error
			if f, err = p.part(path, i, n); err != nil {
				return nil, err
			}
		}
		if first == nil {
			first = f
			continue
		}
		if err := first.add(f); err != nil {
			return nil, err
		}
	}
	if want, ok := first.integer("split.tensors.count"); ok && want != uint64(len(first.listed)) {
		return nil, defect.Corrupt(first.path, "split.tensors.count", "is %d, the %d files have %d tensors: a file is of another model; download them again", want, n, len(first.listed))
	}
	return first, nil
}

// part opens file i of n.
func (p *parts) part(path string, i, n uint64) (*file, error) {
	f, err := p.front(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: part %d of %d of this model is missing; put all parts into one folder", defect.Printable(path), i+1, n)
	}
	if err != nil {
		return nil, err
	}
	no, _ := f.integer(splitNo)
	if count, _ := f.integer(splitCount); count != n || no != i {
		return nil, defect.Corrupt(path, splitNo, "is %d of %d, its name says %d of %d; download it again", no, count, i, n)
	}
	return f, nil
}

// add adds the tensors of another file of the same model.
func (f *file) add(other *file) error {
	for _, t := range other.listed {
		if f.tensors[t.name] != nil {
			return other.fault(t, "is also stored in %s", defect.Printable(f.tensors[t.name].path))
		}
		f.tensors[t.name] = t
		f.listed = append(f.listed, t)
	}
	if len(f.listed) > maxTensors {
		return defect.Corrupt(other.path, "number of tensors", "is more than %d with those of the other files", maxTensors)
	}
	f.files = append(f.files, other.path)
	return nil
}

// integer returns the value of a key that is one whole number of any width.
func (f *file) integer(name string) (n uint64, ok bool) {
	v := f.keys[name]
	if v == nil || v.Kind == kv.Array || v.Kind == kv.String {
		return 0, false
	}
	for i, b := range v.Raw {
		n |= uint64(b) << (8 * i)
	}
	return n, true
}

// InFolder returns the path of the model in a folder that has no other: its one GGUF file,
// or the first of the files of a split model. ok is false if there is none or several.
func InFolder(folder string) (path string, ok bool) {
	entries, err := os.ReadDir(folder)
	if err != nil {
		return "", false
	}
	found := make(map[string]string) // by the name of the model, one of its files
	for _, e := range entries {
		name := e.Name()
		if filepath.Ext(name) != ".gguf" {
			continue
		}
		model := name
		if part := partName.FindStringSubmatch(name); part != nil {
			model = part[1] + "-of-" + part[3]
			if n, err := strconv.Atoi(part[2]); err != nil || n != 1 && found[model] != "" {
				continue
			}
		}
		found[model] = filepath.Join(folder, name)
	}
	if len(found) != 1 {
		return "", false
	}
	return slices.Collect(maps.Values(found))[0], true
}
