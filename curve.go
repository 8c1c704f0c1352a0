package thimble

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"

	"thimble/internal/atomicfile"
	"thimble/internal/defect"
	"thimble/internal/digest"
	"thimble/internal/model"
	"thimble/internal/qtensor"
	"thimble/quantize"
	"thimble/quantize/calibration"
	"thimble/verify"
	"thimble/verify/curve"
	"thimble/verify/reference"
)

// CurveOptions specify what Curve makes and measures.
type CurveOptions struct {
	Model   string   // path of the original model
	Set     []string // overrides for its config
	Texts   []string // paths of the texts that rows are measured on
	Context int      // tokens in a chunk of a text; its second half is scored; 0 is 512
	Chunks  int      // number of chunks to use of each text, from the start; 0 is all

	// Rows come from a YAML file, from Sizes, or both. With neither, there are five rows,
	// from 4.5 to 8 bits per weight.
	RowsFile string
	Sizes    []string // such as "92MB"
	Schemes  []string // schemes that Sizes choose from; nil is DefaultSchemes
	Target   string   // program that must be able to run the files of Sizes

	Calibration Calibration
	PeersFile   string // YAML or JSON file with the sizes and losses of other tools' files

	Folder    string // for curve.svg, curve.md and curve.json; "" writes nothing
	Keep      bool   // keep the containers in Folder
	Overwrite bool   // replace files in Folder

	Progress Progress
}

// Curve makes, for each row, the file that Quantize would make, and compares it with
// the model on every text. All rows with a budget share one survey.
func Curve(ctx context.Context, o CurveOptions) (*curve.Report, error) {
	d := &curveRun{CurveOptions: o}
	if err := d.check(ctx); err != nil {
		return nil, err
	}
	var err error
	if d.m, err = Open(o.Model, o.Set...); err != nil {
		return nil, err
	}
	defer d.m.Close()
	return d.report, d.run(ctx)
}

// run measures the model d.m.
func (d *curveRun) run(ctx context.Context) error {
	if err := d.prepare(ctx); err != nil {
		return err
	}
	if err := d.folder.Open(); err != nil {
		return err
	}
	defer d.folder.Close()
	if err := d.measure(ctx); err != nil {
		return err
	}
	return d.publish(ctx)
}

// A curveRun is one run of Curve.
type curveRun struct {
	CurveOptions
	report  *curve.Report
	rows    []*row
	names   []string // of the texts
	m       *model.Model
	folder  *atomicfile.Folder
	keep    []string // names of the containers to keep in the folder
	prompts [][]reference.Prompt
	texts   calibration.Texts

	// A sweep sets these. specs are the rows instead of RowsFile and Sizes, and sources are the
	// model's. wanted reports whether to measure a row on a text, and found receives the result.
	specs   []rowSpec
	sources *digest.Hashing
	label   string // begins the names of stages
	wanted  func(r *row, text int) (bool, error)
	found   func(r *row, row *curve.Row, text int, p curve.Point) error
}

// check reads the rows, the peers and the names of the texts. It needs no model.
func (d *curveRun) check(ctx context.Context) (err error) {
	d.report = &curve.Report{Model: d.Model, Cores: runtime.GOMAXPROCS(0)}
	if d.rows, err = d.readRows(ctx); err != nil {
		return err
	}
	if len(d.Texts) == 0 {
		return errors.New("curve needs a text to measure on: --text FILE")
	}
	for _, path := range d.Texts {
		name := curve.NameOf(path)
		if slices.ContainsFunc(d.names, func(other string) bool { return curve.FileName(other) == curve.FileName(name) }) {
			return fmt.Errorf("--text: two texts are called %s; give one file another name", name)
		}
		d.names = append(d.names, name)
	}
	if d.PeersFile == "" {
		return nil
	}
	text, err := ReadText(ctx, "--peers", d.PeersFile, maxRowsFile)
	if err != nil {
		return err
	}
	peers, note, err := curve.ParsePeers([]byte(text), d.names)
	if err != nil {
		return fmt.Errorf("%s: %w", defect.Printable(d.PeersFile), err)
	}
	d.report.Peers = peers
	if note != "" {
		d.report.Notes = append(d.report.Notes, note)
	}
	return nil
}

