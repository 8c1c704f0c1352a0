package model

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Generation is how to choose tokens from a model's logits: in a Model, what its authors
// recommend (generation_config.json). A zero field is not set.
type Generation struct {
	// Temperature divides the logits. Without one, the most likely token is chosen.
	Temperature float64 `cbor:"temperature,omitempty" json:"temperature,omitempty"`
	// TopK keeps that many of the most likely tokens.
	TopK int `cbor:"topk,omitempty" json:"top_k,omitempty"`
	// TopP keeps the most likely tokens that together have at least this probability
	// (arXiv 1904.09751, section 3.1).
	TopP float64 `cbor:"topp,omitempty" json:"top_p,omitempty"`
	// MinP keeps tokens with at least this share of the probability of the most likely one
	// (arXiv 2407.01082).
	MinP float64 `cbor:"minp,omitempty" json:"min_p,omitempty"`
	// RepetitionPenalty divides the positive logits of tokens that occurred before, and
	// multiplies the negative ones (arXiv 1909.05858, section 4.1).
	RepetitionPenalty float64 `cbor:"penalty,omitempty" json:"repetition_penalty,omitempty"`
}

// String lists the fields that are set, such as "temperature 0.6, top_p 0.9".
func (g Generation) String() string {
	var parts []string
	for _, f := range g.fields() {
		if f.v != 0 {
			parts = append(parts, fmt.Sprintf("%s %g", f.name, f.v))
		}
	}
	if len(parts) == 0 {
		return "the most likely token"
	}
	return strings.Join(parts, ", ")
}

// A field has a name, as in generation_config.json, a value and the largest one.
type field struct {
	name    string
	v, most float64
}

func (g *Generation) fields() []field {
	return []field{
		{"temperature", g.Temperature, MaxTemperature}, {"top_k", float64(g.TopK), MaxVocab},
		{"top_p", g.TopP, 1}, {"min_p", g.MinP, 1}, {"repetition_penalty", g.RepetitionPenalty, MaxPenalty},
	}
}

// Limits of a Generation.
const (
	MaxTemperature = 1e6
	MaxPenalty     = 1e6
)

// plain returns a number without an exponent, unless that would take many digits.
func plain(x float64) string {
	form := byte('f')
	if size := math.Abs(x); size >= 1e15 || size < 1e-6 && size > 0 {
		form = 'g'
	}
	return strconv.FormatFloat(x, form, -1, 64)
}

// Check returns an error if a field is out of range. It names the field as
// generation_config.json does.
func (g *Generation) Check() error {
	for _, f := range g.fields() {
		if !(f.v >= 0 && f.v <= f.most) {
			return fmt.Errorf("%s is %s, want 0 to %s", f.name, plain(f.v), plain(f.most))
		}
	}
	return nil
}
