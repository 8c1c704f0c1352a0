//go:build race

package parallel

// looks is small because the race detector watches each look.
const looks = 100
