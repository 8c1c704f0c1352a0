package diff

import (
	"cmp"
	"context"
	"fmt"
	"math"

	"thimble/internal/parallel"
	"thimble/internal/qtensor"
)

// A Tensor is the comparison of the two tensors of one name.
type Tensor struct {
	Name    string  `json:"name"`
	A       *Stored `json:"a"`                 // null if model A lacks the tensor
	B       *Stored `json:"b"`                 // likewise
	NMSE    Value   `json:"nmse"`              // null if shapes differ or all of A is zero
	MaxAbs  Value   `json:"max_abs"`           // the largest absolute difference
	Groups  int64   `json:"groups"`            // of up to 32 columns of a row
	Changed int64   `json:"changed"`           // groups with a differing value
	Stored  bool    `json:"stored_alike"`      // in the same scheme
	Rotated bool    `json:"rotated,omitempty"` // the figures are those after a rotation, see Options
	squares

	floats bool // both store a float type
}

// A Stored describes how one of the two models stores a tensor.
type Stored struct {
	Scheme        string  `json:"scheme"`
	Rows          int     `json:"rows"`
	Cols          int     `json:"cols"`
	BitsPerWeight float64 `json:"bits_per_weight"`
}

// differs reports whether the two tensors differ in value or scheme. A float type that
// holds every value of another, such as f32 for bf16, is no difference.
func (d *Tensor) differs() bool { return d.incomparable() || d.Changed > 0 || !d.Stored && !d.floats }

// incomparable reports whether a model lacks the tensor or the shapes differ.
func (d *Tensor) incomparable() bool {
	return d.A == nil || d.B == nil || d.A.Rows != d.B.Rows || d.A.Cols != d.B.Cols
}

// weight returns the sort key of a tensor, largest first: those that cannot be
// compared, then by NMSE, then those that differ only in scheme, then equal ones.
func (d *Tensor) weight() float64 {
	switch {
	case d.incomparable() || !d.NMSE.Known():
		return math.Inf(1)
	case !d.differs():
		return -2
	case d.Changed == 0:
		return -1
	}
	return float64(d.NMSE)
}

// groupCols is the number of columns of a row in a group.
const groupCols = 32

// compareTensor compares a and b, either of which may be nil. ordered is b in the order of a, or
// nil. rotatedA and rotatedB are the same tensors after a rotation, or nil; the figures are those
// of the more similar pair.
func compareTensor(ctx context.Context, name string, a, b, ordered, rotatedA, rotatedB *qtensor.Matrix) (Tensor, error) {
	d := Tensor{Name: name, A: storedOf(a), B: storedOf(b), NMSE: Value(math.NaN()), MaxAbs: Value(math.NaN())}
	if d.incomparable() {
		return d, nil
	}
	d.Stored, d.floats = nativeScheme(a) == nativeScheme(b), a.Scheme.Float() && b.Scheme.Float()
	b = cmp.Or(ordered, b)
	if err := d.measure(ctx, a, b); err != nil {
		return d, err
	}
	if rotatedA == nil && rotatedB == nil {
		return d, nil
	}
	turned := d
	turned.Rotated = true
	if err := turned.measure(ctx, cmp.Or(rotatedA, a), cmp.Or(rotatedB, b)); err != nil {
		return d, err
	}
	if turned.difference < d.difference {
		return turned, nil
	}
	return d, nil
}

// measure sets the figures of d to those of a and b, which have the same shape.
func (d *Tensor) measure(ctx context.Context, a, b *qtensor.Matrix) error {
	rows := make([]rowDiff, a.Rows)
	scratch := make([]rowComparer, parallel.Workers())
	err := parallel.Do(ctx, a.Rows, func(worker, row int) error {
		var err error
		rows[row], err = scratch[worker].compare(a, b, row)
		if err != nil {
			return fmt.Errorf("%s: %w", d.Name, err)
		}
		return nil
	})
	if err != nil {
		return err
	}
	d.squares, d.Changed = squares{}, 0
	d.MaxAbs, d.Groups = 0, int64(a.Rows)*int64((a.Cols+groupCols-1)/groupCols)
	for _, x := range rows {
		d.add(x.squares)
		d.Changed += x.changed
		d.MaxAbs = max(d.MaxAbs, Value(x.maxAbs))
	}
	d.NMSE = d.nmse()
	return nil
}

func storedOf(m *qtensor.Matrix) *Stored {
	if m == nil {
		return nil
	}
	return &Stored{m.Scheme.String(), m.Rows, m.Cols, 8 * float64(m.Bytes()) / float64(int64(m.Rows)*int64(m.Cols))}
}

// nativeScheme returns Thimble's scheme with the same codes as m's, or m's own scheme
// if there is none.
func nativeScheme(m *qtensor.Matrix) qtensor.Scheme {
	if native, ok := m.Scheme.Native(); ok {
		return native
	}
	return m.Scheme
}

// A rowDiff is the difference between two rows.
type rowDiff struct {
	squares
	maxAbs  float64
	changed int64 // groups
}

// A rowComparer holds one worker's scratch space.
type rowComparer struct {
	readA, readB qtensor.Reader
	a, b         []float32
}

func (c *rowComparer) compare(a, b *qtensor.Matrix, r int) (d rowDiff, err error) {
	if len(c.a) != a.Cols {
		c.a, c.b = make([]float32, a.Cols), make([]float32, a.Cols)
	}
	c.readA.Row(c.a, a, r)
	c.readB.Row(c.b, b, r)
	counted := -1 // the last group counted as changed
	for i, x := range c.a {
		p, q := float64(x), float64(c.b[i])
		if p-p != 0 || q-q != 0 {
			return d, fmt.Errorf("row %d, column %d: %v and %v cannot be compared", r, i, x, c.b[i])
		}
		d.reference += float64(p * p)
		if p == q {
			continue
		}
		d.difference += float64((p - q) * (p - q))
		d.maxAbs = max(d.maxAbs, math.Abs(p-q))
		if g := i / groupCols; g != counted {
			d.changed, counted = d.changed+1, g
		}
	}
	return d, nil
}
