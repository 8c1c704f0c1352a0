package main

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"thimble/format"
	"thimble/format/thimble"
	"thimble/internal/atomicfile"
	"thimble/internal/defect"
	"thimble/internal/model"
	"thimble/quantize"
)

var outFlag = &cli.StringFlag{Name: "output", Aliases: []string{"o"}, Usage: "write the container to `FILE`"}

var forceFlag = &cli.BoolFlag{Name: "force", Usage: "replace FILE if it exists"}

var dryRunFlag = &cli.BoolFlag{Name: "dry-run", Usage: "print the plan and stop"}

// A written is the report of convert and quantize.
type written struct {
	Output        string                `json:"output,omitempty"`        // empty after --dry-run
	Bytes         int64                 `json:"bytes,omitempty"`         // of the file
	HeaderSHA256  *thimble.Digest       `json:"header_sha256,omitempty"` // identifies its contents, see docs/FORMAT.md
	Weights       int64                 `json:"weights"`
	TensorBytes   int64                 `json:"tensor_bytes"`
	BitsPerWeight float64               `json:"bits_per_weight"`
	PredictedKL   float64               `json:"predicted_kl,omitempty"` // nats per token, where schemes were chosen for a budget
	Measured      *quantize.Measurement `json:"measured,omitempty"`     // on held-out text, where that was to be limited
	Recipe        string                `json:"recipe"`                 // canonical YAML
	Notes         []string              `json:"notes,omitempty"`
	Tensors       []plannedTensor       `json:"tensors"`
	Types         []targetType          `json:"types,omitempty"` // of the program that --for names

	Calibration *quantize.Health `json:"calibration,omitempty"`
	warned      int              // of its warnings, those that were printed with the plan
}

type plannedTensor struct {
	Name  string `json:"name"`
	Role  string `json:"role"`
	Rows  int    `json:"rows"`
	Cols  int    `json:"cols"`
	From  string `json:"from"`
	To    string `json:"to"`
	Bytes int64  `json:"bytes"`
}

// newWritten is the report of plan before any of it is carried out.
func newWritten(plan *quantize.Plan, notes []string) *written {
	w := &written{Weights: plan.Weights, TensorBytes: plan.Bytes, BitsPerWeight: plan.BitsPerWeight(), Recipe: plan.Recipe, Notes: slices.Concat(notes, plan.Notes())}
	for _, e := range plan.Tensors {
		w.Tensors = append(w.Tensors, plannedTensor{e.Name, e.Role.String(), e.Rows, e.Cols, e.From.String(), e.To.String(), e.Bytes})
	}
	return w
}

func (w *written) String() string {
	if w.Output == "" {
		return "dry run: nothing was written\n"
	}
	return w.calibrated() + fmt.Sprintf("wrote %s, %s, %.2f bits per weight\nheader sha256 %v\n", defect.Printable(w.Output), bytesText(w.Bytes), w.BitsPerWeight, w.HeaderSHA256)
}

// calibrated is what the run has shown of its calibration.
func (w *written) calibrated() string {
	if w.Calibration == nil {
		return ""
	}
	text := w.Calibration.Table()
	for _, warning := range w.Calibration.Warnings[w.warned:] {
		text += "warning: " + warning + "\n"
	}
	return text
}

// divergence is what is known of it, in a line.
func (w *written) divergence() string {
	switch {
	case w.Measured != nil:
		return fmt.Sprintf("measured on %d held-out tokens: KL %.4f nats per token, top-1 agreement %.2f %%", w.Measured.Tokens, w.Measured.KL, 100*w.Measured.Top1)
	case w.PredictedKL > 0:
		return fmt.Sprintf("predicted divergence: KL %.4f nats per token; verify --against measures it", w.PredictedKL)
	}
	return ""
}

