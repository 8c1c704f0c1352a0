package rounding

import (
	"thimble/internal/kernel"
	"thimble/internal/parallel"
	"thimble/internal/qtensor"
)

// Bytes returns the bytes that Round takes to fill a matrix of a scheme, with its input; drift
// tells whether that input has a drift. Methods that need no texts take less.
func Bytes(s qtensor.Scheme, rows, cols int, drift bool) int64 {
	n := int64(kernel.Padded(cols))
	values := 4 * int64(rows) * int64(cols)
	all := 8*n*n + values // H and M
	if drift {
		all += 28*n*n + values // Drift and its transpose, L three times, and the changes
	}
	unknowns := int64(s.Groups(cols)) // of a refit
	switch {
	case s.Asym:
		unknowns *= 2
	case s.Short:
		unknowns = 0
	}
	panel := PanelRows * (7*4*n + 8*unknowns*(unknowns+1) + 16*unknowns + 4*int64(kernel.Padded(s.Columns(cols))))
	return all + int64(parallel.Workers())*(panel+8*unknowns*unknowns)
}
