// Package quantize stores a model in fewer bits per weight.
//
// A [Recipe] says which scheme each tensor gets and which method of package rounding
// chooses its codes. [NewPlan] applies a recipe to a model without reading a weight, and [Run]
// carries the plan out. A method may need a [Calibration]: texts that show what an
// error in each weight costs. A [Budget] chooses the schemes instead of the user,
// by what a [Survey] predicts each matrix to cost in each of them.
//
// The same model, recipe and texts give the same bytes on every machine, on any
// number of cores.
package quantize

import (
	"thimble/internal/model"
	"thimble/internal/qtensor"
)

type (
	// A Model is a checkpoint or container that is open.
	Model = model.Model

	// A Matrix is a stored matrix: a float type, or integer codes with scales.
	Matrix = qtensor.Matrix

	// A Scheme says how a matrix is stored.
	Scheme = qtensor.Scheme

	// A Slot is one tensor of a model: its name, shape and role.
	Slot = model.Slot
)