// writeModel opens the command's model with its config overridden, plans recipe
// on it, shows the plan, and unless it is a dry run writes the container.
func writeModel(c *cli.Context, recipe *quantize.Recipe, overrides []string) error {
	path, err := oneModel(c)
	if err != nil {
		return err
	}
	target, err := targetOf(c)
	if err != nil {
		return err
	}
	out := c.String(outFlag.Name)
	if out == "" && !c.Bool(dryRunFlag.Name) {
		return fmt.Errorf("%s needs -o FILE for the container it writes, or --dry-run", c.Command.Name)
	}
	m, err := openModel(path, overrides)
	if err != nil {
		return err
	}
	defer m.Close()
	if !c.Bool(dryRunFlag.Name) {
		if err := mayWrite(c, out, m); err != nil {
			return err
		}
	}
	run, err := attemptAt(c, out, recipe)
	if err != nil {
		return err
	}
	defer run.close()
	if m.Spec.Tied && c.IsSet("head") {
		return fmt.Errorf("%s: the head is tied to the embedding; --head has no effect, say --embedding", defect.Printable(path))
	}
	budget, err := budgetFor(c, m, recipe, target)
	if err != nil {
		return err
	}
	cal, err := calibrationOf(c, m, recipe)
	if err != nil {
		return err
	}
	hashed := m.Files
	if c.Bool(dryRunFlag.Name) && !c.IsSet(statsFlag.Name) { // nobody would ask
		hashed = nil
	}
	sources, err := startHashing(c.Context, hashed, nil)
	if err != nil {
		return err
	}
	defer sources.stop()
	chosen, err := choose(c, m, sources, recipe, cal, budget, run)
	if err != nil {
		return err
	}
	plan, err := quantize.NewPlan(m, chosen.recipe)
	if err != nil {
		return fmt.Errorf("%s: %w", defect.Printable(path), err)
	}
	if run != nil {
		if err := run.begin(c, m, plan, chosen.predicted); err != nil {
			return err
		}
		cal.texts.Journal = run.journal
		chosen.notes = append(chosen.notes, run.notes...)
	}
	report, err := chosen.report(m, plan, cal, target)
	if err != nil {
		return fmt.Errorf("%s: %w", defect.Printable(path), err)
	}
	if err := report.announce(c, plan, target); err != nil {
		return err
	}
	if !c.Bool(dryRunFlag.Name) {
		file, err := writePlan(c, m, sources, plan, cal.texts, chosen.done, run, out)
		if err := run.ended(err); err != nil {
			return err
		}
		report.Output, report.Bytes, report.HeaderSHA256 = out, file.bytes, &file.digest
	}
	return print(c, report)
}

// announce prints what is known before any of plan is carried out, unless one JSON
// document is to be printed at the end.
func (w *written) announce(c *cli.Context, plan *quantize.Plan, target *format.Target) error {
	if c.Bool(jsonFlag.Name) {
		return nil
	}
	for _, note := range w.Notes {
		fmt.Fprintln(c.App.Writer, "note:", defect.Printable(note))
	}
	if _, err := fmt.Fprint(c.App.Writer, plan); err != nil {
		return err
	}
	if d := w.divergence(); d != "" {
		fmt.Fprintln(c.App.Writer, d)
	}
	if target != nil {
		fmt.Fprint(c.App.Writer, targetText(target, w.Types))
	}
	if w.Calibration != nil {
		fmt.Fprint(c.App.Writer, w.Calibration)
		w.warned = len(w.Calibration.Warnings)
	}
	return nil
}

// A choice is the recipe that is to be carried out.
type choice struct {
	recipe    *quantize.Recipe
	predicted float64         // nats per token, 0 without a budget
	done      *quantize.Trial // what was quantized to keep a measured limit
	notes     []string
}

// choose returns the recipe with the schemes that budget chooses, if there is one, or
// those that run goes on with.
func choose(c *cli.Context, m *model.Model, sources *hashing, asked *quantize.Recipe, cal calibration, budget *budget, run *attempt) (*choice, error) {
	chosen := &choice{recipe: asked}
	if run != nil {
		facts := func() (quantize.Facts, error) { return runFacts(c, m, sources, asked, cal.texts, budget) }
		if recipe, predicted, err := run.identify(facts); err != nil || recipe != nil {
			return &choice{recipe: recipe, predicted: predicted}, err
		}
	}
	if budget == nil {
		return chosen, nil
	}
	measured := budget.measured() && !c.Bool(dryRunFlag.Name)
	if measured && len(cal.texts.Spare) == 0 {
		return nil, errNoSpare
	}
	survey, note, err := budget.survey(c, m, sources, asked, cal.texts)
	if err != nil {
		return nil, err
	}
	chosen.notes = []string{note}
	if measured {
		if chosen.done, err = budget.settle(c, m, survey, asked, cal); err == nil {
			chosen.recipe, chosen.predicted = chosen.done.Recipe, chosen.done.PredictedKL
		}
	} else {
		chosen.recipe, chosen.predicted, err = budget.allocate(survey, m, asked)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", defect.Printable(m.Path), err)
	}
	return chosen, nil
}

