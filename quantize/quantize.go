// Package quantize stores a model in fewer bits per weight.
//
// A [Recipe] specifies the scheme of each tensor and the method of package rounding that
// chooses its codes. [NewPlan] applies a recipe to a model without reading weights, and
// [Run] carries the plan out. A method may need a [Calibration]: texts that determine the
// cost of an error in each weight. A [Budget] chooses the schemes instead of the user, by
// the divergence that a [Survey] predicts for each matrix in each scheme.
//
// The same model, recipe and texts give the same bytes on every machine and any number of
// cores.
package quantize

import (
	"thimble/internal/model"
	"thimble/internal/qtensor"
)

type (
	// A Model is an opened checkpoint or container.
	Model = model.Model

	// A Matrix is a stored matrix: a float type, or integer codes with scales.
	Matrix = qtensor.Matrix

	// A Scheme specifies how a matrix is stored.
	Scheme = qtensor.Scheme

	// A Slot is one tensor of a model: its name, shape and role.
	Slot = model.Slot
)
