//go:build unix && !linux

// Package memory measures and bounds the resident memory of this process.
package memory

import (
	"math"
	"runtime"

	"golang.org/x/sys/unix"
)

// ResetPeak returns false: these systems do not let a process reset its peak, so the peak
// of part of a run is unknown there.
func ResetPeak() (ok bool) { return false }

// Peak returns the peak resident size since the start of the process in bytes, including
// mapped files, or 0 if it is unknown.
func Peak() int64 {
	var use unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &use) != nil {
		return 0
	}
	if runtime.GOOS == "darwin" || runtime.GOOS == "ios" {
		return int64(use.Maxrss) // in bytes there, in kilobytes elsewhere
	}
	return int64(use.Maxrss) << 10
}

// Available returns the bytes that the system can give to processes, here unknown.
func Available() int64 { return math.MaxInt64 }
