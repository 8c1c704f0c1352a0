package thimble

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"

	"thimble/internal/defect"
	"thimble/internal/digest"
	"thimble/internal/model"
	"thimble/internal/strictyaml"
	"thimble/quantize"
	"thimble/quantize/order"
	"thimble/quantize/rounding"
	"thimble/target/rows"
	"thimble/verify"
	"thimble/verify/curve"
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
	specs, err := d.readRows(ctx)
	if err != nil {
		return nil, err
	}
	if err := d.check(ctx, specs); err != nil {
		return nil, err
	}
	if d.m, err = Open(o.Model, o.Set...); err != nil {
		return nil, err
	}
	defer d.m.Close()
	return d.files.Report, d.run(ctx)
}

// A curveRun is one run of Curve, or a part of a sweep.
type curveRun struct {
	CurveOptions
	files   curve.Run
	rows    rows.Set
	m       *model.Model
	ordered map[int]orderedModel // m with its channels in the orders that rows have needed, by group
	sources *digest.Hashing      // of the model's files; nil hashes them
}

// readRows reads the rows of RowsFile and Sizes.
func (d *curveRun) readRows(ctx context.Context) (specs []rows.Spec, err error) {
	if d.RowsFile != "" {
		text, err := ReadText(ctx, "--rows", d.RowsFile, strictyaml.Limit)
		if err != nil {
			return nil, err
		}
		if err := strictyaml.Decode([]byte(text), &specs); err != nil {
			return nil, fmt.Errorf("%s: %w", defect.Printable(d.RowsFile), err)
		}
	}
	if d.Sizes != nil || specs == nil {
		return append(specs, rows.ForSizes(d.Sizes, d.Schemes, d.Target)...), nil
	}
	if d.Schemes != nil || d.Target != "" {
		return nil, errors.New("--schemes and --for apply to --sizes; a row in a file has its own keys schemes and for")
	}
	return specs, nil
}

// check checks the rows, the peers and the names of the texts. It needs no model.
func (d *curveRun) check(ctx context.Context, specs []rows.Spec) (err error) {
	d.files.Report = &curve.Report{Model: d.Model, Cores: runtime.GOMAXPROCS(0)}
	inFile := len(specs) - len(d.Sizes)
	if d.rows.Rows, err = rows.List(specs, len(d.Calibration.Texts) > 0, func(i int) string {
		if i >= inFile || d.RowsFile == "" {
			return "--sizes"
		}
		return fmt.Sprintf("%s: row %d", defect.Printable(d.RowsFile), i+1)
	}); err != nil {
		return err
	}
	if n := len(specs); n > curve.MaxRows {
		return fmt.Errorf("there are %d rows, more than %d", n, curve.MaxRows)
	}
	if d.files.Names, err = curve.NamesOf(d.Texts); err != nil || d.PeersFile == "" {
		return err
	}
	peers, note, err := curve.ReadPeers(ctx, d.PeersFile, d.files.Names)
	d.files.Report.Peers = peers
	d.note(note)
	return err
}

// note adds a note to the report unless it is "".
func (d *curveRun) note(text string) {
	if text != "" {
		d.files.Report.Notes = append(d.files.Report.Notes, text)
	}
}

// run makes and measures the rows of the model d.m.
func (d *curveRun) run(ctx context.Context) error {
	if err := d.prepare(ctx); err != nil {
		return err
	}
	var heads []curve.Row
	var files, hashed []string
	for _, r := range d.rows.Rows {
		row := curve.Row{Name: r.Name, File: r.File, PredictedKL: r.Predicted, Series: r.Series, ExportBytes: r.Exported}
		if r.File == "" {
			row.Recipe, hashed = r.Plan.Recipe, d.m.Files
		}
		heads, files = append(heads, row), append(files, r.FileName())
	}
	if d.sources == nil {
		var err error
		if d.sources, err = digest.Start(ctx, hashed, nil); err != nil {
			return err
		}
		defer d.sources.Stop()
	}
	return d.files.Measure(ctx, d.m, heads, files)
}

