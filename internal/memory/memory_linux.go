// Package memory measures and bounds the resident memory of this process.
package memory

import (
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
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kb, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")), 10, 64)
			if err != nil {
				return 0
			}
			return kb << 10
		}
	}
	return 0
}
