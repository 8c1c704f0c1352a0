// Package ans codes matrices of small integers near their entropy, by rANS (Duda, arXiv
// 1311.2540) with a table for each class of elements. docs/FORMAT.md, section 6, is the
// normative description.
//
// Rows and columns of weights differ in size, so one table for all elements would waste
// bits. Each row and each column has a class, about the logarithm of its mean square, and the
// sum of the two chooses the table. Tables and classes are the head of the coded matrix. Its
// elements follow in pieces of whole rows, which are decoded independently.
package ans

import (
	"math"
	"slices"

	"thimble/internal/kernel"
)

// pieceCodes is about the number of elements in a piece.
const pieceCodes = 1 << 19

// PieceRows returns the number of rows in each piece of a matrix with cols columns. The last
// piece may have fewer.
func PieceRows(cols int) int { return max(1, pieceCodes/max(cols, 1)) }

// Pieces returns the number of pieces of a (rows, cols) matrix, without the head.
func Pieces(rows, cols int) int {
	n := PieceRows(cols)
	return (rows + n - 1) / n
}

// leastBytes returns the least length of a piece of so many elements: a writer adds zeros, so
// that a small file cannot fill a large memory.
func leastBytes(elements int) int { return (elements + 1023) / 1024 }

// LeastBytes returns the least length of all pieces of a (rows, cols) matrix.
func LeastBytes(rows, cols int) int64 { return int64(rows) * int64(cols) / 1024 }

// states returns the number of states of a piece of a (rows, cols) matrix: as many as decode fast,
// or few in a small matrix, because each takes three bytes more than it is worth.
func states(rows, cols int) int {
	const small, few = 1 << 15, 4
	if rows*cols < small {
		return min(cols, few)
	}
	return min(cols, kernel.States)
}

// Limits of a head.
const (
	maxClass  = 63 // of a row or a column
	maxTables = 64
)

// A code holds the tables and classes of a matrix.
type code struct {
	row, column []uint8 // classes
	table       []uint8 // of each sum of two classes, ascending
	freq        []*frequencies
}

// classes returns a class of at most maxClass for each sum of squares of n elements.
func classes(sums []uint64, n int) []uint8 {
	means := make([]float64, len(sums))
	for i, s := range sums {
		// The mean square of an element that is 0 counts as 1/12, as if it had been rounded.
		means[i] = (float64(12*s) + float64(n)) / float64(12*n)
	}
	out := make([]uint8, len(sums))
	for i, class := range Classes(means) {
		out[i] = uint8(min(class, maxClass))
	}
	return out
}

// Classes returns a class for each positive number: steps of about a third of an octave, from 0
// on for the least.
func Classes(x []float64) []int {
	const perOctave = 3
	out, least := make([]int, len(x)), math.MaxInt
	for i, v := range x {
		out[i] = int(float64(perOctave*kernel.Log64(v)*log2E) + 1e3 + 0.5)
		least = min(least, out[i])
	}
	for i := range out {
		out[i] -= least
	}
	return out
}

const log2E = 1.4426950408889634

// sums returns the largest sum of classes, plus 1.
func (c *code) sums() int {
	var r, k uint8
	for _, x := range c.row {
		r = max(r, x)
	}
	for _, x := range c.column {
		k = max(k, x)
	}
	return int(r) + int(k) + 1
}

// cost returns the length in bits of elements with these counts, in a table of their own, and
// of the table.
func cost(count *[symbols]uint64) float64 {
	total, sum, kinds := 0.0, 0.0, 0
	for _, n := range count {
		if n > 0 {
			sum += float64(float64(n) * kernel.Log64(float64(n)))
			total += float64(n)
			kinds++
		}
	}
	if kinds == 0 {
		return 0
	}
	const perTable, perSymbol = 300, 3.7 // time in caches, mostly; see writeFrequencies
	return float64(log2E*(float64(total*kernel.Log64(total))-sum)) + perTable + perSymbol*float64(kinds)
}

// A run is a range of sums of classes that share a table.
type run struct {
	count *[symbols]uint64
	bits  float64
	sums  int
}

// join returns the run of both.
func (a run) join(b run) run {
	both := *a.count
	for s, n := range b.count {
		both[s] += n
	}
	return run{&both, cost(&both), a.sums + b.sums}
}

// merge joins neighboring runs for as long as that saves bits.
func merge(runs []run) []run {
	joined := make([]run, len(runs)) // of a run and the next one; nil count if not known
	for len(runs) > 1 {
		best, gain := -1, 0.0
		for i := range len(runs) - 1 {
			if joined[i].count == nil {
				joined[i] = runs[i].join(runs[i+1])
			}
			if g := runs[i].bits + runs[i+1].bits - joined[i].bits; best < 0 || g > gain {
				best, gain = i, g
			}
		}
		if gain < 0 && len(runs) <= maxTables {
			break
		}
		runs[best] = joined[best]
		runs, joined = slices.Delete(runs, best+1, best+2), slices.Delete(joined, best+1, best+2)
		joined[best].count = nil
		if best > 0 {
			joined[best-1].count = nil
		}
	}
	return runs
}

// share chooses the tables, given the elements of each sum of classes. It returns the length
// of the matrix in bits.
func (c *code) share(counts [][symbols]uint64) (total float64) {
	var runs []run
	for i := range counts {
		runs = append(runs, run{&counts[i], cost(&counts[i]), 1})
	}
	c.table, c.freq = nil, nil
	for i, r := range merge(runs) {
		for range r.sums {
			c.table = append(c.table, uint8(i))
		}
		if r.bits == 0 { // of no element
			r.count = &[symbols]uint64{1}
		}
		c.freq = append(c.freq, coarse(r.count))
		total += r.bits
	}
	for _, list := range [][]uint8{c.row, c.column} {
		var count [symbols]uint64
		for _, x := range list {
			count[x]++
		}
		total += cost(&count)
	}
	return total
}