// report is what is known before plan, which is of chosen, is carried out.
func (chosen *choice) report(m *model.Model, plan *quantize.Plan, cal calibration, target *format.Target) (*written, error) {
	w := newWritten(plan, m.Notes)
	w.PredictedKL = chosen.predicted
	for _, note := range append([]string{cal.note}, chosen.notes...) {
		if note != "" {
			w.Notes = append(w.Notes, note)
		}
	}
	switch {
	case chosen.done != nil:
		w.Measured, w.Calibration = &chosen.done.Measured, chosen.done.Health
	case cal.texts != nil:
		w.Calibration = quantize.NewHealth(cal.texts, m, plan, cal.special)
		cal.texts.Health = w.Calibration
	}
	if target == nil {
		return w, nil
	}
	types, notes, err := planFor(target, m, plan)
	w.Types, w.Notes = types, slices.Concat(w.Notes, notes)
	return w, err
}

// writePlan carries out plan into the container out, unless it is done.
func writePlan(c *cli.Context, m *model.Model, sources *hashing, plan *quantize.Plan, texts *quantize.Calibration, done *quantize.Trial, run *attempt, out string) (file, error) {
	label := c.Command.Name
	if run.resumes() {
		label += " " + run.from
	}
	progress := newMeter(c, label, "MB", 1e6)
	defer progress.done()
	weights, bytes := m.Size()
	progress.at(0, bytes)
	perWeight := float64(bytes) / float64(weights) // as stored in the source
	fill := func(sink quantize.Sink) error {
		return quantize.Run(c.Context, m, plan, texts, sink, func(done int64) {
			if run.resumes() && done <= run.weights {
				progress.from(int64(float64(done) * perWeight))
			}
			progress.at(int64(float64(done)*perWeight), bytes)
		})
	}
	if done != nil {
		fill = done.Replay
	}
	return writeContainer(m, sources, plan, out, c.Bool(forceFlag.Name), fill)
}

// mayWrite finds before any work that out cannot be written. Creating it
// decides again.
func mayWrite(c *cli.Context, out string, m *model.Model) error {
	if out == "-" {
		return errors.New("-o -: a file of tensors cannot go to standard output; name a file")
	}
	inputs := append(slices.Clone(m.Files), c.String("recipe"), c.String("text"))
	inputs = append(append(inputs, c.StringSlice("calib")...), c.StringSlice(statsFlag.Name)...)
	return forceHint(atomicfile.Check(out, atomicfile.Options{Overwrite: c.Bool(forceFlag.Name), Inputs: inputs}))
}

// A file is a container that was written.
type file struct {
	bytes  int64
	digest thimble.Digest // of its header
}

// writeContainer stores m, which was read from sources, as plan says; fill writes
// its tensors. A failure leaves no file behind.
func writeContainer(m *model.Model, sources *hashing, plan *quantize.Plan, out string, overwrite bool, fill func(quantize.Sink) error) (file, error) {
	contents, err := contentsOf(m, sources.Sources, plan)
	if err != nil {
		return file{}, err
	}
	w, err := thimble.Create(out, contents, thimble.Options{Overwrite: overwrite, Inputs: m.Files})
	if err != nil {
		return file{}, forceHint(err)
	}
	defer w.Abort()
	if m.Verify != nil {
		if err := m.Verify(); err != nil {
			return file{}, err
		}
	}
	if err := fill(w); err != nil {
		return file{}, err
	}
	if err := sources.wait(); err != nil {
		return file{}, err
	}
	err = w.Close()
	return file{w.Size(), w.Digest()}, err
}

// contentsOf describes the container that plan makes of m.
func contentsOf(m *model.Model, sources []model.Source, plan *quantize.Plan) (*thimble.Contents, error) {
	contents, err := thimble.Describe(m)
	if err != nil {
		return nil, err
	}
	for i, e := range plan.Tensors {
		contents.Tensors[i].Scheme = e.To
	}
	p := &contents.Provenance
	p.Sources = append(slices.Clone(p.Sources), sources...)
	if p.Recipe != "" {
		p.Recipe = strings.TrimSpace(p.Recipe) + "\n---\n" // one YAML document for each time
	}
	p.Recipe += strings.TrimSpace(plan.Recipe)
	p.Tool = tool
	return contents, nil
}

// forceHint adds the remedy to an error about a file that exists.
func forceHint(err error) error {
	if errors.Is(err, os.ErrExist) {
		return fmt.Errorf("%w; --force replaces it", err)
	}
	return err
}
