// Package export defines the interface that export formats implement, and the code that
// they share for planning and writing a file. Package format lists the formats.
package export

import (
	"cmp"
	"context"
	"fmt"

	"thimble/internal/defect"
	"thimble/internal/model"
	"thimble/internal/qtensor"
)

// An Exporter exports models to the format of another program, a file or a folder. It has no
// state: all callers share the value in package format's table.
//
// An export has three steps. While a model is being quantized, Check, Nearest and Kernel
// report what the format can represent and what the program computes fast. Plan then
// decides everything about one file, or returns an error, before any work starts.
// Plan.Write writes the file as planned.
type Exporter interface {
	// Format names the format and its program.
	Format() Format

	// Check returns an error that wraps format.ErrUnsupported if the format cannot
	// represent m in any scheme. context is the Options.Context that Plan requires; 0 means
	// that Plan accepts the model's own. Notes tell the user about it.
	Check(m *model.Model) (context int, notes []string, err error)

	// Nearest returns the scheme nearest to s in which the format can store a matrix of
	// cols columns with that role; s itself if possible. s has no rate: see Scheme.InMemory.
	Nearest(s qtensor.Scheme, cols int, role model.Role) qtensor.Scheme

	// Kernel returns the format's name for the type that stores scheme s, and whether the
	// program has fast kernels for a matrix of that type with the given number of rows:
	// see Format.Fast. s must be one that Nearest returns.
	Kernel(s qtensor.Scheme, rows int) (typ string, fast bool)

	// Plan decides how m is written, without writing anything. It returns an error that
	// wraps format.ErrUnsupported and names the first feature that the format cannot
	// represent, or an error about an invalid m or o. m must stay open until Write returns.
	Plan(m *model.Model, o Options) (*Plan, error)
}

// A Format names a file format and the program that runs models in it.
type Format struct {
	Name    string // "gguf"
	Ext     string // of file names: ".gguf"; "" if the format is a folder
	Program string // "llama.cpp"

	// Files, if not nil, means that the format is a folder, and names every file that an
	// export may write there, required or not, as patterns of filepath.Match. Export replaces no
	// folder with other files.
	Files []string

	// Sharded means that a folder's weights are divided into files of Options.ShardSize.
	Sharded bool

	// DTypes lists the values of Options.DType; nil if the format takes none.
	DTypes []string

	// Fast and Slow explain the second result of Exporter.Kernel to the user.
	Fast, Slow string
}

// Options specify how a model is exported.
type Options struct {
	// Context is the maximum number of positions that the file supports, at most the
	// model's context; 0 means the model's context.
	Context int

	// DType, if not "", is the float type of every value: one of Format.DTypes.
	DType string

	// ShardSize is the most bytes of tensors in a file of a Sharded format; 0 is DefaultShard.
	ShardSize int64

	// Schemes, if not nil, makes Plan describe the file that the model will become once its
	// tensors are stored in these schemes, by name. Such a plan must not be written.
	Schemes map[string]qtensor.Scheme

	// Requantize returns the model's tensor source in scheme to. Write calls it only for
	// tensors whose Tensor.Requantize is set. If it is nil, Plan refuses a tensor whose
	// scheme has no type in the format.
	Requantize func(ctx context.Context, source string, to qtensor.Scheme) (*qtensor.Matrix, error)

	Overwrite bool             // Write may replace an existing file
	Inputs    []string         // paths being read, such as Model.Files, which Write never replaces
	Progress  func(done int64) // Write calls it with the number of bytes written so far; may be nil
}

// DefaultShard is the size of shards, in bytes, that Hugging Face's programs and MLX write.
const DefaultShard = 5e9

// ShardBytes returns ShardSize or its default.
func (o *Options) ShardBytes() int64 { return cmp.Or(o.ShardSize, DefaultShard) }

// Scheme returns the scheme of tensor source of m: that of Schemes if it is set. It has no
// rate, which says only how a container stores the codes.
func (o *Options) Scheme(m *model.Model, source string) qtensor.Scheme {
	if o.Schemes != nil {
		return o.Schemes[source].InMemory()
	}
	return m.Tensors[source].Scheme
}

// Exact returns the scheme in which a format without the layouts of other programs stores tensor
// source of m exactly: Scheme, if there is no other.
func (o *Options) Exact(m *model.Model, source string) qtensor.Scheme {
	s := o.Scheme(m, source)
	if native, ok := s.Native(); ok {
		return native
	}
	return s
}

// Spec checks m and returns its Spec with the context of o.
func (o *Options) Spec(m *model.Model) (model.Spec, error) {
	if err := m.Check(); err != nil {
		return model.Spec{}, err
	}
	s := m.Spec
	switch {
	case o.Context < 0 || o.Context > s.Context:
		return s, fmt.Errorf("%s: a context of %d, want 1 to the model's %d", defect.Printable(m.Path), o.Context, s.Context)
	case o.Context > 0:
		s.Context = o.Context
	}
	return s, nil
}