// prepare checks the folder and the rows, splits the texts, reads the calibration texts,
// surveys, and plans all rows, so that mistakes show before the long work starts.
func (d *curveRun) prepare(ctx context.Context) (err error) {
	inputs := slices.Concat(d.m.Files, d.Texts, d.Calibration.Texts, []string{d.RowsFile, d.PeersFile})
	var made []string
	for _, r := range d.rows.Rows {
		if r.File != "" {
			inputs = append(inputs, r.File)
		} else {
			made = append(made, r.FileName())
		}
	}
	d.files.Folder, d.files.Keep, d.files.Overwrite = d.Folder, d.Keep, d.Overwrite
	d.files.Make, d.files.Open = d.write, d.open
	d.files.Stage = func(name string) func(done, total int) {
		report := d.Progress.stage(name, Tokens)
		return func(done, total int) { report(int64(done), int64(total)) }
	}
	if err := d.files.Check(made, inputs); err != nil {
		return forceHint(err)
	}
	d.files.Report.Weights, _ = d.m.Size()
	for i, path := range d.Texts {
		prompts, err := textPrompts(ctx, d.m, path, d.Context, d.Chunks)
		if err != nil {
			return err
		}
		d.files.Prompts = append(d.files.Prompts, prompts)
		d.files.Report.Texts = append(d.files.Report.Texts, curve.Text{Name: d.files.Names[i], Chunks: len(prompts), Context: len(prompts[0].IDs)})
	}
	if err := d.plan(ctx); err != nil {
		return fmt.Errorf("%s: %w", defect.Printable(d.Model), err)
	}
	if slices.ContainsFunc(d.rows.Rows, func(r *rows.Row) bool { return r.Target != nil }) {
		d.note("the size of a row with --for (in a file: for) is that of the file exported for the program")
	}
	return nil
}

// plan calibrates, surveys and plans all rows.
func (d *curveRun) plan(ctx context.Context) error {
	longest := 0
	for _, prompts := range d.files.Prompts {
		longest = max(longest, len(prompts[0].IDs))
	}
	d.rows = rows.Set{Model: d.m, Rows: d.rows.Rows, Calibration: &d.Calibration, Tool: Tool, Open: func(path string) (*model.Model, error) { return Open(path) }}
	schemes, err := d.rows.Check(longest)
	if err != nil {
		return err
	}
	recorded, err := d.rows.Calibrate(ctx, d.Progress.ofTexts())
	if err != nil {
		return err
	}
	texts := &d.rows.Texts
	d.note(texts.Note)
	if texts.Calibration != nil {
		texts.Ahead = d.Progress.stage("run original", Work)
		d.files.Report.Calibration = (*curve.Calibration)(recorded)
	}
	if err := verifyWeights(ctx, d.m, d.Progress); err != nil {
		return err
	}
	var survey *quantize.Survey
	if schemes != nil {
		surveyed, err := d.surveyed(ctx)
		if err != nil {
			return err
		}
		d.files.Report.Survey = &curve.Cost{}
		stop := curve.StartCost(d.files.Report.Survey)
		if survey, err = takeSurvey(ctx, surveyed, texts.Calibration, schemes, d.Progress); err != nil {
			return err
		}
		stop()
	}
	return d.rows.Choose(survey)
}

// open opens a measured file.
func (d *curveRun) open(ctx context.Context, path string) (*model.Model, verify.ModelInfo, error) {
	q, err := openVerified(ctx, path, nil, nil)
	if err != nil {
		return nil, verify.ModelInfo{}, err
	}
	info, err := identify(ctx, q, nil)
	if err != nil {
		q.Close()
	}
	return q, info, err
}

// An orderedModel is what order.Reordered returns.
type orderedModel struct {
	*model.Model
	guessed map[string]*rounding.Input
}

// inOrder returns d.m with its channels in an order for groups of the given number of columns, or
// in its own if that is 0.
func (d *curveRun) inOrder(ctx context.Context, group int) (m orderedModel, err error) {
	if group == 0 {
		return orderedModel{d.m, nil}, nil
	}
	if m, ok := d.ordered[group]; ok {
		return m, nil
	}
	if m.Model, m.guessed, err = order.Reordered(ctx, d.m, group); err != nil {
		return m, err
	}
	if d.ordered == nil {
		d.ordered = map[int]orderedModel{}
	}
	d.ordered[group] = m
	return m, nil
}

// surveyed returns the model to survey: that of the first row with a budget.
func (d *curveRun) surveyed(ctx context.Context) (*model.Model, error) {
	i := slices.IndexFunc(d.rows.Rows, func(r *rows.Row) bool { return r.Budget != nil })
	m, err := d.inOrder(ctx, d.rows.Group(d.rows.Rows[i]))
	return m.Model, err
}

// write writes the container of row i to out.
func (d *curveRun) write(ctx context.Context, i int, out, label string) error {
	r := d.rows.Rows[i]
	var texts *quantize.Calibration
	if r.Calibrated {
		texts = d.rows.Texts.Calibration
	}
	unit, amount := Bytes, bytesOf(d.m, r.Plan)
	if texts != nil {
		unit, amount = Work, r.Plan.Work(d.m, texts)
	}
	m, err := d.inOrder(ctx, order.GroupOf(d.m, r.Recipe, r.Plan))
	if err != nil {
		return err
	}
	report := d.Progress.stage(label+": quantize", unit)
	r.Plan.Guessed = m.guessed
	_, err = writeContainer(m.Model, d.sources, r.Plan, out, false, func(sink quantize.Sink) error {
		return quantize.Run(ctx, m.Model, r.Plan, texts, sink, func(weights int64) { report(amount(weights)) })
	})
	return err
}
