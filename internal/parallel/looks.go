//go:build !race

package parallel

// looks is how often a patient goroutine looks for something before it sleeps: some tens
// of microseconds in all, as long as what a model computes on one core between two
// layers. Waking a goroutine takes about as long.
const looks = 50000
