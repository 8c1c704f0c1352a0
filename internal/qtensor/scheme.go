// Package qtensor stores and reads matrices: of float types, of integers of 2 to 8
// bits with scales per group of columns, and in the block layouts of other programs.
package qtensor

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// A Kind is the type of a stored value.
type Kind uint8

const (
	F32 Kind = iota
	F16
	BF16
	Int     // integer codes with a scale, and perhaps a minimum, per group
	Foreign // blocks of another program's Layout, which are only read
)

// A Scheme says how a matrix is stored. The float kinds use no other field.
//
// Int stores, for each row, each run of Group columns (the last run may be
// shorter) by unsigned codes c of Bits bits and a float16 scale d:
//
//	symmetric   w = d * (c - 2^(Bits-1))    d of either sign
//	asymmetric  w = d * c + m               m float16, the group's own minimum
type Scheme struct {
	Kind  Kind
	Bits  int  // 2 to 8
	Group int  // columns that share a scale; 0 is the whole row
	Asym  bool // has a minimum per group

	Layout *Layout // Foreign only
}

// MaxGroup bounds Group; a wider group is spelled "row".
const MaxGroup = 1 << 16

// ParseScheme reads "f32", "f16", "bf16", or "intB/gN" or "intB/row" with an
// optional "/sym" (the default) or "/asym".
func ParseScheme(text string) (Scheme, error) {
	switch text {
	case "f32":
		return Scheme{Kind: F32}, nil
	case "f16":
		return Scheme{Kind: F16}, nil
	case "bf16":
		return Scheme{Kind: BF16}, nil
	}
	bad := func() (Scheme, error) {
		return Scheme{}, fmt.Errorf("scheme %q is not one of f32, f16, bf16, int4/g32, int8/row, int4/g64/asym and the like", text)
	}
	part := strings.Split(text, "/")
	if len(part) < 2 || len(part) > 3 || !strings.HasPrefix(part[0], "int") {
		return bad()
	}
	s := Scheme{Kind: Int}
	var err error
	if s.Bits, err = strconv.Atoi(part[0][3:]); err != nil {
		return bad()
	}
	switch {
	case part[1] == "row":
	case strings.HasPrefix(part[1], "g"):
		if s.Group, err = strconv.Atoi(part[1][1:]); err != nil || s.Group == 0 {
			return bad()
		}
	default:
		return bad()
	}
	if len(part) == 3 {
		if part[2] != "sym" && part[2] != "asym" {
			return bad()
		}
		s.Asym = part[2] == "asym"
	}
	if err := s.Check(); err != nil {
		return Scheme{}, fmt.Errorf("scheme %q: %w", text, err)
	}
	return s, nil
}

// Check reports a field out of range.
func (s Scheme) Check() error {
	switch {
	case s.Float() && s == Scheme{Kind: s.Kind}, s.Kind == Foreign && s.Layout != nil && s == s.Layout.Foreign():
		return nil
	case s.Kind != Int || s.Layout != nil:
		return fmt.Errorf("kind %d with bits, group or minimum is not a scheme", s.Kind)
	case s.Bits < 2 || s.Bits > 8:
		return fmt.Errorf("%d bits, want 2 to 8", s.Bits)
	case s.Group < 0 || s.Group > MaxGroup || s.Group%8 != 0:
		return fmt.Errorf("group of %d columns, want a multiple of 8 up to %d", s.Group, MaxGroup)
	}
	return nil
}

// Float reports whether values are stored one by one: as f32, f16 or bf16.
func (s Scheme) Float() bool { return s.Kind < Int }

// String returns the canonical text, which ParseScheme reads back. Of a Foreign
// scheme it is the layout's name, which ParseScheme refuses.
func (s Scheme) String() string {
	switch s.Kind {
	case F32:
		return "f32"
	case F16:
		return "f16"
	case BF16:
		return "bf16"
	case Foreign:
		return s.Layout.Name
	}
	group, sym := "row", "sym"
	if s.Group > 0 {
		group = "g" + strconv.Itoa(s.Group)
	}
	if s.Asym {
		sym = "asym"
	}
	return fmt.Sprintf("int%d/%s/%s", s.Bits, group, sym)
}

