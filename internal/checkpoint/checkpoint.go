// Package checkpoint reads the files that training programs write, as named raw
// tensors. It maps files into memory and reads only their headers to open them, so
// opening takes time in proportion to the headers and not to the tensors.
package checkpoint

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"thimble/internal/defect"
	"thimble/internal/mmap"
	"thimble/internal/parallel"
)

// A Tensor is one named array of a checkpoint.
type Tensor struct {
	Name  string
	File  string // path of the file that holds it
	DType DType
	Shape []int  // empty for a scalar
	Data  []byte // row-major, little-endian; aliases the mapped file
	// Source supplies the rows of a tensor that is not stored in row-major order in
	// one place. Data is then empty.
	Source Source
}

// A Checkpoint is an opened checkpoint. The bytes of its tensors are read-only and
// valid until Close. Read them within parallel.Guard, because another process may
// truncate the file.
type Checkpoint struct {
	Tensors  map[string]*Tensor
	Metadata map[string]string // metadata of the first file
	Files    []string          // paths of every file read, in reading order
	Notes    []string          // for the user: decisions made while opening

	twice []string // tensors that two files store, with the same contents

	assigned map[string]string // tensors to the names of files, by an index
	stale    []string          // tensors that another file stores, too, with other contents
	maps     []*mmap.File
	checks   []func() error
}

// Open opens a checkpoint file of any name, or a directory. In a directory it opens the
// first of these that exists: model.safetensors, the shards in
// model.safetensors.index.json, pytorch_model.bin, the shards in
// pytorch_model.bin.index.json, Meta's consolidated.NN.pth, and Mistral's
// consolidated.safetensors.
func Open(path string) (*Checkpoint, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	c := &Checkpoint{Tensors: map[string]*Tensor{}}
	if info.IsDir() {
		err = c.openDir(path)
	} else {
		err = c.openFile(path)
	}
	if err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// Close unmaps the files. The Data of tensors must not be used afterwards.
func (c *Checkpoint) Close() error {
	var errs []error
	for _, m := range c.maps {
		errs = append(errs, m.Close())
	}
	c.maps = nil
	return errors.Join(errs...)
}

// Verify compares the files with the checksums they contain. Only PyTorch's zip files
// contain any. Unlike Open, it reads every byte.
func (c *Checkpoint) Verify(ctx context.Context) error {
	return parallel.Guard(func() error {
		for _, check := range c.checks { // in turn: they share their archive's state
			if err := ctx.Err(); err != nil {
				return err
			}
			if err := check(); err != nil {
				return err
			}
		}
		return nil
	})
}

// Names returns the names of all tensors in sorted order.
func (c *Checkpoint) Names() []string { return slices.Sorted(maps.Keys(c.Tensors)) }

// openFile opens a file that the user named. It follows symbolic links anywhere.
func (c *Checkpoint) openFile(path string) error {
	m, err := mmap.Open(path)
	if err != nil {
		return err
	}
	return c.add(path, m)
}

// add adds the tensors of a mapped file to c, which then owns the mapping.
func (c *Checkpoint) add(path string, m *mmap.File) error {
	c.maps = append(c.maps, m)
	c.Files = append(c.Files, path)
	err := parallel.Guard(func() error { return detectFormat(m.Data).read(c, path, m.Data) })
	if errors.Is(err, parallel.ErrFault) {
		return fmt.Errorf("%s: %w", defect.Printable(path), err)
	}
	return err
}

// A format is a file format of checkpoints, identified by the contents of a file.
type format struct {
	name  string
	match func(b []byte) bool
	read  func(c *Checkpoint, path string, b []byte) error
}

var formats = []format{
	{"safetensors", isSafetensors, readSafetensors},
	{"PyTorch", hasPrefix("PK\x03\x04"), readTorchZip},
	{"PyTorch before 1.6", hasPrefix("\x80\x02"), readTorchLegacy},
	{"GGUF", hasPrefix("GGUF"), rejectGGUF},
}

// detectFormat returns the format of b. If it knows none, it returns safetensors,
// whose reader then reports what is wrong.
func detectFormat(b []byte) format {
	for _, f := range formats {
		if f.match(b) {
			return f
		}
	}
	return formats[0]
}

func hasPrefix(magic string) func([]byte) bool {
	return func(b []byte) bool { return bytes.HasPrefix(b, []byte(magic)) }
}

// rejectGGUF returns an error, because a GGUF file is a complete model and has no
// config.json.
func rejectGGUF(_ *Checkpoint, path string, _ []byte) error {
	return fmt.Errorf("%s: %w; open it by its own path", defect.Printable(filepath.Clean(path)), defect.Unsupported("checkpoint", "a GGUF file as part of a checkpoint"))
}
