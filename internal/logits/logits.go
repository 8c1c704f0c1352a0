// Package logits computes properties of rows of next-token logits: their
// log-sum-exp, their ranks, and the divergence of one row from another.
//
// A row has one float32 for each token of the vocabulary. All results have the
// same bits on every machine: sums over the vocabulary run in ascending token
// order, every product is rounded before it is added (otherwise Go may fuse the
// two on some machines), and exp and log are those of package kernel.
package logits

import (
	"fmt"
	"math"

	"thimble/internal/kernel"
)

// Argmax returns the index of the largest logit. Ties go to the lowest index.
func Argmax(x []float32) int {
	at := 0
	for i, v := range x {
		if v > x[at] {
			at = i
		}
	}
	return at
}

// Rank returns how many elements of x precede x[at] in descending order. Ties are
// ordered by index.
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
func LogSumExp(x []float32, exp []float64) float64 { return LogSumExpFrom(x, Argmax(x), exp) }

// LogSumExpFrom is LogSumExp where x[at] is the largest element.
func LogSumExpFrom(x []float32, at int, exp []float64) float64 {
	high := float64(x[at])
	return high + kernel.Log64(SumExp(x, high, exp))
}

// SumExp returns the sum of exp(x - bias). Unless exp is nil, it also stores the
// exponentials there.
func SumExp(x []float32, bias float64, exp []float64) (sum float64) {
	var scratch [256]float64
	for from := 0; from < len(x); from += len(scratch) {
		part := x[from:min(from+len(scratch), len(x))]
		e := scratch[:len(part)]
		if exp != nil {
			e = exp[from:][:len(part)]
		}
		kernel.Exps64(e, part, bias)
		for _, v := range e {
			sum += v
		}
	}
	return sum
}

// Finite returns an error if a logit of x is not finite. The error names the first
// such logit and its owner: whose is "model" or "reference".
func Finite(whose string, x []float32) error {
	for id, v := range x {
		if !IsFinite(float64(v)) {
			remedy := ""
			if whose == "model" {
				remedy = "; thimble convert names a weight that is not finite"
			}
			return fmt.Errorf("the %s's logit of token %d is %v%s", whose, id, v, remedy)
		}
	}
	return nil
}

// IsFinite reports whether x is neither infinite nor NaN.
func IsFinite(x float64) bool { return x-x == 0 }

// Cosine returns the cosine similarity of two vectors a and b, given their dot
// products a·b, a·a and b·b. It is 1 for two zero vectors, and 0 if only one of
// them is zero.
func Cosine(ab, aa, bb float64) float64 {
	switch {
	case aa == 0 && bb == 0:
		return 1
	case aa == 0 || bb == 0:
		return 0
	}
	return min(1, max(-1, ab/(math.Sqrt(aa)*math.Sqrt(bb))))
}
