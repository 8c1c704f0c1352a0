package format

import (
	"thimble/format/gguf"
	"thimble/internal/model"
	"thimble/internal/qtensor"
)

// A Target is a program that models are quantized for: what its format stores
// and what it computes fast.
type Target struct {
	Name string
	// Check returns why the program cannot run m whatever its schemes are.
	Check func(m *model.Model) (notes []string, err error)
	// Nearest returns the scheme for so many columns that the program has a type
	// for and comes nearest to s, which is s where there is one for it.
	Nearest func(s qtensor.Scheme, cols int) qtensor.Scheme
	// Kernel returns the program's name for a scheme and whether phones have fast
	// kernels for it.
	Kernel     func(s qtensor.Scheme, rows int) (typ string, fast bool)
	Fast, Slow string // what that means and what it means if not
}

// Targets is the one place that lists them.
var Targets = []Target{
	{"llama.cpp", gguf.Check, gguf.Nearest, gguf.Kernel,
		"rows interleaved for ARM dot products", "no interleaved ARM kernels: prompts take longer than with int4/g32 (Q4_0) or int8/g32 (Q8_0)"},
}
