//go:build !linux

package main

// Elsewhere a process's peak cannot be set back, so there is none for a part of
// a run.
func resetPeak() (ok bool) { return false }

func peakMemory() int64 { return 0 }
