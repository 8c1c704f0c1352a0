package thimble

import (
	"slices"

	"thimble/quantize"
	"thimble/quantize/render"
)

// A Quantized is the result of Quantize and Convert.
type Quantized struct {
	Output        string          `json:"output,omitempty"`         // empty if only planned
	Part          *Part           `json:"part,omitempty"`           // if Output is a part
	Format        string          `json:"format"`                   // of the file
	Bytes         int64           `json:"bytes,omitempty"`          // of the file
	HeaderSHA256  *Digest         `json:"header_sha256,omitempty"`  // identifies a container's contents, see docs/FORMAT.md
	SHA256        string          `json:"sha256,omitempty"`         // of a file in another format
	Files         []WrittenFile   `json:"files,omitempty"`          // of a folder in another format
	ExceededBytes int64           `json:"exceeded_bytes,omitempty"` // by which entropy coding missed a budget for the size
	Weights       int64           `json:"weights"`
	TensorBytes   int64           `json:"tensor_bytes"`
	BitsPerWeight float64         `json:"bits_per_weight"`
	FileBytes     int64           `json:"file_bytes"`             // of the file, known before it is written
	ResidentBytes int64           `json:"resident_bytes"`         // of the tensors once the file is loaded
	Export        *ExportSize     `json:"export,omitempty"`       // of the file that Target runs, made from the container
	PredictedKL   float64         `json:"predicted_kl,omitempty"` // nats per token, if a budget chose the schemes
	Measured      *Measurement    `json:"measured,omitempty"`     // on held-out text, if the budget limits divergence
	Tuned         *Tuned          `json:"tuned,omitempty"`        // what Recipe.Tune has reached
	Recipe        string          `json:"recipe"`                 // canonical YAML
	Reordered     bool            `json:"reordered,omitempty"`    // the channels of the residual stream
	Notes         []string        `json:"notes,omitempty"`
	Tensors       []PlannedTensor `json:"tensors"`
	Modelfile     string          `json:"modelfile,omitempty"`           // path
	PeakResident  int64           `json:"peak_resident_bytes,omitempty"` // of the process, mapped files included
	Types         []TargetType    `json:"types,omitempty"`               // of the program that Target names

	Calibration *quantize.Health `json:"calibration,omitempty"`

	Plan *quantize.Plan `json:"-"`

	warned int // number of Calibration's warnings when Planned was called
}

// NewWarnings returns the warnings about the calibration that were added after Planned
// was called.
func (r *Quantized) NewWarnings() []string { return r.Calibration.Warnings[r.warned:] }

// Table returns the plan as a table for a terminal; see quantize/render.
func (r *Quantized) Table(unicode bool, size string) string {
	return render.Plan(r.Plan, unicode, size)
}

// An ExportSize is the size of the file that Export makes from a container.
type ExportSize struct {
	Format  string `json:"format"`
	Program string `json:"program"`
	Bytes   int64  `json:"bytes"`
}

// A PlannedTensor describes how one tensor will be stored.
type PlannedTensor struct {
	Name  string `json:"name"`
	Role  string `json:"role"`
	Rows  int    `json:"rows"`
	Cols  int    `json:"cols"`
	From  string `json:"from"` // scheme
	To    string `json:"to"`
	Bytes int64  `json:"bytes"`
}

// report returns the part of the result that is known before the plan is carried out.
func (q *quantization) report(plan *quantize.Plan, chosen *choice) (*Quantized, error) {
	r := &Quantized{
		Format: q.Format, Weights: plan.Weights, ResidentBytes: plan.Resident(), PredictedKL: chosen.predicted,
		Recipe: plan.Recipe, Reordered: q.given != nil, Notes: q.earlyNotes(plan),
	}
	r.show(plan)
	r.Notes = append(r.Notes, chosen.notes...)
	switch {
	case chosen.done != nil:
		r.Measured, r.Calibration = &chosen.done.Measured, chosen.done.Health
	case q.cal.Calibration != nil:
		r.Calibration = quantize.NewHealth(q.cal.Calibration, q.m, plan, q.cal.Special)
		q.cal.Health = r.Calibration
	}
	if q.target == nil {
		var err error
		r.FileBytes, err = q.file().Size(plan)
		return r, err
	}
	types, notes, err := q.ships().Types(plan)
	if err != nil {
		return nil, err
	}
	if q.exporter != nil {
		notes = q.exportNotes // of a plan with the context of the file
	}
	r.Types, r.Notes = types, slices.Concat(r.Notes, notes)
	if q.exporter != nil {
		var stored *quantize.Plan
		if stored, r.FileBytes, err = q.file().AsStored(plan); err == nil {
			r.show(stored)
		}
		return r, err
	}
	if r.FileBytes, err = q.file().Size(plan); err != nil {
		return r, err
	}
	f := q.target.Format()
	r.Export = &ExportSize{Format: f.Name, Program: f.Program}
	r.Export.Bytes, err = q.ships().Size(plan)
	return r, err
}

// show makes plan the one that r describes.
func (r *Quantized) show(plan *quantize.Plan) {
	r.Plan, r.TensorBytes, r.BitsPerWeight, r.Tensors = plan, plan.Bytes, plan.BitsPerWeight(), nil
	for _, e := range plan.Tensors {
		r.Tensors = append(r.Tensors, PlannedTensor{e.Name, e.Role.String(), e.Rows, e.Cols, e.From.String(), e.To.String(), e.Bytes})
	}
}

// earlyNotes returns the notes that need no survey: those of the caller, about the model, a
// plan's recipe and the calibration text.
func (q *quantization) earlyNotes(plan *quantize.Plan) []string {
	notes := slices.Concat(q.Notes, q.m.Remarks(), plan.Notes())
	if q.cal.Note != "" {
		notes = append(notes, q.cal.Note)
	}
	return notes
}
