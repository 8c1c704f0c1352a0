// Package python has the values of Python that chat templates compute with: their operators,
// attributes, methods, texts and JSON, exactly as in Python 3.11 and Jinja2's
// ImmutableSandboxedEnvironment. What is missing is an error that names it.
//
// Templates are untrusted, so a Run counts what they take.
package python

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// Limits of a Run.
const (
	MaxText   = 64 << 20   // bytes of a text, and so of the output
	maxMemory = 512 << 20  // bytes of all texts and lists that it makes, freed or not
	maxSteps  = 20_000_000 // expressions and statements
	maxDepth  = 2000       // of expressions, macros and values in each other
	MaxRange  = 100_000    // numbers in a range, as in Jinja2's sandbox
)

// MaxParams is the most parameters of a macro, and keywords of a call.
const MaxParams = 1000

// SizeOfItem is the memory of an item of a list, in bytes.
const SizeOfItem = 48

// Errors of a Run at its limits.
var (
	ErrText   = fmt.Errorf("makes a text of more than %d MB", MaxText>>20)
	errMemory = fmt.Errorf("makes texts and lists of more than %d MB", maxMemory>>20)
	errSteps  = fmt.Errorf("takes more than %d million steps", maxSteps/1_000_000)
	errDepth  = errors.New("recurses without end")
)

// A Run counts what a program takes, and ends it at a limit.
type Run struct {
	depth  int
	steps  int
	memory int
	asked  string // of isASCII
	answer bool
}

// Enter counts a step, and how deep it is.
func (r *Run) Enter() error {
	r.depth++
	r.steps++
	switch {
	case r.depth > maxDepth:
		r.depth--
		return errDepth
	case r.steps > maxSteps:
		r.depth--
		return errSteps
	}
	return nil
}

// Leave ends what Enter began.
func (r *Run) Leave() { r.depth-- }

// Charge counts memory that is about to be used.
func (r *Run) Charge(n int) error {
	if r.memory += n; r.memory > maxMemory {
		return errMemory
	}
	return nil
}

// Step counts steps.
func (r *Run) Step(n int) error {
	if r.steps += n; r.steps > maxSteps {
		return errSteps
	}
	return nil
}

// scan counts the steps of reading a text of n bytes.
func (r *Run) scan(n int) error { return r.Step(n / 64) }

// Letters counts the steps and the memory of changing the case of a text.
func (r *Run) Letters(s string) error {
	if err := r.Charge(len(s)); err != nil {
		return err
	}
	return r.Step(len(s) / 4)
}

// isASCII remembers its last answer, as templates that parse a text ask for each character.
func (r *Run) isASCII(s string) bool {
	if len(s) == len(r.asked) && s == r.asked { // the same text is compared at once
		return r.answer
	}
	r.asked = s
	r.steps += len(s) / 64
	r.answer = strings.IndexFunc(s, func(c rune) bool { return c >= utf8.RuneSelf }) < 0
	return r.answer
}

// runes returns the number of characters of a text.
func (r *Run) runes(s string) (int64, error) {
	if r.isASCII(s) {
		return int64(len(s)), nil
	}
	return runes(s), r.scan(len(s))
}

// CheckText charges for a text of n bytes.
func (r *Run) CheckText(n int) error {
	if n > MaxText {
		return ErrText
	}
	return r.Charge(n)
}
