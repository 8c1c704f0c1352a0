package sweep

import "thimble/internal/shard"

// An Estimate holds what the work of a job depends on. Its unit is the multiply-add.
type Estimate struct {
	Model, Recipe, Text string
	Weights             float64
	TextTokens          float64 // of the chunks
	CalibrationTokens   float64 // 0 without calibration
	Budgeted            bool    // a survey chooses the schemes
	Existing            bool    // nothing is quantized
}

// What a weight costs, in multiply-adds of the forward pass, which are the cheapest.
// Estimates, only to balance shards: docs/SWEEP.md has measurements.
const (
	costOfOpening = 30  // hashing and verifying
	costOfSearch  = 600 // rounding to the nearest code by the best scale
	costOfGPTQ    = 6000
	costOfSurvey  = 600
)

// Task returns the job as a task for shard.Assign. Texts share the file that a recipe makes,
// and recipes share the run of the original on a text, and the calibration and survey of a
// model.
func (e *Estimate) Task() shard.Task {
	forward := e.TextTokens * e.Weights
	t := shard.Task{Place: []string{e.Model, e.Recipe, e.Text}, Cost: forward}
	need := func(cost float64, parts ...string) {
		key := ""
		for _, p := range parts {
			key += p + "\x00"
		}
		t.Needs = append(t.Needs, shard.Need{Key: key, Cost: cost})
	}
	need(costOfOpening*e.Weights, "open", e.Model)
	need(forward, "reference", e.Model, e.Text)
	if e.Budgeted {
		need((e.CalibrationTokens+costOfSurvey)*e.Weights, "survey", e.Model)
	}
	switch {
	case e.Existing:
	case e.CalibrationTokens > 0:
		need((2*e.CalibrationTokens+costOfGPTQ)*e.Weights, "file", e.Model, e.Recipe)
	default:
		need(costOfSearch*e.Weights, "file", e.Model, e.Recipe)
	}
	return t
}

// Alone returns the work of the task by itself.
func Alone(t shard.Task) float64 {
	sum := t.Cost
	for _, n := range t.Needs {
		sum += n.Cost
	}
	return sum
}
