// Package rounding chooses the codes of one matrix from what is known of its input.
//
// A [Method] is a way to choose them. It registers itself under the name that a
// recipe gives, [Choose] finds it, and [Variant.Round] runs it. An [Input] says what
// an error in each weight costs. Without calibration that is a guess at the power of
// each input column ([Guess]); with it, the second moments of what texts send
// through the layer ([Moments], [NewInput]).
//
// Models, plans and texts are the business of package quantize, which decides when a
// matrix is rounded and what its input then is.
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

// A Method is a way to choose the codes of integer matrices. How the codes are
// stored is the scheme's business. Each method has a file of its own, which
// registers it.
type Method struct {
	Name  string
	Steps []string // that a recipe may leave out, in the order in which they run

	// NeedsTexts says that the method cannot work without calibration texts.
	NeedsTexts bool
	// Rotates says that a calibrated run rotates heads before the method rounds
	// them, unless the recipe leaves StepRotation out.
	Rotates bool
	// ComparesStreams reports whether the method reads the drift of its input, for
	// which a calibrated run also follows the float model. nil never does.
	ComparesStreams func(without Skips) bool

	// Round fills dst from src, of the same shape, on all cores. The result
	// depends on src, in, without and dst.Scheme alone.
	Round func(ctx context.Context, dst, src *qtensor.Matrix, in *Input, without Skips) error
}

// Methods that a recipe may name; the function Methods lists all.
const (
	MethodRTN  = "rtn"  // round to nearest, scales searched
	MethodGPTQ = "gptq" // error feedback, by what calibration texts show
)

// Steps that a recipe may leave out, to see what each is worth; the function Steps
// lists those of a method.
const (
	StepRotation   = "rotation"   // of the channels between values and outputs
	StepSearch     = "search"     // for scales; without it a group's largest value takes the last code
	StepCorrection = "correction" // of the weights, for what was quantized upstream
	StepRefit      = "refit"      // of the scales to the codes
	StepDescent    = "descent"    // of the loss, single code by single code
)

// methods holds what init functions registered, in the order of Methods.
var methods []*Method

// Register adds m to the methods that a recipe may name, usually from an init
// function. The function that it returns, for tests, removes m again.
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

// methodNamed returns the method of a name, nil if there is none.
func methodNamed(name string) *Method {
	for _, m := range methods {
		if m.Name == name {
			return m
		}
	}
	return nil
}

// Methods lists the names that a recipe may give: first the methods that work
// without texts, each group in alphabetical order.
func Methods() []string {
	var names []string
	for _, m := range methods {
		names = append(names, m.Name)
	}
	return names
}

// Steps lists the steps of a method that a recipe may leave out, in the order in
// which they run.
func Steps(method string) []string {
	if m := methodNamed(method); m != nil {
		return slices.Clone(m.Steps)
	}
	return nil
}

// NeedsTexts reports whether a method cannot work without calibration texts.
func NeedsTexts(method string) bool {
	m := methodNamed(method)
	return m != nil && m.NeedsTexts
}

// Skips are the steps that a recipe leaves out.
type Skips []string

// Has reports whether step is left out.
func (s Skips) Has(step string) bool { return slices.Contains(s, step) }

// A Variant is a method less the steps that a recipe leaves out. Choose makes it.
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

// Without returns the steps that are left out, in the method's order.
func (v Variant) Without() Skips { return v.without }

// Round fills dst from src, of the same shape, on all cores. in is what is known of
// the input that src is multiplied by.
func (v Variant) Round(ctx context.Context, dst, src *qtensor.Matrix, in *Input) error {
	return v.method.Round(ctx, dst, src, in, v.without)
}

// Rotates reports whether a calibrated run rotates heads before v rounds them.
func (v Variant) Rotates() bool { return v.method.Rotates && !v.without.Has(StepRotation) }

// ComparesStreams reports whether v reads the drift of its input.
func (v Variant) ComparesStreams() bool {
	return v.method.ComparesStreams != nil && v.method.ComparesStreams(v.without)
}
