package thimble

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"thimble/format"
	"thimble/internal/atomicfile"
	"thimble/internal/defect"
	"thimble/internal/digest"
	"thimble/internal/memory"
	"thimble/internal/model"
	"thimble/internal/shard"
	"thimble/quantize"
	"thimble/quantize/calibration"
	"thimble/quantize/kept"
	"thimble/quantize/order"
	"thimble/quantize/rounding"
	"thimble/target"
)

// QuantizeOptions specify what Quantize stores, and how.
type QuantizeOptions struct {
	Model     string    // path of the model
	Set       []string  // config overrides for a checkpoint, such as "layer_sharing=true"
	Output    string    // path of the file; "" plans and writes nothing
	Format    string    // of the file, see OutputFormats; "" is that of Output's ending, or the container
	Context   int       // longest text, in tokens, that a file of another program is for; 0 is the model's context
	ShardSize int64     // see ExportOptions
	Overwrite bool      // replace Output if it exists
	MaxMem    int64     // bound on the resident memory, in bytes; 0 is none. The result does not depend on it
	Modelfile Modelfile // for Ollama, next to a GGUF file

	Recipe      Recipe      // schemes, method and rules; a Budget chooses the schemes
	Calibration Calibration // texts on which the method measures errors
	Budget      *Budget     // nil uses the schemes of Recipe; a Budget without Schemes chooses from DefaultSchemes

	// Surveys are paths of saved surveys, for a budget. If there is one and the file
	// does not exist, Quantize writes it; several are merged.
	Surveys []string
	Target  string // program that must be able to run the result; see Targets
	Resume  bool   // continue an interrupted calibrated run from Output.unfinished

	// Shard divides the rounding of a run without calibration: a share writes a part next to
	// Output, shard.Shard.Path, and Merge writes Output from all parts and removes them.
	Shard shard.Shard // the zero value does not divide
	Merge bool

	Progress Progress                 // may be nil
	Planned  func(r *Quantized) error // called with the plan before the work starts; may be nil
	Warned   func(text string)        // called before a survey with each warning about the calibration; may be nil
	Noted    func(text string)        // called before a new survey with each note that is known then, and with what the survey works on; may be nil
	Notes    []string                 // for the result, before its own
	Inputs   []string                 // further paths that Output must not replace, such as the recipe's
}

// ConvertOptions specify what Convert stores, and how.
type ConvertOptions struct {
	Model     string
	Set       []string
	Output    string // "" plans and writes nothing
	Format    string // see QuantizeOptions
	Context   int    // see QuantizeOptions
	ShardSize int64  // see ExportOptions
	Overwrite bool
	MaxMem    int64  // see QuantizeOptions
	DType     string // "keep", "f32", "f16" or "bf16"; "" is "keep"

	// EntropyCoded stores integers in as many bits as their entropy takes; see Recipe.
	EntropyCoded bool

	Progress Progress
	Planned  func(r *Quantized) error
}

// Convert stores a model as a container without quantizing it.
func Convert(ctx context.Context, o ConvertOptions) (*Quantized, error) {
	dtype := o.DType
	if dtype == "" {
		dtype = quantize.Keep
	}
	return store(ctx, "convert", QuantizeOptions{
		Model: o.Model, Set: o.Set, Output: o.Output, Format: o.Format, Context: o.Context, ShardSize: o.ShardSize, Overwrite: o.Overwrite, MaxMem: o.MaxMem,
		Progress: o.Progress, Planned: o.Planned,
		Recipe: Recipe{Scheme: dtype, Vectors: dtype, EntropyCoded: o.EntropyCoded},
	})
}

// Quantize stores a model in fewer bits. It makes a plan, calls Planned with it, and
// carries it out. It never falls back to another scheme: a scheme that a tensor cannot
// have is an error before work starts. A failed run leaves no output; a calibrated run
// keeps its finished blocks in Output.unfinished, so that Resume can continue.
func Quantize(ctx context.Context, o QuantizeOptions) (*Quantized, error) {
	return store(ctx, "quantize", o)
}

// A quantization is one run of Quantize.
type quantization struct {
	QuantizeOptions
	stage    string // name of the progress stage
	recipe   *Recipe
	m        *model.Model
	given    *model.Model               // m in the order of the source; nil if its channels are not reordered
	group    int                        // of columns, for which they are; or 0
	guessed  map[string]*rounding.Input // see order.Reordered
	target   format.Exporter            // of the program that must run the result, or nil
	exporter format.Exporter            // writes the file; nil for a container
	cal      calibration.Texts
	sources  *digest.Hashing
	resumed  *kept.Blocks   // nil if the run keeps no finished blocks
	surveys  *kept.Surveys  // of Surveys; nil without a budget
	least    *quantize.Plan // the smallest within the budget, or nil

	exportNotes []string // about the file that exporter writes
	tuned       *Tuned   // nil without Recipe.Tune

	parts *kept.Parts // to merge; nil if the run rounds
}

