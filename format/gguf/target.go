package gguf

import (
	"fmt"

	"thimble/internal/model"
	"thimble/internal/qtensor"
)

// Nearest returns the scheme of a matrix with so many columns that has a type
// in GGUF and keeps at least the bits of s: s itself where it has one.
// Integers become the narrowest of 4, 5 and 8 bits in groups of 32 with a
// minimum where s has one (8 bits have none), and float16 over columns that 32
// does not divide.
func Nearest(s qtensor.Scheme, cols int) qtensor.Scheme {
	if t, ok := typeOf(s); ok {
		if _, _, _, err := t.scheme.Sizes(1, cols); err == nil {
			return s
		}
	}
	near := qtensor.Scheme{Kind: qtensor.Int, Bits: 8, Group: 32}
	switch {
	case cols%near.Group != 0:
		return qtensor.Scheme{Kind: qtensor.F16}
	case s.Bits <= 4:
		near.Bits, near.Asym = 4, s.Asym
	case s.Bits == 5:
		near.Bits, near.Asym = 5, s.Asym
	}
	return near
}

// interleaved are the types for which the CPU backend of llama.cpp keeps rows
// interleaved on ARM processors with dot products (armv8.2 dotprod, or i8mm),
// if this number divides the rows: its fast way through a prompt (ggml-cpu,
// repack.cpp, ggml_repack_get_optimal_repack_type). Other types multiply row by row.
var interleaved = map[string]int{"Q4_0": 4, "Q8_0": 4, "Q4_K": 8, "Q5_K": 8, "Q6_K": 8}

// Kernel returns the type that stores scheme s, which must be Nearest to itself,
// and whether llama.cpp has interleaved ARM kernels for so many rows of it.
func Kernel(s qtensor.Scheme, rows int) (ggml string, fast bool) {
	t, _ := typeOf(s)
	multiple := interleaved[t.name]
	return t.name, multiple > 0 && rows%multiple == 0
}

// Check returns why no file can hold m for llama.cpp whatever its schemes are:
// an error that wraps defect.ErrUnsupported. Notes say what export will ask for.
func Check(m *model.Model) (notes []string, err error) {
	spec := m.Spec
	if n := shorter(&spec); n > 0 {
		notes = append(notes, fmt.Sprintf("thimble export will ask for --context %d: llama.cpp does not compute this model in its context of %d", n, spec.Context))
		spec.Context = n
	}
	a, err := choose(m.Path, &spec)
	if err != nil {
		return nil, err
	}
	_, _, err = a.keysOf(m, &spec)
	return notes, err
}
