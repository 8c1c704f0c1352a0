package strictyaml

import (
	"runtime"
	"strings"
	"testing"
)

// What Decode allocates is at most 800 times the text, as docs/SECURITY.md says, aliases included.
func TestMemory(t *testing.T) {
	alias := "x: [&a [0,0,0,0,0,0,0,0,0], &b [*a,*a,*a,*a,*a,*a,*a,*a], &c [*b,*b,*b,*b,*b,*b,*b,*b], &d [*c,*c,*c,*c,*c,*c,*c,*c], [*d,*d,*d,*d,*d,*d,*d,*d]]"
	for _, text := range []string{"x: [" + strings.Repeat("0,", 5000) + "0]", "x: [" + strings.Repeat("[],", 3000) + "0]", "x:\n" + strings.Repeat("- a: 0\n", 2000), alias} {
		total := allocated(func() {
			var v struct {
				X []any `yaml:"x"`
			}
			_ = Decode([]byte(text), &v)
		})
		if most := uint64(800*len(text) + 1<<20); total > most {
			t.Errorf("%.20s...: %d bytes for %d, want at most %d", text, total, len(text), most)
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