// store implements Quantize and Convert.
func store(ctx context.Context, stage string, o QuantizeOptions) (*Quantized, error) {
	defer memory.Hold(o.MaxMem)()
	recipe := o.Recipe
	q := &quantization{QuantizeOptions: o, stage: stage, recipe: &recipe}
	if err := q.check(); err != nil {
		return nil, err
	}
	var err error
	if q.m, err = Open(o.Model, o.Set...); err != nil {
		return nil, err
	}
	defer q.m.Close()
	if err := q.prepare(ctx); err != nil {
		return nil, err
	}
	defer q.resumed.Close()
	if q.Output != "" || q.Budget != nil { // a dry run without a survey reads no weights
		if err := verifyWeights(ctx, q.m, q.Progress); err != nil {
			return nil, err
		}
	}
	hashed := q.m.Files
	if q.Output == "" && len(q.Surveys) == 0 { // no file would record the digests
		hashed = nil
	}
	if q.sources, err = digest.Start(ctx, hashed, nil); err != nil {
		return nil, err
	}
	defer q.sources.Stop()
	r, err := q.run(ctx)
	if err == nil {
		r.PeakResident = memory.Peak()
	}
	return r, err
}

// check checks the options that do not depend on the model.
func (q *quantization) check() (err error) {
	if err := q.resolveFormat(); err != nil {
		return err
	}
	if q.target, err = target.Named(q.Target); err != nil {
		return fmt.Errorf("--for %w", err)
	}
	if err := target.CheckNames(q.recipe, q.target); err != nil {
		return err
	}
	calibrated := q.Calibration.Wanted(q.recipe, q.Budget != nil) // may set the method
	if err := q.checkDivision(calibrated); err != nil {
		return err
	}
	return q.recipe.CheckMethod()
}

// prepare checks the options against the model and reads the texts.
func (q *quantization) prepare(ctx context.Context) (err error) {
	if q.Output != "" {
		inputs := slices.Concat(q.m.Files, q.Inputs, q.Calibration.Texts, q.Surveys)
		if err := checkTarget(q.exporter, q.Output, atomicfile.Options{Overwrite: q.Overwrite, Inputs: inputs}); err != nil {
			return err
		}
	}
	if err := q.checkExport(); err != nil {
		return err
	}
	noteTemplates(q.m)
	if q.resumed, err = q.findUnfinished(); err != nil {
		return err
	}
	if err := q.prepareBudget(ctx); err != nil {
		q.resumed.Close()
		return err
	}
	q.cal, err = q.Calibration.Read(ctx, q.m, q.recipe, q.Budget != nil, q.measured(), q.Progress.ofTexts())
	if err != nil {
		q.resumed.Close()
		return err
	}
	if plan, err := quantize.NewPlan(q.m, q.recipe); err == nil && q.Budget == nil { // run returns the error
		q.expectOrder(order.GroupOf(q.m, q.recipe, plan))
	}
	if q.cal.Calibration != nil {
		q.cal.Ahead, q.cal.Spill = q.Progress.stage("run original", Work), spillDir(q.Output)
	}
	if q.least != nil {
		if err := q.least.Fits(q.MaxMem, q.m, q.cal.Calibration, q.Budget, q.exporter != nil); err != nil {
			q.resumed.Close()
			return q.inModel(err)
		}
	}
	if err := q.checkTuning(); err != nil {
		q.resumed.Close()
		return q.inModel(err)
	}
	if q.least != nil && q.Warned != nil {
		for _, text := range quantize.NewHealth(q.cal.Calibration, q.m, q.least, q.cal.Special).Warnings {
			q.Warned(text)
		}
	}
	return nil
}

