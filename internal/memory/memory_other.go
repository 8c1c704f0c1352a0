//go:build !linux

// Package memory measures the peak of the memory of this process.
package memory

// ResetPeak returns false: other systems do not let a process reset its peak, so the peak
// of part of a run is unknown there.
func ResetPeak() (ok bool) { return false }

// Peak returns 0, for unknown.
func Peak() int64 { return 0 }
