// Package thimble turns a trained language model into a file that a phone can
// run, and proves that the file still computes the same thing.
//
// It composes the packages below it into the operations of the command line: Convert and
// Quantize write a container, a GGUF file or a folder for another engine, Verify compares a
// model with a reference and passes or fails it, Curve measures the loss at several sizes and
// Sweep that of several models, Diff compares two models tensor by tensor, Export writes another
// program's format, Reproduce makes a model again and compares, Sign signs one, Logits writes a
// reference file, Inspect describes a file, Generate continues a prompt, and Bench measures
// speed and memory. Each takes options and returns a result that encodes to the JSON that the
// command prints. None of them prints; they report through Progress.
//
// A model is given by its path: a Hugging Face directory, one of Meta's original
// directories, a .safetensors, .bin, .pt or .pth file with its config in the same
// directory, a GGUF file or a .thimble container. For a text, "-" is standard input.
//
// An error is one line: what failed, where, why, and the remedy. Errors name options as
// the command line spells them, such as --target-size for Budget.File.
package thimble

import (
	"thimble/internal/model"
	"thimble/quantize"
	"thimble/quantize/calibration"
	"thimble/verify"
)

// Version is the version of this package and of the command.
const Version = "0.1.0"

// Tool is the name and version that go into the files that Thimble writes.
const Tool = "thimble " + Version

// Names for the parts of options and results, so that most callers need no other
// import.
type (
	Model       = model.Model          // an opened model
	Recipe      = quantize.Recipe      // how each tensor is stored
	Scheme      = quantize.Scheme      // how a matrix is stored
	Matrix      = quantize.Matrix      // a stored matrix
	Budget      = quantize.Budget      // a limit on size or divergence within which schemes are chosen
	Measurement = quantize.Measurement // the divergence of a quantized model on held-out text
	Gate        = verify.Gate          // a limit on a metric
	Arithmetic  = verify.Arithmetic    // the types that a run rounds activations, keys and values to
)

// A Progress is called with every step of the work, possibly from several goroutines
// at once.
type Progress func(Step)

// A Step is the progress of one stage.
type Step struct {
	Stage       string // such as "quantize" or "survey"
	Unit        Unit   // of Done and Total
	Done, Total int64
	Resumed     int64 // part of Done that an earlier run did; exclude it from rates
}

// A Unit is the unit of Step's counts.
type Unit string

// The units of Step.
const (
	Bytes   Unit = "bytes"
	Weights Unit = "weights"
	Tokens  Unit = "tokens"
	Work    Unit = "work" // multiply-adds: equal shares take about equal times
	Faults  Unit = "faults"
	Tasks   Unit = "tasks"
	Tensors Unit = "tensors"
)

// ofTexts reports the progress of reading calibration texts.
func (p Progress) ofTexts() calibration.Progress {
	return calibration.Progress{Rendered: p.stage("render", Bytes), Written: p.stage("write text", Tokens)}
}

// stage returns a function that reports the progress of one stage. p may be nil.
func (p Progress) stage(name string, unit Unit) func(done, total int64) {
	return func(done, total int64) {
		if p != nil && total > 0 {
			p(Step{Stage: name, Unit: unit, Done: done, Total: total})
		}
	}
}
