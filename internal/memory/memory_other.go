//go:build !unix

// Package memory measures and bounds the resident memory of this process.
package memory

// ResetPeak returns false: this system does not let a process reset its peak, so the peak
// of part of a run is unknown.
func ResetPeak() (ok bool) { return false }

// Peak returns 0, for unknown.
func Peak() int64 { return 0 }
