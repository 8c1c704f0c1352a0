package strictjson

import (
	"runtime"
	"strings"
	"testing"
)

// What Decode allocates is at most 80 times the text, as docs/SECURITY.md says.
func TestMemory(t *testing.T) {
	for _, item := range []string{"0,", "[],", "{},", `{"":0},`, `"",`, "[[]],", "1e9,"} {
		text := []byte("[" + strings.Repeat(item, 20_000) + "0]")
		total := allocated(func() {
			if _, err := Decode("f", text); err != nil {
				t.Error(err)
			}
		})
		if most := uint64(80 * len(text)); total > most {
			t.Errorf("many %s: %d bytes for %d, want at most %d", item, total, len(text), most)
		}
	}
}

// allocated returns the bytes that f allocates.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}
