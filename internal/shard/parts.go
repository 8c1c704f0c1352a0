package shard

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"thimble/internal/defect"
	"thimble/internal/facts"
	"thimble/internal/journal"
	"thimble/internal/strictjson"
)

// Divided work whose parts make one output keeps each part in a journal next to the output. A
// part that was interrupted continues where it stopped, and whoever has all parts merges them.

// infix stands between the name of an output and the numbers of a part.
const infix = ".shard-"

// Path returns the path of the part s of the output at base.
func (s Shard) Path(base string) string {
	return fmt.Sprintf("%s%s%d-of-%d", base, infix, s.Index, s.Of)
}

// Open opens the part s of the output at base, to continue or begin it. f are the inputs of
// the whole work. An existing part with other inputs is an error, unless replace is set.
func (s Shard) Open(base string, f facts.Facts, replace bool) (*journal.Journal, error) {
	path, f := s.Path(base), s.facts(f)
	head := func() ([]byte, error) { return json.Marshal(f) }
	exists, err := journal.Exists(path)
	if err != nil || !exists {
		return journal.New(path, false, head), err
	}
	j, err := open(path, f)
	if err == nil {
		return j, nil
	}
	if replace {
		return journal.New(path, true, head), nil
	}
	return nil, err
}

// facts returns the inputs of the part s of a work with the inputs f: a part of the same work that
// has the name of another is damage.
func (s Shard) facts(f facts.Facts) facts.Facts {
	return append(slices.Clip(f), [2]string{"share", s.String()})
}

// An otherRunError is the error of a part with other inputs.
type otherRunError struct{ path, difference string }

func (e *otherRunError) Error() string {
	return fmt.Sprintf("%s: is of another run (%s)", defect.Printable(e.path), e.difference)
}

// open opens the part at path, which must have the inputs f.
func open(path string, f facts.Facts) (*journal.Journal, error) {
	j, err := journal.Open(path)
	if err != nil {
		return nil, err
	}
	var old facts.Facts
	_, err = strictjson.Decode(path, j.Head())
	if err == nil {
		err = json.Unmarshal(j.Head(), &old)
	}
	if err != nil {
		err = defect.Corrupt(path, "head", "%s; remove the file", defect.Printable(err.Error()))
	} else if d := old.Differ(f); d != "" {
		err = &otherRunError{path, d}
	}
	if err != nil {
		j.Close()
		return nil, err
	}
	return j, nil
}

// Collect opens all parts of the output at base, in order, and calls read with each, which
// reports whether the part is complete; otherwise that is an error. f are the inputs of the
// whole work. The caller closes the journals.
func Collect(base string, f facts.Facts, read func(s Shard, j *journal.Journal) (complete bool, err error)) (parts []*journal.Journal, err error) {
	of, err := number(base)
	if err != nil {
		return nil, err
	}
	for i := range of {
		s := Shard{Index: i + 1, Of: of}
		j, err := open(s.Path(base), s.facts(f))
		complete := false
		switch {
		case err == nil:
			parts = append(parts, j)
			complete, err = read(s, j)
		case errors.Is(err, os.ErrNotExist):
			err = nil
		case errors.As(err, new(*otherRunError)):
			err = fmt.Errorf("%w; repeat the options that it was written with, or remove it and write it again with --shard %v in place of --merge", err, s)
		}
		if err == nil && !complete {
			err = fmt.Errorf("%s: is not finished; run the same command with --shard %v in place of --merge", defect.Printable(s.Path(base)), s)
		}
		if err != nil {
			Close(parts)
			return nil, err
		}
	}
	return parts, nil
}

// number returns the number of parts of the output at base, of which one exists.
func number(base string) (of int, err error) {
	dir, name := filepath.Split(base)
	files, err := os.ReadDir(filepath.Clean(dir + "."))
	if err != nil {
		return 0, err
	}
	for _, file := range files {
		rest, found := strings.CutPrefix(file.Name(), name+infix)
		index, total, divided := strings.Cut(rest, "-of-")
		n, err := strconv.Atoi(total)
		if i, wrong := strconv.Atoi(index); !found || !divided || err != nil || wrong != nil || i < 1 || i > n || n > Most {
			continue
		}
		if of != 0 && of != n {
			return 0, fmt.Errorf("%s: there are parts of a division by %d and of one by %d; remove those that you do not want", defect.Printable(base), min(of, n), max(of, n))
		}
		of = n
	}
	if of == 0 {
		return 0, fmt.Errorf("%s: there are no parts to merge: run the same command with --shard I/N in place of --merge first", defect.Printable(base))
	}
	return of, nil
}

// Close closes the journals of parts.
func Close(parts []*journal.Journal) {
	for _, j := range parts {
		j.Close()
	}
}

// Remove removes the files of parts.
func Remove(parts []*journal.Journal) (err error) {
	for _, j := range parts {
		err = errors.Join(err, j.Remove())
	}
	return err
}

// A PartError is the error of a share that kept what it has finished.
type PartError struct {
	Err  error
	Path string // of the part
}

func (e *PartError) Unwrap() error { return e.Err }
func (e *PartError) Error() string { return e.Err.Error() + "; " + e.Remedy() }

// Remedy returns a sentence about what is kept and how to continue.
func (e *PartError) Remedy() string {
	return fmt.Sprintf("what is finished is kept in %s, and the same command continues there", defect.Printable(e.Path))
}
