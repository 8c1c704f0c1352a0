package thimble

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"

	"thimble/internal/defect"
	"thimble/internal/digest"
	"thimble/internal/facts"
	"thimble/internal/label"
	"thimble/internal/model"
	"thimble/internal/shard"
	"thimble/internal/strictyaml"
	"thimble/internal/sweep"
	"thimble/quantize"
	"thimble/quantize/kept"
	"thimble/target/rows"
	"thimble/verify/curve"
)

// A SweepPlan says what Sweep measures: models x recipes x texts.
type SweepPlan struct {
	sweep.Plan `yaml:",inline"`
	Recipes    []rows.Spec `yaml:"recipes"`

	path string
	rows []*rows.Row // of Recipes
}

// ReadSweepPlan reads a plan's YAML from the file at path. docs/SWEEP.md describes it.
func ReadSweepPlan(ctx context.Context, path string) (*SweepPlan, error) {
	if err := sweep.CheckPlanFile(path); err != nil {
		return nil, err
	}
	text, err := ReadText(ctx, "plan", path, strictyaml.Limit)
	if err != nil {
		return nil, err
	}
	p := &SweepPlan{path: path}
	if err = strictyaml.Decode([]byte(text), p); err == nil {
		err = p.complete()
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", defect.Printable(path), err)
	}
	return p, nil
}

// complete checks p, and sets the names of models and recipes.
func (p *SweepPlan) complete() (err error) {
	p.rows, err = rows.List(p.Recipes, len(p.Calibration.Texts) > 0, func(i int) string { return fmt.Sprintf("recipes: recipe %d", i+1) })
	if err != nil {
		return err
	}
	if n := len(p.rows); n > curve.MaxRows {
		return fmt.Errorf("recipes: there are %d, more than %d", n, curve.MaxRows)
	}
	var names []string
	for i, r := range p.rows {
		p.Recipes[i].Name = r.Name
		names = append(names, r.Name)
	}
	calibrated := slices.ContainsFunc(p.rows, func(r *rows.Row) bool { return r.Calibrated })
	if c := &p.Calibration; !calibrated && (c.Texts != nil || c.Tokens != 0 || c.Context != 0 || c.Seed != nil) {
		return errors.New("calibration: no recipe calibrates; remove this key")
	}
	return p.Complete(names)
}

// SweepOptions specify what Sweep measures, and where.
type SweepOptions struct {
	Plan   *SweepPlan
	Folder string      // for the results; it may exist
	Shard  shard.Shard // the share of the jobs to do
	DryRun bool        // only list the jobs

	Render   []string // see Calibration
	Progress Progress
}

// Sweep measures the jobs of a plan whose results are not in the folder. It stores each
// result as soon as it has it.
func Sweep(ctx context.Context, o SweepOptions) (*sweep.Outcome, error) {
	r := &sweep.Run{
		Plan: &o.Plan.Plan, Path: o.Plan.path, Context: o.context(), Folder: o.Folder, Shard: o.Shard, DryRun: o.DryRun,
		Program: fmt.Sprintf("sweep %d, arithmetic %d", sweep.Version, quantize.Arithmetic),
		Open: func(x *sweep.Model) (sweep.Subject, error) {
			m, err := Open(x.Path, x.Overrides()...)
			if err != nil {
				return nil, err
			}
			return &sweepSubject{SweepOptions: o, m: m, name: x.Name}, nil
		},
	}
	return r.Do(ctx)
}

// context returns the length of a chunk in tokens.
func (o *SweepOptions) context() int {
	if o.Plan.Tokens > 0 {
		return o.Plan.Tokens
	}
	return ChunkContext
}

func (o *SweepOptions) calibration() *Calibration {
	c := &o.Plan.Calibration
	return &Calibration{Texts: c.Texts, Tokens: c.Tokens, Context: c.Context, Seed: c.Seed, Render: o.Render}
}

// A sweepSubject is a model that is swept.
type sweepSubject struct {
	SweepOptions
	m       *model.Model
	name    string
	sources *digest.Hashing // nil until Facts
}

