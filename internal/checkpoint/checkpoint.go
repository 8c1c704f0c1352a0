// Package checkpoint turns the bytes that training wrote into named raw
// tensors. Files are mapped, never read as a whole: opening costs in
// proportion to the headers, whatever the size of the tensors.
package checkpoint

import (
	"bytes"
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
	// Source makes the rows where they do not lie so; Data is then empty.
	Source Source
}

// A Checkpoint is an opened checkpoint. Tensors' bytes are read-only, valid
// until Close, and read under parallel.Guard: the file may be truncated
// meanwhile.
type Checkpoint struct {
	Tensors  map[string]*Tensor
	Metadata map[string]string // what the first file says about itself
	Files    []string          // paths of every file read, in reading order
	Notes    []string          // what opening decided, for the user to read

	maps   []*mmap.File
	checks []func() error
}

// Open opens a directory that holds model.safetensors, or shards listed in
// model.safetensors.index.json, else pytorch_model.bin or its shards, else Meta's
// consolidated.NN.pth; or one checkpoint file of any name.
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

// Close unmaps the files. No tensor's Data may be used afterwards.
func (c *Checkpoint) Close() error {
	var errs []error
	for _, m := range c.maps {
		errs = append(errs, m.Close())
	}
	c.maps = nil
	return errors.Join(errs...)
}

// Verify compares what the files hold with the checksums they carry, which
// only PyTorch's zip files do. It reads every byte; Open does not.
func (c *Checkpoint) Verify() error {
	return parallel.Guard(func() error {
		for _, check := range c.checks {
			if err := check(); err != nil {
				return err
			}
		}
		return nil
	})
}

// Names returns the names of all tensors in sorted order.
func (c *Checkpoint) Names() []string { return slices.Sorted(maps.Keys(c.Tensors)) }

// openFile opens the one file the user named, wherever its links lead.
func (c *Checkpoint) openFile(path string) error {
	m, err := mmap.Open(path)
	if err != nil {
		return err
	}
	return c.add(path, m)
}

// add reads a mapped file's tensors into c, which then owns the mapping.
func (c *Checkpoint) add(path string, m *mmap.File) error {
	c.maps = append(c.maps, m)
	c.Files = append(c.Files, path)
	err := parallel.Guard(func() error { return recognise(m.Data).read(c, path, m.Data) })
	if errors.Is(err, parallel.ErrFault) {
		return fmt.Errorf("%s: %w", defect.Printable(path), err)
	}
	return err
}

// A format is a kind of checkpoint file, known by its content.
type format struct {
	name  string
	match func(b []byte) bool
	read  func(c *Checkpoint, path string, b []byte) error
}

var formats = []format{
	{"safetensors", isSafetensors, readSafetensors},
	{"PyTorch", starts("PK\x03\x04"), readTorchZip},
	{"PyTorch before 1.6", starts("\x80\x02"), readTorchLegacy},
	{"GGUF", starts("GGUF"), refuseGGUF},
}

// recognise returns the format of b, or safetensors, whose reader will say
// what is wrong.
func recognise(b []byte) format {
	for _, f := range formats {
		if f.match(b) {
			return f
		}
	}
	return formats[0]
}

func starts(magic string) func([]byte) bool {
	return func(b []byte) bool { return bytes.HasPrefix(b, []byte(magic)) }
}

// refuseGGUF: such a file is a whole model, and has no config.json beside it.
func refuseGGUF(_ *Checkpoint, path string, _ []byte) error {
	return fmt.Errorf("%s: %w; open it by its own name", defect.Printable(filepath.Clean(path)), defect.Unsupported("checkpoint", "a GGUF file as a part of one"))
}
