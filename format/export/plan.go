package export

import (
	"context"
	"fmt"

	"thimble/internal/defect"
	"thimble/internal/model"
	"thimble/internal/parallel"
	"thimble/internal/qtensor"
)

// A Plan describes an export before it is written.
type Plan struct {
	Tensors []Tensor // in the order of the file
	Notes   []string // differences between the file and the model, for the user
	Bytes   int64    // length of the file, or of all files of a folder

	// Write writes the file or folder at path, which appears only once it is complete. The
	// same model and options give the same bytes. If it fails or ctx is done, it leaves
	// nothing. File and Folder return such functions.
	Write func(ctx context.Context, path string) error
}

// A Tensor is one tensor of an exported file.
type Tensor struct {
	Name       string // in the file
	Source     string // in the model; empty if the format adds the tensor
	Type       string // the format's name for how the values are stored
	Rows, Cols int
	Bytes      int64 // of the values, without padding

	From       qtensor.Scheme // of the source in the model
	To         qtensor.Scheme // that Type stores
	Requantize bool           // the format has no type for From: Options.Requantize rounds the values to To
}

// Place plans how f stores tensor source of m. want is the scheme to store it in if f has
// a type for it: the tensor's own, or another that represents its values exactly. role is
// that of the tensor. The caller sets Name and Bytes.
//
// A scheme without a type is an error that wraps format.ErrUnsupported, unless
// Options.Requantize is set.
func Place(f Exporter, m *model.Model, source string, role model.Role, want qtensor.Scheme, o *Options) (Tensor, error) {
	x, from := m.Tensors[source], o.Scheme(m, source)
	if f.Nearest(want, x.Cols, role) != want {
		want = want.WideScales() // which have the same values
	}
	want = Even(f, want, x.Cols, role)
	to := f.Nearest(want, x.Cols, role)
	typ, _ := f.Kernel(to, x.Rows)
	if to != want && o.Requantize == nil {
		return Tensor{}, fmt.Errorf("%w; quantize the checkpoint with %v there, or use --requantize to round this to %s",
			defect.Unsupported(m.Path, "%s: scheme %v of %d columns in %s", source, from, x.Cols, f.Format().Name), to, typ)
	}
	return Tensor{
		Source: source, Type: typ, Rows: x.Rows, Cols: x.Cols,
		From: from, To: to, Requantize: to != want,
	}, nil
}

// Even returns s, or the Even scheme of s if f has a type for that one alone. Both have the same
// values.
func Even(f Exporter, s qtensor.Scheme, cols int, role model.Role) qtensor.Scheme {
	if even := s.Even(); f.Nearest(s, cols, role) != s && f.Nearest(even, cols, role) == even {
		return even
	}
	return s
}

// Read calls use with the values of t, which Place has planned for m and o: its source,
// or the result of Options.Requantize. If another program truncates the source's file
// meanwhile, Read returns an error that names the tensor.
func (t *Tensor) Read(ctx context.Context, m *model.Model, o *Options, use func(x *qtensor.Matrix) error) error {
	x := m.Tensors[t.Source]
	if t.Requantize {
		var err error
		if x, err = o.Requantize(ctx, t.Source, t.To); err != nil {
			return fmt.Errorf("%s: %w", t.Source, err)
		}
		if x.Scheme != t.To || x.Rows != t.Rows || x.Cols != t.Cols {
			return fmt.Errorf("%s: Requantize returned %v (%d, %d), want %v (%d, %d)", t.Source, x.Scheme, x.Rows, x.Cols, t.To, t.Rows, t.Cols)
		}
	}
	err := parallel.Guard(func() error { return use(x) })
	m.Tensors[t.Source].Release()
	if err == parallel.ErrFault {
		return fmt.Errorf("%s: reading its source: %w", t.Source, err)
	}
	return err
}

// RoundingNotes returns notes on the tensors that are rounded again or stored in more bits than
// they need: how many, and in which types.
func RoundingNotes(tensors []Tensor) (notes []string) {
	var changes []string
	count := map[string]int{}
	for _, t := range tensors {
		change := ""
		native, _ := t.From.Native()
		switch even := native.Even(); {
		case t.Requantize:
			change = fmt.Sprintf("--requantize: %v is rounded again to %s", t.From, t.Type)
		case even != native && even == t.To:
			change = fmt.Sprintf("%v is stored as %v, in twice the bits with the same values (verify it --against this model),", t.From, t.To)
		default:
			continue
		}
		if count[change]++; count[change] == 1 {
			changes = append(changes, change)
		}
	}
	for _, change := range changes {
		notes = append(notes, fmt.Sprintf("%s in %d of the tensors", change, count[change]))
	}
	return notes
}
