package sweep

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"

	"thimble/internal/defect"
	"thimble/internal/facts"
	"thimble/internal/label"
	"thimble/internal/shard"
)

// A Subject is an opened model of a sweep.
type Subject interface {
	// Estimates returns the work of each recipe, without a text, whose file it may make.
	Estimates() []Estimate

	// Facts returns the SHA-256 of the model's files, and overrides.
	Facts(ctx context.Context) (facts.Facts, error)

	// RecipeFacts returns what the file of a recipe depends on besides the model.
	RecipeFacts(ctx context.Context, recipe string) (facts.Facts, error)

	// Measure does those of jobs for which wanted returns true, which it calls before each,
	// and calls found with each result. It sets neither names nor Inputs.
	Measure(ctx context.Context, jobs []*Job, wanted func(*Job) (bool, error), found func(*Job, *Result) error) error

	Close() error
}

// A Run is one process of a sweep.
type Run struct {
	Plan    *Plan
	Path    string // of the plan
	Context int    // tokens in a chunk
	Folder  string // for the results; it may exist
	Shard   shard.Shard
	DryRun  bool // only list the jobs
	Program string
	Open    func(*Model) (Subject, error)

	folder  Folder
	texts   []facts.Facts // of each text of the plan
	outcome *Outcome
}

// Do measures the jobs of the share whose results are not in the folder. It stores each result
// as soon as it has it.
func (r *Run) Do(ctx context.Context) (*Outcome, error) {
	r.outcome = &Outcome{Plan: r.Path, Folder: r.Folder, DryRun: r.DryRun, Shard: r.Shard, Jobs: []*Job{}}
	if err := r.prepare(); err != nil {
		return nil, fmt.Errorf("%s: %w", defect.Printable(r.Path), err)
	}
	if r.folder = Folder(r.Folder); !r.DryRun {
		var err error
		if r.folder, err = Create(r.Folder); err != nil {
			return nil, err
		}
	}
	var failed error
	for i := range r.Plan.Models {
		err := r.model(ctx, &r.Plan.Models[i])
		if ctx.Err() != nil {
			return nil, &UnfinishedError{ctx.Err(), r.Folder}
		}
		if err != nil {
			err = fmt.Errorf("%s: %s: %w", defect.Printable(r.Path), r.Plan.Models[i].Name, err)
			if failed != nil {
				err = fmt.Errorf("%w; %w", failed, err)
			}
			failed = err
		}
	}
	if failed != nil {
		return nil, &UnfinishedError{failed, r.Folder}
	}
	return r.outcome, nil
}

// An UnfinishedError is the error of a sweep that has not done all of its jobs.
type UnfinishedError struct {
	Err    error
	Folder string
}

func (e *UnfinishedError) Unwrap() error { return e.Err }
func (e *UnfinishedError) Error() string { return e.Err.Error() + "; " + e.Remedy() }

// Remedy returns a sentence about where the finished results are and how to continue.
func (e *UnfinishedError) Remedy() string {
	return "finished results are in " + defect.Printable(e.Folder) + ", and the same command does the rest"
}