// prepare checks the folder and the rows, splits the texts, reads the calibration texts,
// surveys, and plans all rows, so that mistakes show before the long work starts.
func (d *curveRun) prepare(ctx context.Context) (err error) {
	if d.keep, err = d.keptFiles(); err != nil {
		return err
	}
	inputs := slices.Concat(d.m.Files, existingFiles(d.rows), d.Texts, d.Calibration.Texts, []string{d.RowsFile, d.PeersFile})
	if d.Folder == "-" {
		return errors.New("-o -: name a folder; the files of a curve cannot go to standard output")
	}
	if d.folder, err = atomicfile.NewFolder(d.Folder, d.Overwrite, inputs); err != nil {
		return fmt.Errorf("-o %w", err)
	}
	if err := d.folder.Check(slices.Concat(d.keep, curve.FileNames(d.names))); err != nil {
		return forceHint(err)
	}
	d.report.Weights, _ = d.m.Size()
	for i, path := range d.Texts {
		prompts, err := textPrompts(ctx, d.m, path, d.Context, d.Chunks)
		if err != nil {
			return err
		}
		d.prompts = append(d.prompts, prompts)
		d.report.Texts = append(d.report.Texts, curve.Text{Name: d.names[i], Chunks: len(prompts), Context: len(prompts[0].IDs)})
	}
	if err := d.plan(ctx); err != nil {
		return fmt.Errorf("%s: %w", defect.Printable(d.Model), err)
	}
	if slices.ContainsFunc(d.rows, func(r *row) bool { return r.target != nil }) {
		d.report.Notes = append(d.report.Notes, "the size of a row with --for (in a file: for) is that of the file exported for the program")
	}
	return nil
}

func (d *curveRun) plan(ctx context.Context) error {
	schemes, err := d.checkRows()
	if err != nil {
		return err
	}
	if err := d.calibrate(ctx); err != nil {
		return err
	}
	if err := verifyWeights(ctx, d.m, d.Progress); err != nil {
		return err
	}
	survey, err := d.survey(ctx, schemes)
	if err != nil {
		return err
	}
	for _, r := range d.rows {
		if err := r.choose(d.m, survey); err != nil {
			return fmt.Errorf("row %s: %w", r.name, err)
		}
	}
	return nil
}

// calibrate reads the calibration texts if any row needs them.
func (d *curveRun) calibrate(ctx context.Context) (err error) {
	shared := &Recipe{}
	if slices.ContainsFunc(d.rows, func(r *row) bool { return r.calibrated }) {
		shared.Method = CalibratedMethod
	}
	if d.texts, err = d.Calibration.Read(ctx, d.m, shared, false, false, d.Progress.stage("render", Bytes)); err != nil {
		return err
	}
	if d.texts.Note != "" {
		d.report.Notes = append(d.report.Notes, d.texts.Note)
	}
	if d.texts.Calibration != nil {
		d.texts.Ahead = d.Progress.stage("run ahead", Work)
		d.report.Calibration = (*curve.Calibration)(shared.Texts)
	}
	for _, r := range d.rows {
		if r.calibrated {
			r.recipe.Texts = shared.Texts
		}
	}
	return nil
}

// checkRows completes the budgets and checks all that needs no survey. It returns the
// schemes that rows choose from.
func (d *curveRun) checkRows() (all []qtensor.Scheme, err error) {
	longest := 0
	for _, prompts := range d.prompts {
		longest = max(longest, len(prompts[0].IDs))
	}
	for _, r := range d.rows {
		if r.budget != nil {
			if r.budget, err = r.ships(d.m).Complete(r.budget, r.recipe.EntropyCoded); err != nil {
				return nil, fmt.Errorf("row %s: schemes: %w", r.name, err)
			}
		}
		if err := r.check(d.m, &d.Calibration, longest); err != nil {
			return nil, fmt.Errorf("row %s: %w", r.name, err)
		}
		if r.budget == nil {
			continue
		}
		for _, s := range r.budget.Schemes {
			if !slices.Contains(all, s) {
				all = append(all, s)
			}
		}
	}
	return all, nil
}

// survey surveys the schemes, if there are any.
func (d *curveRun) survey(ctx context.Context, schemes []qtensor.Scheme) (*quantize.Survey, error) {
	if schemes == nil {
		return nil, nil
	}
	d.report.Survey = &curve.Cost{}
	defer curve.StartCost(d.report.Survey)()
	return takeSurvey(ctx, d.m, d.texts.Calibration, schemes, d.Progress)
}

// cachedBytes limits the size of the cache of the reference's final hidden states, with
// which the reference runs only once for all rows.
const cachedBytes = 128 << 20

// measure makes the file of every row and compares it with the model.
func (d *curveRun) measure(ctx context.Context) error {
	scorer, err := reference.NewScorer(d.m, Arithmetic{}, 0)
	if err != nil {
		return err
	}
	sources := d.sources
	if sources == nil {
		var hashed []string // files to hash, if any row makes a container
		if slices.ContainsFunc(d.rows, func(r *row) bool { return r.file == "" }) {
			hashed = d.m.Files
		}
		if sources, err = digest.Start(ctx, hashed, nil); err != nil {
			return err
		}
		defer sources.Stop()
	}
	ref := reference.FromScorer(reference.CacheLogits(scorer, cachedBytes/(4*d.m.Spec.Hidden)))
	for i, r := range d.rows {
		label := fmt.Sprintf("%s%s (%d of %d)", d.label, r.name, i+1, len(d.rows))
		if err := d.measureRow(ctx, r, sources, ref, label); err != nil {
			return fmt.Errorf("row %s: %w", r.name, err)
		}
	}
	return nil
}

