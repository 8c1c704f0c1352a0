//go:build !race

package parallel

// looks is how often a patient goroutine looks for something before it sleeps: about a tenth
// of a millisecond in all, as long as what a model computes on one core between two layers of
// a short prompt. Waking a goroutine takes a part of that, twice for each layer: with a
// quarter as many looks, a prompt of 16 tokens takes a third longer.
const looks = 200000
