//go:build !unix

// Package memory measures and bounds the resident memory of this process.
package memory

import "math"

// ResetPeak returns false: this system does not let a process reset its peak, so the peak
// of part of a run is unknown.
func ResetPeak() (ok bool) { return false }

// Peak returns 0, for unknown.
func Peak() int64 { return 0 }

// Available returns the bytes that the system can give to processes, here unknown.
func Available() int64 { return math.MaxInt64 }