// prepare reads the texts, opens each model for an estimate of its work, and lists the jobs of
// the share.
func (r *Run) prepare() error {
	p := r.Plan
	var lengths []float64 // of the texts, in tokens
	for _, path := range p.Texts {
		sum, bytes, err := textDigest(path)
		if err != nil {
			return err
		}
		r.texts = append(r.texts, facts.Facts{{"SHA-256", sum}, {"context", strconv.Itoa(r.Context)}, {"chunks", strconv.Itoa(p.Chunks)}})
		n := float64(bytes) / bytesPerToken
		if p.Chunks > 0 {
			n = min(n, float64(p.Chunks*r.Context))
		}
		lengths = append(lengths, n)
	}
	var jobs []*Job
	var tasks []shard.Task
	total := 0.0
	for i := range p.Models {
		m := &p.Models[i]
		subject, err := r.Open(m)
		if err != nil {
			return err
		}
		estimates := subject.Estimates()
		subject.Close()
		for _, e := range estimates {
			if !m.Wants(e.Recipe) {
				continue
			}
			for k, path := range p.Texts {
				e.Model, e.Text, e.TextTokens = m.Name, label.OfFile(path), lengths[k]
				t := e.Task()
				total += Alone(t)
				tasks, jobs = append(tasks, t), append(jobs, &Job{Model: e.Model, Recipe: e.Recipe, Text: e.Text, Work: Alone(t), State: Missing, text: k})
			}
		}
	}
	r.outcome.All = len(jobs)
	for i, at := range shard.Assign(r.Shard.Of, tasks) {
		if at == r.Shard.Index {
			jobs[i].Work /= total
			r.outcome.Jobs = append(r.outcome.Jobs, jobs[i])
		}
	}
	return nil
}

// model finds the results of a model that are there, and measures the others.
func (r *Run) model(ctx context.Context, m *Model) error {
	var jobs []*Job
	for _, j := range r.outcome.Jobs {
		if j.Model == m.Name {
			jobs = append(jobs, j)
		}
	}
	if len(jobs) == 0 {
		return nil
	}
	subject, err := r.Open(m)
	if err != nil {
		return err
	}
	defer subject.Close()
	if err := r.find(ctx, subject, jobs); err != nil {
		return err
	}
	missing := slices.ContainsFunc(jobs, func(j *Job) bool { return j.State == Missing })
	if r.DryRun || !missing {
		return nil
	}
	jobs = slices.DeleteFunc(jobs, func(j *Job) bool { return j.State != Missing })
	wanted := func(j *Job) (bool, error) {
		err := r.look(j) // another process may have done it
		return j.State == Missing, err
	}
	return subject.Measure(ctx, jobs, wanted, r.store)
}

// find names the results of jobs, and reads those that are there.
func (r *Run) find(ctx context.Context, subject Subject, jobs []*Job) error {
	files, err := subject.Facts(ctx)
	if err != nil {
		return err
	}
	recipes := map[string]facts.Facts{}
	for _, j := range jobs {
		if recipes[j.Recipe] == nil {
			if recipes[j.Recipe], err = subject.RecipeFacts(ctx, j.Recipe); err != nil {
				return fmt.Errorf("recipe %s: %w", j.Recipe, err)
			}
		}
		j.Inputs = Inputs{Program: r.Program, Model: files, Recipe: recipes[j.Recipe], Text: r.texts[j.text]}
		if j.Result, err = j.Inputs.Name(); err != nil {
			return err
		}
		if err := r.look(j); err != nil {
			return err
		}
	}
	return nil
}

// look looks for the result of a job in the folder.
func (r *Run) look(j *Job) (err error) {
	if j.found, err = r.folder.Read(j.Result); err != nil || j.found == nil {
		return err
	}
	j.State = There
	if r.DryRun {
		return nil
	}
	return r.folder.Label(j.found, j.Model, j.Recipe, j.Text)
}

// store stores the result of a job.
func (r *Run) store(j *Job, result *Result) error {
	result.Schema, result.Model, result.Recipe, result.Text, result.Inputs = Schema, j.Model, j.Recipe, j.Text, j.Inputs
	if _, err := r.folder.Write(result); err != nil {
		return err
	}
	j.found, j.State = result, New
	return nil
}

// bytesPerToken is about the length of a token in a text.
const bytesPerToken = 4

// textDigest returns the SHA-256 and the length of the text in a file.
func textDigest(path string) (sum string, bytes int64, err error) {
	h := sha256.New()
	f, err := os.Open(path)
	if err != nil {
		return "", 0, defect.Unreadable("text", path, err)
	}
	defer f.Close()
	bytes, err = io.Copy(h, f)
	return hex.EncodeToString(h.Sum(nil)), bytes, err
}
