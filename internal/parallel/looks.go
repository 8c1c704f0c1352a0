//go:build !race

package parallel

// looks is how often a goroutine with a core of its own looks for something before it
// sleeps: some tens of microseconds in all, as long as what a model computes on one core
// between two layers. Waking a goroutine takes about as long, and single tokens are a
// fifth slower with 3000.
const looks = 50000
