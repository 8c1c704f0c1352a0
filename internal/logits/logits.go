// Package logits computes with rows of next-token logits: their normalizer,
// their ranks, and the divergence of one row from another.
//
// A row has one float32 for each token of the vocabulary. Sums over the
// vocabulary run in ascending token order, every product that meets a sum is
// rounded first (Go may otherwise fuse the two on some machines), and exp and
// log are those of package kernel. So a figure has the same bits on every machine.
package logits

import (
	"fmt"
	"math"

	"thimble/internal/kernel"
)

// Argmax returns the index of the largest logit, the lowest one if several tie.
func Argmax(x []float32) int {
	at := 0
	for i, v := range x {
		if v > x[at] {
			at = i
		}
	}
	return at
}

// Rank returns how many elements of x precede x[at] in descending order. Ties
// rank by index.
func Rank(x []float32, at int) int {
	n := 0
	for i, v := range x {
		if v > x[at] || v == x[at] && i < at {
			n++
		}
	}
	return n
}

// LogSumExp returns log(sum of exp(x)). Unless exp is nil, it also stores
// exp(x - max(x)) there.
func LogSumExp(x []float32, exp []float64) float64 {
	high, sum := float64(x[Argmax(x)]), 0.0
	for i, v := range x {
		e := kernel.Exp64(float64(v) - high)
		if exp != nil {
			exp[i] = e
		}
		sum += e
	}
	return high + kernel.Log64(sum)
}

// Finite returns an error that names the first logit of x that is not finite.
// whose says whose logits they are: "model" or "reference".
func Finite(whose string, x []float32) error {
	for id, v := range x {
		if !IsFinite(float64(v)) {
			return fmt.Errorf("the %s's logit of token %d is %v", whose, id, v)
		}
	}
	return nil
}

// IsFinite reports whether x is neither infinite nor NaN.
func IsFinite(x float64) bool { return x-x == 0 }

// Cosine returns the cosine of two vectors a and b, given their products a·b,
// a·a and b·b. A zero vector has cosine 1 with another zero vector and 0 with
// any other.
func Cosine(ab, aa, bb float64) float64 {
	switch {
	case aa == 0 && bb == 0:
		return 1
	case aa == 0 || bb == 0:
		return 0
	}
	return min(1, max(-1, ab/(math.Sqrt(aa)*math.Sqrt(bb))))
}
