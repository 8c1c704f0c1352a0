package memory

import (
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
)

const (
	freeGarbage  = 16 << 20 // bytes of garbage that a collection is not worth
	leastPercent = 25       // garbage in percent of the live heap
	emptyHeap    = 4 << 20  // bytes; the runtime counts no heap as smaller
)

// LimitGarbage makes the collector run once there is a quarter as much garbage as there are
// live objects, unless GOGC is set: they are a few large slices without pointers, so that a
// collection is cheap, and the default of 100 would let garbage grow as large as the heap.
// Below 16 MiB of garbage the collector does not run: with a model of a few megabytes, it would
// take a tenth of the time.
func LimitGarbage() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(percent(0))
		afterCollection()
	}
}

// percent returns the GOGC for a heap of live bytes.
func percent(live uint64) int {
	return int(max(leastPercent, freeGarbage*100/max(live, emptyHeap)))
}

// afterCollection sets the percentage anew after each collection, which finalizes an object
// that nothing refers to.
func afterCollection() {
	runtime.SetFinalizer(&struct{ _ *byte }{}, func(*struct{ _ *byte }) {
		live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
		metrics.Read(live)
		debug.SetGCPercent(percent(live[0].Value.Uint64()))
		afterCollection()
	})
}
