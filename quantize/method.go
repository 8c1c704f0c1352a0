package quantize

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"thimble/internal/spell"
)

// A method chooses the codes of integer matrices; the scheme determines how they are
// stored. Each method has its own file, which registers it.
type method struct {
	name  string
	steps []string // optional steps, in the order in which they run

	// needsTexts is true if the method cannot work without calibration texts.
	needsTexts bool
	// rotates is true if a calibrated run must rotate heads before the method rounds them
	// (see rotated), unless the recipe omits StepRotation.
	rotates bool
	// comparesStreams reports whether the method reads the drift of its input, for which a
	// calibrated run also follows the float model. nil means that it does not.
	comparesStreams func(without skips) bool

	// quantize fills dst from src, of the same shape, on all cores. The result
	// depends on src, in, without and dst.Scheme alone.
	quantize func(ctx context.Context, dst, src *Matrix, in *input, without skips) error
}

// Methods that a recipe may name; Methods returns all names.
const (
	MethodRTN  = "rtn"  // round to nearest, with a search for scales
	MethodGPTQ = "gptq" // error feedback, calibrated on texts
)

// Steps that a recipe may omit, to measure the gain of each; Steps returns those of a
// method.
const (
	StepRotation   = "rotation"   // of the channels between values and outputs
	StepSearch     = "search"     // for scales; without it a group's largest value takes the last code
	StepCorrection = "correction" // of the weights, for quantization upstream
	StepRefit      = "refit"      // of the scales to the codes
	StepDescent    = "descent"    // of the loss, single code by single code
)

// methods lists the registered methods, in the order of Methods.
var methods []*method

// register adds m to methods.
func register(m method) {
	if methodNamed(m.name) != nil {
		panic("quantize: method " + m.name + " registered twice")
	}
	methods = append(methods, &m)
	slices.SortFunc(methods, func(a, b *method) int {
		if a.needsTexts != b.needsTexts {
			if a.needsTexts {
				return 1
			}
			return -1
		}
		return cmp.Compare(a.name, b.name)
	})
}

// methodNamed returns the method with the given name, or nil.
func methodNamed(name string) *method {
	for _, m := range methods {
		if m.name == name {
			return m
		}
	}
	return nil
}

// Methods returns the names of all methods: first those that work without texts, each group
// in alphabetical order.
func Methods() []string {
	var names []string
	for _, m := range methods {
		names = append(names, m.name)
	}
	return names
}

// Steps returns the optional steps of a method, in the order in which they run.
func Steps(method string) []string {
	if m := methodNamed(method); m != nil {
		return slices.Clone(m.steps)
	}
	return nil
}

// NeedsTexts reports whether a method cannot work without calibration texts.
func NeedsTexts(method string) bool {
	m := methodNamed(method)
	return m != nil && m.needsTexts
}

// skips lists the steps that a recipe omits.
type skips []string

func (s skips) has(step string) bool { return slices.Contains(s, step) }

// A chosenMethod is a method without the steps that a recipe omits.
type chosenMethod struct {
	*method
	without skips // in the method's order
}

// chooseMethod finds a method by name. The steps of without may be in any order.
func chooseMethod(name string, without []string) (chosenMethod, error) {
	m := methodNamed(name)
	if m == nil {
		return chosenMethod{}, fmt.Errorf("there is no method %q%s; it is one of %s", name, spell.Suggest(name, Methods()), strings.Join(Methods(), ", "))
	}
	for i, step := range without {
		if !slices.Contains(m.steps, step) {
			return chosenMethod{}, fmt.Errorf("method %s has no step %q%s; it has %s", name, step, spell.Suggest(step, m.steps), strings.Join(m.steps, ", "))
		}
		if slices.Contains(without[:i], step) {
			return chosenMethod{}, fmt.Errorf("step %q is listed twice in without", step)
		}
	}
	chosen := chosenMethod{method: m}
	for _, step := range m.steps {
		if slices.Contains(without, step) {
			chosen.without = append(chosen.without, step)
		}
	}
	return chosen, nil
}

// round fills dst from src, of the same shape.
func (c chosenMethod) round(ctx context.Context, dst, src *Matrix, in *input) error {
	return c.quantize(ctx, dst, src, in, c.without)
}

// rotatesHeads reports whether a calibrated run rotates heads before c rounds them.
func (c chosenMethod) rotatesHeads() bool { return c.rotates && !c.without.has(StepRotation) }

// readsDrift reports whether c reads the drift of its input.
func (c chosenMethod) readsDrift() bool {
	return c.comparesStreams != nil && c.comparesStreams(c.without)
}