// run chooses the recipe, makes a plan and carries it out.
func (q *quantization) run(ctx context.Context) (*Quantized, error) {
	if err := q.reorder(ctx); err != nil {
		return nil, q.inModel(err)
	}
	chosen, err := q.choose(ctx)
	if err != nil {
		return nil, err
	}
	plan, err := quantize.NewPlan(q.m, chosen.recipe)
	if err == nil {
		err = q.checkRates(plan)
	}
	if err == nil {
		err = q.settleOrder(ctx, chosen.recipe, plan)
	}
	if err != nil {
		return nil, q.inModel(err)
	}
	if q.resumed != nil {
		if err := q.resumed.Begin(q.m, plan, chosen.predicted, q.Overwrite); err != nil {
			return nil, err
		}
		q.cal.Journal = q.resumed.Journal()
		chosen.notes = append(chosen.notes, q.resumed.Notes...)
	}
	r, err := q.report(plan, chosen)
	if err == nil && q.Budget == nil {
		err = plan.Fits(q.MaxMem, q.m, q.cal.Calibration, nil, q.exporter != nil)
	}
	if err == nil {
		err = q.fitsTuning(plan)
	}
	if err != nil {
		return nil, q.inModel(err)
	}
	if r.Calibration != nil {
		r.warned = len(r.Calibration.Warnings)
	}
	if q.Planned != nil {
		if err := q.Planned(r); err != nil {
			return nil, err
		}
	}
	switch {
	case q.Output == "":
		return r, nil
	case q.Shard.Of > 1:
		return r, q.writePart(ctx, plan, r)
	case q.Merge:
		q.parts = q.partsOf(plan)
		if err := q.parts.Open(); err != nil {
			return nil, err
		}
		defer q.parts.Close()
	}
	file, err := q.write(ctx, plan, chosen)
	if err := q.resumed.End(err); err != nil {
		return nil, err
	}
	if err := q.parts.Remove(); err != nil {
		return nil, err
	}
	if plan.Codes() { // only now is it known
		r.FileBytes, r.TensorBytes, r.BitsPerWeight = file.bytes, file.stored, 8*float64(file.stored)/float64(r.Weights)
	}
	if x := q.Budget; x != nil && q.exporter == nil && plan.Codes() {
		r.ExceededBytes = max(0, file.bytes-cmp.Or(x.File, math.MaxInt64), file.stored-int64(cmp.Or(x.Bits, math.MaxInt16)*float64(r.Weights)/8))
	}
	r.Notes, r.Tuned = append(r.Notes, plan.Warnings()...), q.tuned
	r.Output, r.Bytes, r.SHA256, r.Files, r.Modelfile = q.Output, file.bytes, file.sha256, file.files, q.Modelfile.Path
	if q.exporter == nil {
		r.HeaderSHA256 = &file.digest
	}
	return r, nil
}

// inModel names the model in an error that does not begin with it.
func (q *quantization) inModel(err error) error {
	if strings.HasPrefix(err.Error(), defect.Printable(q.Model)+": ") {
		return err
	}
	return fmt.Errorf("%s: %w", defect.Printable(q.Model), err)
}

// A choice is the recipe to carry out.
type choice struct {
	recipe    *Recipe
	predicted float64         // nats per token, 0 without a budget
	done      *quantize.Trial // the trial that met a measured limit, or nil
	notes     []string
}

// spillDir returns the directory for temporary files of a run that writes to out: out's, whose
// disk has room for a model.
func spillDir(out string) string {
	if out == "" {
		return os.TempDir()
	}
	return filepath.Dir(out)
}

// measured reports whether the budget limits the measured divergence.
func (q *quantization) measured() bool { return q.Budget != nil && q.Budget.Measured() }

// choose returns the recipe with the schemes that the budget chooses, or the recipe of
// the run to resume.
func (q *quantization) choose(ctx context.Context) (*choice, error) {
	if q.resumed != nil {
		recipe, predicted, err := q.resumed.Identify(q.facts)
		if err != nil || recipe != nil {
			return &choice{recipe: recipe, predicted: predicted}, err
		}
	}
	if q.Budget == nil {
		return &choice{recipe: q.recipe}, nil
	}
	measured := q.measured() && q.Output != ""
	survey, note, err := q.survey(ctx)
	if err != nil {
		return nil, err
	}
	if survey.Together, err = q.ships().Together(); err != nil {
		return nil, err
	}
	chosen := &choice{}
	if note != "" {
		chosen.notes = []string{note}
	}
	if measured {
		if chosen.done, err = q.measuredSearch(ctx, survey); err == nil {
			chosen.recipe, chosen.predicted = chosen.done.Recipe, chosen.done.PredictedKL
		}
	} else {
		var file quantize.File
		if file, err = q.ships().Limited(q.Budget); err == nil {
			chosen.recipe, chosen.predicted, err = q.Budget.Choose(q.m, q.recipe, survey, file)
		}
	}
	if err != nil {
		return nil, q.inModel(err)
	}
	return chosen, nil
}

// file describes the file that the run writes.
func (q *quantization) file() *target.File {
	return &target.File{Model: q.m, Exporter: q.exporter, Tool: Tool, ShardSize: q.ShardSize}
}

// ships describes the file that the program which must run the result reads: the written one, or
// the one that is exported from it.
func (q *quantization) ships() *target.File {
	return &target.File{Model: q.m, Exporter: q.target, Tool: Tool, Container: q.containerName(), ShardSize: q.ShardSize}
}

// containerName returns the name of the container, which an exported file records. It is
// "" if the run exports the file itself. If nothing is written, it is the model's name with
// the usual ending.
func (q *quantization) containerName() string {
	if q.exporter != nil {
		return ""
	}
	if q.Output != "" {
		return q.Output
	}
	return filepath.Base(filepath.Clean(q.m.Path)) + ".thimble"
}
