// Package memory measures and bounds the resident memory of this process.
package memory

import (
	"math"
	"os"
	"strconv"
	"strings"
)

// ResetPeak sets the peak to the current resident size. It returns false if the system
// does not allow that (proc(5), clear_refs).
func ResetPeak() (ok bool) {
	return os.WriteFile("/proc/self/clear_refs", []byte("5"), 0) == nil
}

// Peak returns the peak resident size since ResetPeak or the start of the process in bytes,
// including mapped files (VmHWM), or 0 if it is unknown.
func Peak() int64 {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	kb, _ := kilobytes(string(status), "VmHWM:")
	return kb << 10
}

// Available returns the bytes that the system can give to processes without swapping, as far
// as it says (proc(5), MemAvailable).
func Available() int64 {
	text, _ := os.ReadFile("/proc/meminfo")
	if kb, ok := kilobytes(string(text), "MemAvailable:"); ok {
		return kb << 10
	}
	return math.MaxInt64
}

// kilobytes returns the number of a line of text that begins with name.
func kilobytes(text, name string) (kb int64, ok bool) {
	for line := range strings.Lines(text) {
		if rest, found := strings.CutPrefix(line, name); found {
			kb, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")), 10, 64)
			return kb, err == nil
		}
	}
	return 0, false
}