func (d *curveRun) measureRow(ctx context.Context, r *row, sources *digest.Hashing, ref reference.Reference, label string) error {
	texts, err := d.textsOf(r)
	if err != nil || len(texts) == 0 {
		return err
	}
	done := curve.Row{Name: r.name, File: r.file, PredictedKL: r.predicted, Series: r.series, ExportBytes: r.exported}
	out := r.file
	if out == "" {
		done.Recipe, out = r.plan.Recipe, d.folder.File(r.fileName())
		stop := curve.StartCost(&done.Cost)
		if err := d.write(ctx, r, sources, out, label); err != nil {
			return err
		}
		stop()
		if !d.Keep {
			defer os.Remove(out)
		}
	}
	q, err := openVerified(ctx, out, nil, nil)
	if err != nil {
		return err
	}
	defer q.Close()
	info, err := identify(ctx, q, nil)
	if err != nil {
		return err
	}
	done.Bytes, done.SHA256, done.BitsPerWeight = info.Bytes, info.SHA256, info.BitsPerWeight
	scorer, err := reference.NewScorer(q, Arithmetic{}, 0)
	if err != nil {
		return err
	}
	tokens := d.Progress.stage(label+": verify", Tokens)
	for _, i := range texts {
		v, err := verify.Run(ctx, ref, scorer, d.prompts[i], verify.Options{Progress: func(done, total int) { tokens(int64(done), int64(total)) }})
		if err != nil {
			return err
		}
		d.report.Texts[i].Tokens, d.report.Texts[i].PPL = v.Metrics.Tokens, v.Metrics.PPLReference
		p := curve.PointOf(&v.Metrics.Summary)
		done.Measured = append(done.Measured, p)
		if d.found != nil {
			if err := d.found(r, &done, i, p); err != nil {
				return err
			}
		}
	}
	d.report.Rows = append(d.report.Rows, done)
	return nil
}

// textsOf returns the indices of the texts to measure r on: all of them, except in a sweep.
func (d *curveRun) textsOf(r *row) (texts []int, err error) {
	for i := range d.prompts {
		wanted := true
		if d.wanted != nil {
			if wanted, err = d.wanted(r, i); err != nil {
				return nil, err
			}
		}
		if wanted {
			texts = append(texts, i)
		}
	}
	return texts, nil
}

// write writes the container of r to out.
func (d *curveRun) write(ctx context.Context, r *row, sources *digest.Hashing, out, label string) error {
	var texts *quantize.Calibration
	if r.calibrated {
		texts = d.texts.Calibration
	}
	unit, amount := Bytes, bytesOf(d.m, r.plan)
	if texts != nil {
		unit, amount = Work, r.plan.Work(d.m, texts)
	}
	report := d.Progress.stage(label+": quantize", unit)
	_, err := writeContainer(d.m, sources, r.plan, out, false, func(sink quantize.Sink) error {
		return quantize.Run(ctx, d.m, r.plan, texts, sink, func(weights int64) { report(amount(weights)) })
	})
	return err
}

// publish writes the files to the folder, if there is one.
func (d *curveRun) publish(ctx context.Context) error {
	if d.Folder == "" {
		return nil
	}
	files, err := d.report.Files()
	if err == nil {
		err = ctx.Err()
	}
	if err != nil {
		return err
	}
	if err := d.folder.Publish(d.keep, files); err != nil {
		return err
	}
	d.report.Folder, d.report.Output = d.Folder, append(d.report.Output, d.keep...)
	for _, f := range files {
		d.report.Output = append(d.report.Output, f.Name)
	}
	return nil
}

// existingFiles returns the existing files that rows name.
func existingFiles(rows []*row) (files []string) {
	for _, r := range rows {
		if r.file != "" {
			files = append(files, r.file)
		}
	}
	return files
}

// keptFiles returns the names of the containers to keep.
func (d *curveRun) keptFiles() (names []string, err error) {
	if !d.Keep {
		return nil, nil
	}
	for _, r := range d.rows {
		if r.file != "" {
			continue
		}
		name := r.fileName()
		if slices.Contains(names, name) {
			return nil, fmt.Errorf("--keep: two rows would be %s; give one another name", name)
		}
		names = append(names, name)
	}
	return names, nil
}