// valueBytes returns the stored size of one value of a float kind.
func (s Scheme) valueBytes() int { return [...]int{F32: 4, F16: 2, BF16: 2}[s.Kind] }

// Zero returns the code that stands for zero in a symmetric scheme.
func (s Scheme) Zero() int { return 1 << (s.Bits - 1) }

// Codes returns the range of codes that a quantizer may choose. Symmetric int8 does
// not use code 0 (the value -128), so that every code less Zero has a negation in an
// int8 and integer kernels may flip signs.
func (s Scheme) Codes() (lo, hi int) {
	if s.Bits == 8 && !s.Asym {
		return 1, 255
	}
	return 0, 1<<s.Bits - 1
}

// Groups returns the number of scales in a row of cols columns.
func (s Scheme) Groups(cols int) int {
	if s.Kind != Int {
		return 0
	}
	if s.Group == 0 || cols == 0 {
		return min(cols, 1)
	}
	return (cols + s.Group - 1) / s.Group
}

// Span returns the columns [lo, hi) of group g in a row of cols columns.
func (s Scheme) Span(g, cols int) (lo, hi int) {
	if s.Group == 0 {
		return 0, cols
	}
	return g * s.Group, min((g+1)*s.Group, cols)
}

// Columns returns how many columns share a scale in a row of cols, for an Int or
// Foreign scheme.
func (s Scheme) Columns(cols int) int {
	if s.Kind == Foreign {
		s = s.Layout.Scheme
	}
	if s.Group == 0 {
		return max(cols, 1)
	}
	return s.Group
}

// digits returns the widths of the planes that codes are split into, from the lowest
// bits up: the binary expansion of Bits. A code of 5 bits is kept as a plane of its
// low 4 bits and a plane of its high bit, so that every plane packs whole values into
// bytes.
func (s Scheme) digits() []int {
	return [...][]int{2: {2}, 3: {2, 1}, 4: {4}, 5: {4, 1}, 6: {4, 2}, 7: {4, 2, 1}, 8: {8}}[s.Bits]
}

// rowBytes returns the length of one row in the codes plane.
func (s Scheme) rowBytes(cols int) int {
	switch {
	case s.Float():
		return cols * s.valueBytes()
	case s.Kind == Foreign:
		return cols / s.Layout.Cols * s.Layout.Bytes
	}
	n := 0
	for _, width := range s.digits() {
		n += (cols*width + 7) / 8
	}
	return n
}

// Sizes returns the bytes of the three planes of a (rows, cols) matrix. It returns an
// error if the scheme or the shape is out of range, or if the columns are not a whole
// number of a layout's blocks.
func (s Scheme) Sizes(rows, cols int) (codes, scales, mins int64, err error) {
	if err := s.Check(); err != nil {
		return 0, 0, 0, err
	}
	if rows < 0 || cols < 0 || rows > math.MaxInt32 || cols > math.MaxInt32/32 {
		return 0, 0, 0, fmt.Errorf("shape (%d, %d) is out of range", rows, cols)
	}
	if s.Kind == Foreign && cols%s.Layout.Cols != 0 {
		return 0, 0, 0, fmt.Errorf("%v: %d columns are not a multiple of its block of %d", s, cols, s.Layout.Cols)
	}
	codes = int64(rows) * int64(s.rowBytes(cols))
	scales = int64(rows) * int64(s.Groups(cols)) * 2
	if s.Asym {
		mins = scales
	}
	return codes, scales, mins, nil
}

// BitsPerWeight returns the stored bits of a row of cols columns, scales included,
// divided by cols.
func (s Scheme) BitsPerWeight(cols int) float64 {
	codes, scales, mins, err := s.Sizes(1, cols)
	if err != nil || cols == 0 {
		return 0
	}
	return 8 * float64(codes+scales+mins) / float64(cols)
}
