// Package export holds what all formats that models are exported to share: the
// interface that a format implements, the plan that it makes and the writing of
// its file. Package format lists the formats.
package export

import (
	"context"
	"fmt"

	"thimble/internal/defect"
	"thimble/internal/model"
	"thimble/internal/qtensor"
)

// An Exporter exports models to the file format of another program. It keeps
// no state: the value in package format's table serves every caller at once.
//
// An export has three steps. While a model is being quantized, Check, Nearest
// and Kernel tell what the format can hold and what the program computes fast.
// Plan then decides everything about one file, or refuses, before any work is
// done. Plan.Write writes the file as planned.
type Exporter interface {
	// Format names the format and its program.
	Format() Format

	// Check returns an error that wraps format.ErrUnsupported if the format
	// cannot hold m in any scheme. Notes name the options that Plan will need,
	// such as a shorter context.
	Check(m *model.Model) (notes []string, err error)

	// Nearest returns the scheme nearest to s that the format can store in a
	// matrix of cols columns: s itself if it can store s.
	Nearest(s qtensor.Scheme, cols int) qtensor.Scheme

	// Kernel returns the format's name for the type that stores scheme s, which
	// must be its own Nearest, and whether the program has fast kernels for a
	// matrix of that type with that number of rows: see Format.Fast.
	Kernel(s qtensor.Scheme, rows int) (typ string, fast bool)

	// Plan decides how m is written and writes nothing. An error names the first
	// thing that the format cannot hold and wraps format.ErrUnsupported, or says
	// that m or o is invalid. m must stay open until Write returns.
	Plan(m *model.Model, o Options) (*Plan, error)
}

// A Format names a file format and the program that runs models in it.
type Format struct {
	Name    string // "gguf"
	Ending  string // of the file's name: ".gguf"
	Program string // "llama.cpp"

	// Fast and Slow explain the second result of Exporter.Kernel to the user.
	Fast, Slow string
}

// Options say how a model is exported.
type Options struct {
	// Context is the number of positions that the file is for, at most the
	// model's; 0 means the model's.
	Context int

	// Requantize returns tensor source of the model in scheme to. Write calls it
	// for the tensors whose Tensor.Requantize is set and for no other. If it is
	// nil, Plan refuses a tensor whose scheme has no type in the format.
	Requantize func(ctx context.Context, source string, to qtensor.Scheme) (*qtensor.Matrix, error)

	Overwrite bool             // Write may replace an existing file
	Inputs    []string         // paths being read, such as Model.Files: Write never replaces them
	Progress  func(done int64) // Write calls it with the bytes written so far; may be nil
}

// Spec checks m and returns its Spec with the context that o asks for.
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
