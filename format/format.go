// Package format opens containers of every format by their first bytes. Each
// format is a folder below and one line of the table here.
package format

import (
	"fmt"
	"io"
	"os"
	"strings"

	"thimble/format/gguf"
	"thimble/format/thimble"
	"thimble/internal/defect"
	"thimble/internal/model"
)

// Model is an opened model, for callers outside this module's internals.
type Model = model.Model

// A CorruptError says that a file breaks the rules of its own format. With
// ErrUnsupported it is what opening a model fails with, here and in package
// convert.
type CorruptError = defect.CorruptError

// ErrUnsupported is wrapped where a file is valid but not ours to read.
var ErrUnsupported = defect.ErrUnsupported

// formats lists what can be opened. No magic is a prefix of another.
var formats = []struct {
	name, magic string
	open        func(path string) (*model.Model, error)
}{
	{thimble.Name, thimble.Magic, thimble.Open},
	{"GGUF", gguf.Magic, gguf.Open},
}

// Sniff returns the name of the format whose magic begins the file at path. ok
// is false when there is none, or the file cannot be read.
func Sniff(path string) (name string, ok bool) {
	i, err := sniff(path)
	if err != nil || i < 0 {
		return "", false
	}
	return formats[i].name, true
}

// Open opens the container at path, whatever its name. The model must be
// closed after use. An error is a *CorruptError, wraps ErrUnsupported, or comes
// from the system.
func Open(path string) (*model.Model, error) {
	i, err := sniff(path)
	if err != nil {
		return nil, err
	}
	if i >= 0 {
		return formats[i].open(path)
	}
	names := make([]string, len(formats))
	for i, f := range formats {
		names[i] = f.name
	}
	return nil, defect.Unsupported(path, "a file without the magic of a model container (%s)", strings.Join(names, ", "))
}

// sniff returns an index of formats, or -1.
func sniff(path string) (int, error) {
	// Opening a fifo would wait for its writer.
	if info, err := os.Stat(path); err != nil {
		return -1, err
	} else if !info.Mode().IsRegular() {
		return -1, &os.PathError{Op: "open", Path: path, Err: fmt.Errorf("not a regular file")}
	}
	f, err := os.Open(path)
	if err != nil {
		return -1, err
	}
	defer f.Close()
	for i, format := range formats {
		magic := make([]byte, len(format.magic))
		if _, err := f.ReadAt(magic, 0); err != nil && err != io.EOF {
			return -1, err
		}
		if string(magic) == format.magic {
			return i, nil
		}
	}
	return -1, nil
}
