// Package qtensor encodes and decodes stored matrices: float types, integers of 2
// to 8 bits with a scale per group, and the block layouts of other programs.
package qtensor

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"thimble/internal/kernel"
)

// A Kind is the type of a stored value.
type Kind uint8

const (
	F32 Kind = iota
	F16
	BF16
	Int     // integer codes with a scale, and perhaps a minimum, per group
	Foreign // blocks of another program's Layout, which Thimble reads but does not write
)

// A Scheme describes how a matrix is stored. The float kinds use only Kind.
//
// An Int scheme divides each row into groups of Group columns (the last one may
// be shorter). A group has a float16 scale d, and each weight w an unsigned code
// c of Bits bits:
//
//	symmetric   w = d * (c - 2^(Bits-1))    d may be negative
//	asymmetric  w = d * c + m               m is the group's float16 minimum
//
// In a Short scheme, d is one of 16 levels of a factor of the row: see ShortLevels. In an Uneven
// one, which is symmetric, c - 2^(Bits-1) is one of 16 numbers of 8 bits that are not evenly spaced.
type Scheme struct {
	Kind  Kind
	Bits  int  // 2 to 8
	Group int  // columns that share a scale; 0 means the whole row
	Asym  bool // each group has a minimum
	Short bool // each group has a scale of 4 bits, and each row a factor for them; see ShortLevels
	// Uneven has the 16 levels of ggml's IQ4_NL; Bits is 4. See Even.
	Uneven bool

	// Rate, if not 0, is the hundredths of a bit per weight that an entropy-coded matrix takes in
	// a file. A plan has it; the scheme of a Matrix does not, because a matrix in memory takes Bits.
	Rate uint16

	Layout *Layout // Foreign only
}

// MaxGroup is the largest Group. Wider groups must be whole rows.
const MaxGroup = 1 << 16

// ParseScheme parses "f32", "f16", "bf16", or "intB/gN" or "intB/row" with an
// optional "/sym" (the default), "/asym", "/s4" (Short) or "/nl" (Uneven). "intB/row@R" has the
// rate R, in bits.
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
		return Scheme{}, fmt.Errorf("scheme %q is not valid, want f32, f16, bf16, or integers such as int4/g32, int8/row, int4/g64/asym, int5/g16/s4 or int4/g32/nl", text)
	}
	plain, rate, rated := strings.Cut(text, "@")
	part := strings.Split(plain, "/")
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
		if !slices.Contains([]string{"sym", "asym", "s4", "nl"}, part[2]) {
			return bad()
		}
		s.Asym, s.Short, s.Uneven = part[2] == "asym", part[2] == "s4", part[2] == "nl"
	}
	if rated {
		r, err := strconv.ParseFloat(rate, 64)
		if s.Rate = uint16(math.Round(100 * min(max(r, 0), 9))); err != nil || s.Rate == 0 || r > 9 {
			return bad()
		}
	}
	if err := s.Check(); err != nil {
		return Scheme{}, fmt.Errorf("scheme %q: %w", text, err)
	}
	return s, nil
}

// Check reports an error unless every field is in range and applies to the kind.
func (s Scheme) Check() error {
	switch {
	case s.Float() && s == Scheme{Kind: s.Kind}, s.Kind == Foreign && s.Layout != nil && s == s.Layout.Foreign():
		return nil
	case s.Kind != Int || s.Layout != nil:
		return fmt.Errorf("kind %d with these fields is not a scheme", s.Kind)
	case s.Bits < 2 || s.Bits > 8:
		return fmt.Errorf("%d bits, want 2 to 8", s.Bits)
	case s.Group < 0 || s.Group > MaxGroup || s.Group%8 != 0:
		return fmt.Errorf("group of %d columns, want a multiple of 8 up to %d", s.Group, MaxGroup)
	case s.Short && (s.Group == 0 || s.Asym):
		return fmt.Errorf("scales of 4 bits need groups and no minimums, such as int5/g16/s4")
	case s.Uneven && (s.Bits != 4 || s.Asym || s.Short):
		return fmt.Errorf("uneven levels need 4 bits, float16 scales and no minimums, such as int4/g32/nl")
	case s.Rate > 0 && (s.Group != 0 || s.Asym || s.Uneven):
		return fmt.Errorf("a rate needs one scale for a row and no minimum, such as int8/row@4.5")
	case s.Rate > 0 && (s.Rate < leastRate || int(s.Rate) > 100*s.Bits):
		return fmt.Errorf("a rate of %g bits, want %g to %d", s.BitsRate(), leastRate/100.0, s.Bits)
	}
	return nil
}

