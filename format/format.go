// Package format reads and writes model files. Open recognizes a container by its first
// bytes; an Exporter writes the format of another program. Each format is a folder below
// this one and a line in one of the tables here.
package format

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"thimble/format/gguf"
	"thimble/format/thimble"
	"thimble/internal/defect"
	"thimble/internal/model"
	"thimble/internal/qtensor"
)

// Types of models and tensors, named here for callers outside this module.
type (
	// A Model is an opened model.
	Model = model.Model
	// A Spec describes a model's computation.
	Spec = model.Spec
	// A Matrix is a stored tensor.
	Matrix = qtensor.Matrix
	// A Scheme describes how a Matrix is stored.
	Scheme = qtensor.Scheme
)

// ParseScheme reads a scheme in the form of Scheme.String: "f32", "f16", "bf16",
// or "int4/g32/sym" for 4-bit integers in groups of 32 columns.
func ParseScheme(text string) (Scheme, error) { return qtensor.ParseScheme(text) }

// A CorruptError reports that a file breaks the rules of its format. Opening a model,
// here or in package convert, fails with a CorruptError, an error that wraps
// ErrUnsupported, or an error of the operating system.
type CorruptError = defect.CorruptError

// ErrUnsupported is wrapped by errors about valid files with features that this module
// does not support.
var ErrUnsupported = defect.ErrUnsupported

// readers lists the formats that can be opened. No magic is a prefix of another.
var readers = []struct {
	name, magic string
	open        func(path string) (*model.Model, error)
}{
	{thimble.Name, thimble.Magic, thimble.Open},
	{gguf.Name, gguf.Magic, gguf.Open},
}

// Sniff returns the name of the format whose magic the file at path begins with, or the
// file of the one model in the folder at path. ok is false if there is no such format or
// the file cannot be read.
func Sniff(path string) (name string, ok bool) {
	i, err := sniff(inFolder(path))
	if err != nil || i < 0 {
		return "", false
	}
	return readers[i].name, true
}

// Open opens the container at path, whatever its name, or the one GGUF model in a folder. The
// caller must close the model.
// An error is a *CorruptError, wraps ErrUnsupported, or comes from the operating system.
func Open(path string) (*Model, error) {
	path = inFolder(path)
	i, err := sniff(path)
	if err != nil {
		return nil, err
	}
	if i >= 0 {
		return readers[i].open(path)
	}
	names := make([]string, len(readers))
	for i, r := range readers {
		names[i] = r.name
	}
	return nil, defect.Unsupported(path, "a file without the magic of a model container (%s)", strings.Join(names, ", "))
}

// inFolder returns the path of the one GGUF model in a folder without a checkpoint, and
// otherwise path.
func inFolder(path string) string {
	if info, err := os.Stat(path); err != nil || !info.IsDir() {
		return path
	}
	if _, err := os.Lstat(filepath.Join(path, "config.json")); err == nil {
		return path
	}
	if file, ok := gguf.InFolder(path); ok {
		return file
	}
	return path
}

// sniff returns the index in readers of the file's format, or -1.
func sniff(path string) (int, error) {
	// Opening a named pipe would block until it has a writer.
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
	for i, r := range readers {
		magic := make([]byte, len(r.magic))
		if _, err := f.ReadAt(magic, 0); err != nil && err != io.EOF {
			return -1, err
		}
		if string(magic) == r.magic {
			return i, nil
		}
	}
	return -1, nil
}
