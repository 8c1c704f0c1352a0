package memory

import (
	"fmt"
	"math"
	"runtime"
	"runtime/debug"

	"thimble/internal/units"
)

// outside is the part of a bound that is not the Go heap's: the program itself, the stacks
// of its threads, and the pages of mapped files between their use and their release.
const outside = 48 << 20

// Hold bounds the resident size of this process, mapped files included, until release is
// called. 0 is no bound. The collector keeps the heap below the bound; operations ask
// Room how much they may keep there, and release the files that they map as they go.
//
// The bound is the Go runtime's memory limit, less what is outside the heap. So GOMEMLIMIT
// bounds operations in the same way.
func Hold(bytes int64) (release func()) {
	if bytes <= 0 {
		return func() {}
	}
	debug.FreeOSMemory() // the peak of what follows, not of what came before
	before := debug.SetMemoryLimit(max(bytes-outside, 1))
	return func() { debug.SetMemoryLimit(before) }
}

// Bounded reports whether the heap has a limit.
func Bounded() bool { return debug.SetMemoryLimit(-1) != math.MaxInt64 }

// Room returns the bytes that live objects may take under the limit, or math.MaxInt64
// without one. The rest is garbage that the collector has not found yet: with less, it
// would run all the time.
func Room() int64 {
	if limit := debug.SetMemoryLimit(-1); limit != math.MaxInt64 {
		return share(limit)
	}
	return math.MaxInt64
}

// Live returns the bytes of the objects on the heap that are in use.
func Live() int64 {
	var stats runtime.MemStats
	for range 2 { // a sync.Pool outlives the first
		runtime.GC()
	}
	runtime.ReadMemStats(&stats)
	return int64(stats.HeapAlloc)
}

const garbage = 8 // the collector's part of a limit: one in garbage

func share(limit int64) int64 { return limit - limit/garbage }

// Least returns the smallest bound for Hold that gives Room for live bytes.
func Least(live int64) int64 { return live + (live+garbage-2)/(garbage-1) + outside }

// Check returns an error if an operation with so many live bytes does not fit into a bound.
// 0 is no bound.
func Check(bound, live int64) error {
	if least := Least(live); bound > 0 && bound < least {
		// The next run may have a little more on the heap.
		const again, more = 50, 4 << 20
		return fmt.Errorf("--max-mem %s is less than this run needs; use --max-mem %s or more", units.Exact(bound), units.AtLeast(least+least/again+more))
	}
	return nil
}