// leastRate is the least Rate. Fewer bits do not leave most weights anything.
const leastRate = 50

// BitsRate returns Rate in bits.
func (s Scheme) BitsRate() float64 { return float64(s.Rate) / 100 }

// InMemory returns the scheme of a matrix that is stored as s.
func (s Scheme) InMemory() Scheme {
	s.Rate = 0
	return s
}

// WideScales returns the scheme with float16 scales, which have the values of short ones.
func (s Scheme) WideScales() Scheme {
	s.Short = false
	return s
}

// Float reports whether values are stored as f32, f16 or bf16.
func (s Scheme) Float() bool { return s.Kind < Int }

// String returns the canonical spelling, which ParseScheme accepts. For a Foreign
// scheme it returns the layout's name, which ParseScheme does not accept.
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
	} else if s.Short {
		sym = "s4"
	} else if s.Uneven {
		sym = "nl"
	}
	text := fmt.Sprintf("int%d/%s/%s", s.Bits, group, sym)
	if s.Rate > 0 {
		text += "@" + strconv.FormatFloat(s.BitsRate(), 'f', -1, 64)
	}
	return text
}

// valueBytes returns the stored size of one value of a float kind.
func (s Scheme) valueBytes() int { return [...]int{F32: 4, F16: 2, BF16: 2}[s.Kind] }

// Zero returns the zero point of a symmetric scheme: the code that represents 0.
func (s Scheme) Zero() int { return 1 << (s.Even().Bits - 1) }

// Codes returns the range of codes that a quantizer may choose. Symmetric int8
// does not use code 0 (the value -128): then code-Zero can be negated in an int8,
// and integer kernels may flip signs.
func (s Scheme) Codes() (lo, hi int) {
	if s.Uneven { // it has 16 of this range, see Codebook
		return int(levelsIQ4[0]), int(levelsIQ4[15])
	}
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

// Columns returns how many columns share a scale in a row of cols columns. The
// kind must be Int or Foreign.
func (s Scheme) Columns(cols int) int {
	if s.Kind == Foreign {
		s = s.Layout.Scheme
	}
	if s.Group == 0 {
		return max(cols, 1)
	}
	return s.Group
}

// rowBytes returns the length of one row of Codes.
func (s Scheme) rowBytes(cols int) int {
	switch {
	case s.Float():
		return cols * s.valueBytes()
	case s.Kind == Foreign:
		return cols / s.Layout.Cols * s.Layout.Bytes
	}
	n := 0
	for _, width := range kernel.Planes(s.Bits) {
		n += (cols*width + 7) / 8
	}
	return n
}

// ScaleBytes returns the length of a row of Scales of cols columns.
func (s Scheme) ScaleBytes(cols int) int {
	n := s.Groups(cols)
	if s.Short && n > 0 {
		return kernel.ShortBytes(n)
	}
	return 2 * n
}

// Size returns the size in bytes of a stored (rows, cols) matrix: the sum of Sizes, or what its
// Rate says.
func (s Scheme) Size(rows, cols int) (int64, error) {
	codes, scales, mins, err := s.Sizes(rows, cols)
	if s.Rate > 0 && err == nil {
		return (int64(rows)*int64(cols)*int64(s.Rate) + 799) / 800, nil
	}
	return codes + scales + mins, err
}

// Sizes returns the sizes in bytes of the three planes of a (rows, cols) matrix in memory.
// It returns an error if the scheme is invalid, if the shape is so large that a
// size could overflow an int64, or if cols is not a multiple of a layout's block.
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
	scales = int64(rows) * int64(s.ScaleBytes(cols))
	if s.Asym {
		mins = scales
	}
	return codes, scales, mins, nil
}

// BitsPerWeight returns the stored bits of a row of cols columns, including
// scales and minimums, divided by cols.
func (s Scheme) BitsPerWeight(cols int) float64 {
	if s.Rate > 0 {
		return s.BitsRate()
	}
	n, err := s.Size(1, cols)
	if err != nil || cols == 0 {
		return 0
	}
	return 8 * float64(n) / float64(cols)
}
