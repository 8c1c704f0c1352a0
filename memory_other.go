//go:build !linux

package thimble

// Other systems do not let a process reset its peak, so the peak of part of a run is
// unknown there.
func resetPeak() (ok bool) { return false }

func peakMemory() int64 { return 0 }
