package verify

import (
	"math"
	"regexp"
	"slices"
	"strconv"

	"thimble/internal/model"
	"thimble/internal/qtensor"
)

// DefaultGates returns the limits for a comparison of m with its source checkpoint:
// those of its coarsest scheme, for a model of its size. m must have passed Check.
func DefaultGates(m *Model) []Gate {
	s := coarsest(m)
	weights, _ := m.Size()
	return sized(SchemeGates(s), s, weights)
}

// coarsest returns the scheme with the fewest bits per weight among the linear layers,
// embedding and head of m.
func coarsest(m *Model) (found qtensor.Scheme) {
	least := math.Inf(1)
	for _, s := range m.Spec.Slots() {
		if s.Role == model.Vector {
			continue
		}
		scheme := m.Tensors[s.Name].Scheme
		if bits := scheme.BitsPerWeight(s.Cols); bits < least {
			found, least = scheme, bits
		}
	}
	if rate, ok := medianRate(m.Provenance.Recipe); ok && found.Kind == qtensor.Int {
		found.Bits = min(found.Bits, int(rate)+1)
	}
	return found
}

// recipeRate matches the scheme of an entropy-coded tensor in a recipe, such as
// int8/row/sym@4.25.
var recipeRate = regexp.MustCompile(`/row/sym@([0-9.]+)`)

// medianRate returns the median of the rates in a recipe, in bits; ok is false if it has none. The
// codes of a file do not tell it: in memory they take 8 bits. At the same bits codes with a rate
// lose less than half of what others lose, and a budget chooses rates by what they cost: so their
// limits are those of a bit more, and do not follow from the coarsest matrix.
func medianRate(recipe string) (rate float64, ok bool) {
	var rates []float64
	for _, found := range recipeRate.FindAllStringSubmatch(recipe, -1) {
		if r, err := strconv.ParseFloat(found[1], 64); err == nil {
			rates = append(rates, r)
		}
	}
	if len(rates) == 0 {
		return 0, false
	}
	slices.Sort(rates)
	return rates[(len(rates)-1)/2], true
}

// NoConversionError is the gate on the errors that the operations of a model add: they
// must not exceed what rounding explains. It detects mistakes that rounding to few bits
// hides from the other gates. It needs a Profile of the model and its source.
var NoConversionError = Gate{"beyond_rounding", "<=", 1}

// sizes lists, for numbers of weights, the share of SchemeGates' limit on the divergence
// that applies to models of that size or larger.
var sizes = []struct {
	from  int64
	share float64
}{{5e9, 0.25}, {1e9, 0.5}}

// sized returns the gates of a model that has that many weights, stored in s.
// Divergence is proportional to the square of an error and disagreement to the error
// itself, so half the limit of divergence goes with 1/sqrt(2) of that of disagreement.
// The gates of floats do not depend on the size. Neither do those of two bits, because
// it is not known whether larger models tolerate two bits better.
func sized(gates []Gate, s qtensor.Scheme, weights int64) []Gate {
	s = s.Rounding()
	if s.Kind != qtensor.Int || s.Bits < 3 {
		return gates
	}
	for _, z := range sizes {
		if weights < z.from {
			continue
		}
		for i := range gates {
			g := &gates[i]
			switch g.Metric {
			case "kl_mean":
				g.Limit = threeDecimals(g.Limit * z.share)
			case "top1_agreement":
				g.Limit = threeDecimals(1 - float64((1-g.Limit)*math.Sqrt(z.share)))
			}
		}
		break
	}
	return gates
}

// threeDecimals rounds a limit as the table in docs/NUMERICS.md does.
func threeDecimals(x float64) float64 { return math.Round(x*1000) / 1000 }

// SchemeGates returns the limits for a model of less than a billion weights, all
// stored in s.
//
// They separate rounding errors from broken models. The limit of the divergence is 2.5
// to 13 times the divergence that rounding to nearest causes in a model of 135 M
// parameters. It is below that of a wrong permutation, scale or layer order, which is
// one to four nats. A release should set its own, tighter gates. docs/NUMERICS.md has
// the measurements.
func SchemeGates(s Scheme) []Gate {
	kl, top1 := 0.0, 0.0
	switch s.Kind {
	case qtensor.F32:
		// Only the order of float32 sums may differ.
		return append(gatePair(1e-5, 0.99), Gate{"max_abs_rel", "<=", 1e-3})
	case qtensor.F16:
		kl, top1 = 1e-4, 0.98
	case qtensor.BF16:
		kl, top1 = 5e-3, 0.95
	case qtensor.Foreign:
		return SchemeGates(s.Rounding())
	case qtensor.Int:
		l := intLimits[s.Bits]
		kl, top1 = l.kl, l.top1
		if s.Bits == 4 && s.Asym {
			kl, top1 = 0.7, 0.55
		}
	}
	return gatePair(kl, top1)
}

// intLimits is indexed by bits. One bit less doubles rounding errors and quadruples the
// divergence. Below 4 bits, rounding to nearest ruins a small model; better methods must
// meet the limits of 4 bits.
var intLimits = [9]struct{ kl, top1 float64 }{
	2: {1, 0.5}, 3: {1, 0.5}, 4: {1, 0.5}, 5: {0.3, 0.7}, 6: {0.1, 0.8}, 7: {0.04, 0.85}, 8: {0.02, 0.9},
}

func gatePair(kl, top1 float64) []Gate {
	return []Gate{{"kl_mean", "<=", kl}, {"top1_agreement", ">=", top1}}
}
