// Package thimble turns a trained language model into a file that a phone can
// run, and proves that the file still computes the same thing.
//
// It composes the packages below it into the operations of the command line:
// Convert and Quantize write a container, Verify compares a model with a
// reference and passes or fails it, Curve measures what a model loses at each of
// several sizes, Diff compares two models tensor by tensor, Export writes another
// program's format, Logits writes a reference file, and Inspect, Generate and
// Bench show what a file holds, writes and how fast it is. Each takes options and
// returns a result that encodes to the JSON that the command prints. None of them
// prints; Progress tells how far they are.
//
// Wherever an option takes a model, it is a path: a Hugging Face directory, one of
// Meta's originals, a .safetensors, .bin, .pt or .pth file next to its config, a
// GGUF file or a .thimble container. A path of "-" for a text is standard input.
//
// Errors are one line that says what, where, why and what to do. They name options
// as the command line spells them: --target-size is TargetSize.
package thimble

import (
	"thimble/internal/model"
	"thimble/quantize"
	"thimble/verify"
)

// Version is that of this package and of the command.
const Version = "0.1.0"

// Tool names this program and its version in the files that it writes.
const Tool = "thimble " + Version

// Names for what options and results consist of, so that most callers need no
// other import.
type (
	Model       = model.Model          // an opened model
	Recipe      = quantize.Recipe      // which tensor is stored how
	Scheme      = quantize.Scheme      // how a matrix is stored
	Matrix      = quantize.Matrix      // a stored matrix
	Budget      = quantize.Budget      // a limit on size or divergence within which schemes are chosen
	Measurement = quantize.Measurement // what held-out text shows of a quantized model
	Gate        = verify.Gate          // a limit on a metric
	Arithmetic  = verify.Arithmetic    // what a run rounds on its way
)

// Progress is told how far a stage of the work is. It may be called from several
// goroutines.
type Progress func(Step)

// A Step is a moment of one stage.
type Step struct {
	Stage       string // what is done, such as "quantize" or "survey"
	Unit        Unit   // of Done and Total
	Done, Total int64
	Resumed     int64 // part of Done that an earlier run did, which says nothing of the speed
}

// A Unit is what progress is counted in.
type Unit string

// The units of Step.
const (
	Bytes   Unit = "bytes"
	Weights Unit = "weights"
	Tokens  Unit = "tokens"
	Steps   Unit = "steps" // of a survey
	Faults  Unit = "faults"
	Tasks   Unit = "tasks"
)

// stage returns a function that reports one stage; p may be nil.
func (p Progress) stage(name string, unit Unit) func(done, total int64) {
	return func(done, total int64) {
		if p != nil && total > 0 {
			p(Step{Stage: name, Unit: unit, Done: done, Total: total})
		}
	}
}
