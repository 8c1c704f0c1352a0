// Package rounding chooses the codes of one matrix, given what is known of its input.
//
// A [Method] is a way to choose them. It registers itself under the name that recipes use,
// [Choose] finds it, and [Variant.Round] runs it. An [Input] determines the cost of an
// error in each weight: without calibration, a guess at the power of each input column
// ([Guess]); with calibration, the second moments of the layer's input for the texts
// ([Moments], [NewInput]).
//
// Package quantize handles models, plans and texts. It decides when a matrix is rounded,
// and computes its input.
package rounding

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"thimble/internal/qtensor"
	"thimble/internal/spell"
)

// A Method is a way to choose the codes of integer matrices; the scheme determines how
// codes are stored. Each method has its own file, which registers it.
type Method struct {
	Name  string
	Steps []string // that a recipe may omit, in the order in which they run

	// NeedsTexts is set if the method requires calibration texts.
	NeedsTexts bool
	// Rotates is set if a calibrated run rotates heads before the method rounds them,
	// unless the recipe omits StepRotation.
	Rotates bool
	// ComparesStreams reports whether the method uses the drift of its input, for which a
	// calibrated run also follows the float model. nil means never.
	ComparesStreams func(without Skips) bool

	// Round fills dst from src, of the same shape, on all cores. The result depends only
	// on src, in, without and dst.Scheme.
	Round func(ctx context.Context, dst, src *qtensor.Matrix, in *Input, without Skips) error
}

// Methods that a recipe may name; the function Methods lists all.
const (
	MethodRTN  = "rtn"  // round to nearest, scales searched
	MethodGPTQ = "gptq" // error feedback, with the second moments of calibration texts
)

// Steps that a recipe may omit, to measure their gain; the function Steps lists those of a
// method.
const (
	StepReorder    = "reorder"    // of the residual stream's channels; see package quantize/order
	StepRotation   = "rotation"   // of the channels between values and outputs
	StepSearch     = "search"     // for scales; without it a group's largest value gets the last code
	StepCorrection = "correction" // of the weights, for what was quantized upstream
	StepRefit      = "refit"      // of the scales to the codes; of short scales, moves of their levels
	StepDescent    = "descent"    // of the loss, one code at a time
)

// methods lists the registered methods in the order of Methods.
var methods []*Method

// Register adds m to the methods that a recipe may name, usually from an init function.
// The returned function, for tests, removes m.
func Register(m Method) (remove func()) {
	if methodNamed(m.Name) != nil {
		panic("rounding: method " + m.Name + " registered twice")
	}
	methods = append(methods, &m)
	slices.SortFunc(methods, func(a, b *Method) int {
		if a.NeedsTexts != b.NeedsTexts {
			if a.NeedsTexts {
				return 1
			}
			return -1
		}
		return cmp.Compare(a.Name, b.Name)
	})
	return func() { methods = slices.DeleteFunc(methods, func(other *Method) bool { return other == &m }) }
}

// methodNamed returns the method of that name, or nil.
func methodNamed(name string) *Method {
	for _, m := range methods {
		if m.Name == name {
			return m
		}
	}
	return nil
}

// Methods returns the names that a recipe may use: first the methods that need no texts,
// then the others, both in alphabetical order.
func Methods() []string {
	var names []string
	for _, m := range methods {
		names = append(names, m.Name)
	}
	return names
}

// Steps returns the steps of a method that a recipe may omit, in the order in which they
// run.
func Steps(method string) []string {
	if m := methodNamed(method); m != nil {
		return slices.Clone(m.Steps)
	}
	return nil
}

// NeedsTexts reports whether a method requires calibration texts.
func NeedsTexts(method string) bool {
	m := methodNamed(method)
	return m != nil && m.NeedsTexts
}

// Skips lists the steps that a recipe omits.
type Skips []string

// Has reports whether step is omitted.
func (s Skips) Has(step string) bool { return slices.Contains(s, step) }

// A Variant is a method without the steps that a recipe omits. Choose returns one.
type Variant struct {
	method  *Method
	without Skips // in the method's order
}

// Choose finds a method by name. The steps of without may be in any order.
func Choose(name string, without []string) (Variant, error) {
	m := methodNamed(name)
	if m == nil {
		return Variant{}, fmt.Errorf("there is no method %q%s; it is one of %s", name, spell.Suggest(name, Methods()), strings.Join(Methods(), ", "))
	}
	for i, step := range without {
		if !slices.Contains(m.Steps, step) {
			return Variant{}, fmt.Errorf("method %s has no step %q%s; it has %s", name, step, spell.Suggest(step, m.Steps), strings.Join(m.Steps, ", "))
		}
		if slices.Contains(without[:i], step) {
			return Variant{}, fmt.Errorf("step %q is left out twice", step)
		}
	}
	v := Variant{method: m}
	for _, step := range m.Steps {
		if slices.Contains(without, step) {
			v.without = append(v.without, step)
		}
	}
	return v, nil
}

// Without returns the omitted steps, in the method's order.
func (v Variant) Without() Skips { return v.without }

// Round fills dst from src, of the same shape, on all cores. in describes the input that
// src is multiplied by.
func (v Variant) Round(ctx context.Context, dst, src *qtensor.Matrix, in *Input) error {
	return v.method.Round(ctx, dst, src, in, v.without)
}

// Rotates reports whether a calibrated run rotates heads before v rounds them.
func (v Variant) Rotates() bool { return v.method.Rotates && !v.without.Has(StepRotation) }

// Reorders reports whether the channels of a model are reordered before v rounds it.
func (v Variant) Reorders() bool {
	return slices.Contains(v.method.Steps, StepReorder) && !v.without.Has(StepReorder)
}

// ComparesStreams reports whether v uses the drift of its input.
func (v Variant) ComparesStreams() bool {
	return v.method.ComparesStreams != nil && v.method.ComparesStreams(v.without)
}
