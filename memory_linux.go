package thimble

import (
	"os"
	"strconv"
	"strings"
)

// resetPeak makes peakMemory start again from what is resident now. ok is false
// where the system does not let it (proc(5), clear_refs).
func resetPeak() (ok bool) {
	return os.WriteFile("/proc/self/clear_refs", []byte("5"), 0) == nil
}

// peakMemory is the most bytes that were resident since resetPeak, mapped files
// included (VmHWM), 0 where that is not known.
func peakMemory() int64 {
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