// Close implements sweep.Subject.
func (s *sweepSubject) Close() error {
	if s.sources != nil {
		s.sources.Stop()
	}
	return s.m.Close()
}

// Estimates implements sweep.Subject.
func (s *sweepSubject) Estimates() (all []sweep.Estimate) {
	weights, _ := s.m.Size()
	for _, r := range s.Plan.rows {
		e := sweep.Estimate{Recipe: r.Name, Weights: float64(weights), Budgeted: r.Budget != nil, Existing: r.File != ""}
		if r.Calibrated {
			e.CalibrationTokens = float64(s.calibration().Amounts(s.m, nil).Tokens)
		}
		all = append(all, e)
	}
	return all
}

// Facts implements sweep.Subject.
func (s *sweepSubject) Facts(ctx context.Context) (f facts.Facts, err error) {
	if s.sources, err = digest.Start(ctx, s.m.Files, s.Progress.stage(s.name+": hash", Bytes)); err != nil {
		return nil, err
	}
	return (&kept.Run{Model: s.m, Sources: s.sources}).ModelFacts()
}

// RecipeFacts implements sweep.Subject.
func (s *sweepSubject) RecipeFacts(ctx context.Context, name string) (f facts.Facts, err error) {
	i := slices.IndexFunc(s.Plan.rows, func(r *rows.Row) bool { return r.Name == name })
	r := s.Plan.rows[i]
	if r.File != "" {
		q, err := Open(r.File)
		if err != nil {
			return nil, err
		}
		defer q.Close()
		files, err := digest.Files(ctx, q.Files, nil)
		for _, file := range files {
			f = append(f, [2]string{file.Name, hex.EncodeToString(file.SHA256)})
		}
		return f, err
	}
	spec := s.Plan.Recipes[i]
	spec.Name = ""
	text, err := strictyaml.Encode(spec)
	if err != nil {
		return nil, err
	}
	f = facts.Facts{{"recipe", text}}
	if !r.Calibrated {
		return f, nil
	}
	texts, err := s.calibration().Facts(ctx, s.m)
	return append(f, texts...), err
}

// Measure implements sweep.Subject. It measures the jobs of a recipe one after the other, with
// one file.
func (s *sweepSubject) Measure(ctx context.Context, jobs []*sweep.Job, wanted func(*sweep.Job) (bool, error), found func(*sweep.Job, *sweep.Result) error) error {
	d := &curveRun{CurveOptions: CurveOptions{
		Model: s.m.Path, Context: s.Plan.Tokens, Chunks: s.Plan.Chunks, Calibration: *s.calibration(), Progress: s.Progress,
	}, m: s.m, sources: s.sources}
	var specs []rows.Spec
	for i := range s.Plan.Recipes {
		if slices.ContainsFunc(jobs, func(j *sweep.Job) bool { return j.Recipe == s.Plan.Recipes[i].Name }) {
			specs = append(specs, s.Plan.Recipes[i])
		}
	}
	for _, path := range s.Plan.Texts {
		if slices.ContainsFunc(jobs, func(j *sweep.Job) bool { return j.Text == label.OfFile(path) }) {
			d.Texts = append(d.Texts, path)
		}
	}
	if err := d.check(ctx, specs); err != nil {
		return err
	}
	if !slices.ContainsFunc(d.rows.Rows, func(r *rows.Row) bool { return r.Calibrated }) {
		d.Calibration = Calibration{} // its amounts would be an error
	}
	job := func(row, text int) int {
		return slices.IndexFunc(jobs, func(j *sweep.Job) bool { return j.Recipe == d.rows.Rows[row].Name && j.Text == d.files.Names[text] })
	}
	d.files.Label = s.name + ", "
	d.files.Wanted = func(row, text int) (bool, error) {
		if i := job(row, text); i >= 0 {
			return wanted(jobs[i])
		}
		return false, nil
	}
	d.files.Found = func(row int, file *curve.Row, text int, p curve.Point) error {
		r := sweep.ResultOf(d.files.Report, file, text, p)
		r.Tool = Tool
		if !d.rows.Rows[row].Calibrated {
			r.Calibration = nil
		}
		return found(jobs[job(row, text)], r)
	}
	return d.run(ctx)
}
