// Package verify measures how far a model's next-token logits are from those of a
// reference, and turns the distance into a verdict.
//
// The main figure is the Kullback-Leibler divergence KL(reference || model) in nats per
// token, computed in float64 from float32 logits. Run measures it together with the
// other metrics of MetricTable, and judges the Report by gates: those of a team's
// Policy, or the default ones. CompareBaseline compares the Report with an earlier one.
//
// Package metric scores positions and summarizes the scores, reference provides the
// distributions that a model is compared with, parity compares operations, and tasks
// measures the text that a model writes. selftest checks that the gates would notice
// known mistakes, and render writes reports for people and programs. docs/NUMERICS.md
// defines every metric, and docs/REPORT.md the JSON of a Report.
package verify

import (
	"cmp"
	"context"
	"fmt"

	"thimble/internal/defect"

	"thimble/internal/model"
	"thimble/internal/parallel"
	"thimble/internal/qtensor"
	"thimble/internal/transformer"
	"thimble/verify/metric"
	"thimble/verify/parity"
	"thimble/verify/reference"
	"thimble/verify/tasks"
)

type (
	// Model is the type that convert, quantize and format open and return.
	Model = model.Model

	// Arithmetic sets the rounding of activations, keys and values in a run. The zero
	// value rounds nothing and runs in float32.
	Arithmetic = transformer.Arithmetic

	// Scheme is the format in which a tensor is stored.
	Scheme = qtensor.Scheme

	// StoredTensor describes how a model keeps one tensor.
	StoredTensor = model.StoredTensor
)

// Options controls what Run judges and reports.
type Options struct {
	Gates       []Gate
	Source      string                 // of Gates: GateFlag or GatePolicy
	Expected    *Expectation           // the source of Gates; nil if they are not the default ones
	Model       ModelInfo              // copied to the report
	Arithmetic  Arithmetic             // in which the model runs; copied to the report
	Strict      bool                   // an undecided gate fails
	Seed        uint64                 // of the random draws for intervals
	Text        func(ids []int) string // spells tokens in the report; may be nil
	Against     string                 // names the reference in the report
	AgainstFile bool                   // the reference is a file
	Profile     *parity.Profile        // of the model and its source; may be nil
	Progress    func(done, total int)  // called with the positions scored so far; may be nil
	Behaviour   *tasks.Behaviour       // tasks and continuations to measure; nil for none
	Scores      [][]metric.Score       // of each prompt, from Parts.Read; nil to score

	integrity *Integrity // set by Prepare
	notes     []string   // set by Prepare
}

// blockRows is the number of positions that are compared at a time. A run holds
// (blockRows, Vocab) float32 for the model and for the reference, and Vocab float64 for
// each core.
const blockRows = 64

// Run scores the prompts with the model and compares it with the reference.
// Without a reference (ref is nil) it measures only perplexity. Report.Pass is false if
// a gate is not met; an error means that there is no verdict. Results do not depend on
// the number of cores.
func Run(ctx context.Context, ref reference.Reference, scorer reference.Scorer, prompts []reference.Prompt, o Options) (*Report, error) {
	if err := CheckRun(ref, scorer, prompts, &o); err != nil {
		return nil, err
	}
	form := formOf(ref)
	r := newRun(ref, scorer, prompts, o.Progress)
	for i := range prompts {
		if o.Scores != nil {
			r.prompts = append(r.prompts, scoredPrompt{prompts[i].IDs, prompts[i].From, o.Scores[i]})
		} else if err := r.prompt(ctx, &prompts[i]); err != nil {
			return nil, fmt.Errorf("prompt %d: %w", i, err)
		}
	}
	report := r.report()
	report.Model, report.Against, report.AgainstFile, report.Arithmetic = o.Model, o.Against, o.AgainstFile, Describe(o.Arithmetic)
	report.PromptsSHA256 = digestOf(prompts)
	report.Intervals = metric.Bootstrap(r.scores(), &report.Metrics.Summary, o.Seed)
	r.addTokens(report, o.Text)
	report.addProfile(o.Profile)
	report.Expected = o.Expected
	report.addIntegrity(o.integrity, o.notes)
	if o.Behaviour != nil {
		outcome, err := o.Behaviour.Run(ctx, prompts, o.Text, o.Seed)
		if err != nil {
			return nil, err
		}
		report.Metrics.Metrics, report.Tasks, report.Continuations = outcome.Metrics, outcome.Tasks, outcome.Continuations
		report.Intervals = append(report.Intervals, outcome.Intervals...)
	}
	report.allow(form, r.scores())
	if err := report.Judge(o.Gates, o.Strict); err != nil {
		return nil, err
	}
	report.addExpected(&o)
	if form.TopK > 0 {
		report.Notes = append(report.Notes, compactNote(report, form, scorer.Vocab()))
	}
	if form.Note != "" {
		report.Notes = append(report.Notes, form.Note)
	}
	return report, nil
}

// formOf returns the Form of ref, or the zero Form if ref is nil.
func formOf(ref reference.Reference) reference.Form {
	if ref == nil {
		return reference.Form{}
	}
	return ref.Form()
}

// CheckRun returns the error that Run would return if it cannot measure or judge what o
// asks for. It runs no model.
func CheckRun(ref reference.Reference, scorer reference.Scorer, prompts []reference.Prompt, o *Options) error {
	return checkRun(ref != nil, formOf(ref), scorer.Vocab(), prompts, o)
}

func checkRun(compared bool, form reference.Form, vocab int, prompts []reference.Prompt, o *Options) error {
	if err := checkGates(o.Gates, compared); err != nil {
		return err
	}
	for _, g := range o.Gates {
		if err := checkMeasured(g, prompts, o.Behaviour); err != nil {
			return fmt.Errorf("gate %v: %w", g, err)
		}
	}
	if err := o.Behaviour.Check(prompts); err != nil {
		return err
	}
	if len(prompts) > 0 || o.Behaviour == nil {
		if err := reference.CheckPrompts(prompts, vocab); err != nil {
			return err
		}
	}
	if form.Vocab != 0 && form.Vocab != vocab {
		return fmt.Errorf("%s scores a vocabulary of %d, the model one of %d: they are not the same model",
			defect.Printable(cmp.Or(o.Against, "the reference")), form.Vocab, vocab)
	}
	return nil
}

// Outline returns the report of a run that has not started. It has the prompts but no
// figures, which is enough for CompareBaseline to check that a baseline is of the same
// run.
func Outline(prompts []reference.Prompt, o *Options) *Report {
	r := &Report{Schema: Schema, Model: o.Model, Against: o.Against, Arithmetic: Describe(o.Arithmetic), Metrics: unmeasured(), PromptsSHA256: digestOf(prompts)}
	for _, p := range prompts {
		r.Prompts = append(r.Prompts, PromptReport{Tokens: p.To - p.From})
		r.Metrics.Tokens += p.To - p.From
	}
	return r
}

// checkMeasured returns an error if a run would not measure a gate's metric.
func checkMeasured(g Gate, prompts []reference.Prompt, b *tasks.Behaviour) error {
	switch e := metric.Find(MetricTable, g.Metric); {
	case e.Unit != metric.Tokens:
		return b.Measures(g.Metric)
	case len(prompts) == 0:
		return fmt.Errorf("%s is of positions in a text: add --text FILE", g.Metric)
	}
	return nil
}

// A run is the state of one Run.
type run struct {
	ref         reference.Reference // nil without a reference
	scorer      reference.Scorer
	scratch     []reference.Scratch // of each worker
	got         []float32           // (blockRows, Vocab)
	prompts     []scoredPrompt
	progress    func(done, total int)
	done, total int
}

// A scoredPrompt holds the scores of a prompt's positions from from on.
type scoredPrompt struct {
	ids    []int
	from   int
	scores []metric.Score
}

func newRun(ref reference.Reference, scorer reference.Scorer, prompts []reference.Prompt, progress func(done, total int)) *run {
	r := &run{ref: ref, scorer: scorer, scratch: make([]reference.Scratch, parallel.Workers()), progress: progress}
	longest := 0
	for _, p := range prompts {
		r.total += p.To - p.From
		longest = max(longest, p.To-p.From)
	}
	r.got = make([]float32, min(longest, blockRows)*scorer.Vocab())
	return r
}

// prompt scores the positions of p.
func (r *run) prompt(ctx context.Context, p *reference.Prompt) error {
	var want reference.Distribution
	if r.ref != nil {
		var err error
		if want, err = r.ref.Distribution(ctx, p.IDs); err != nil {
			return fmt.Errorf("reference: %w", err)
		}
	}
	got, err := r.scorer.Score(ctx, p.IDs)
	if err != nil {
		return fmt.Errorf("model: %w", err)
	}
	s := scoredPrompt{p.IDs, p.From, make([]metric.Score, p.To-p.From)}
	for from := p.From; from < p.To; from += blockRows {
		n := min(blockRows, p.To-from)
		if err := r.block(ctx, p, want, got, from, s.scores[from-p.From:][:n]); err != nil {
			return err
		}
		r.done += n
		if r.progress != nil {
			r.progress(r.done, r.total)
		}
	}
	r.prompts = append(r.prompts, s)
	return nil
}

// block scores the positions [from, from+len(scores)) of p. want is nil without a
// reference.
func (r *run) block(ctx context.Context, p *reference.Prompt, want reference.Distribution, got reference.Prediction, from int, scores []metric.Score) error {
	n, v := len(scores), r.scorer.Vocab()
	if err := got.Logits(ctx, r.got[:n*v], from, n); err != nil {
		return fmt.Errorf("model: %w", err)
	}
	if want != nil {
		if err := want.Load(ctx, from, n); err != nil {
			return fmt.Errorf("reference: %w", err)
		}
	}
	return parallel.Do(ctx, n, func(worker, i int) (err error) {
		row, next := r.got[i*v:][:v], -1
		if from+i+1 < len(p.IDs) {
			next = p.IDs[from+i+1]
		}
		if want == nil {
			scores[i], err = metric.Predict(row, next)
		} else {
			scores[i], err = want.Compare(&r.scratch[worker], from+i, row, next)
		}
		if err != nil {
			return fmt.Errorf("position %d: %w", from+i, err)
		}
		return nil
	})
}

// scores returns the scores of each prompt.
func (r *run) scores() [][]metric.Score {
	all := make([][]metric.Score, len(r.prompts))
	for i := range r.prompts {
		all[i] = r.prompts[i].scores
	}
	return all
}

// report summarizes the scores.
func (r *run) report() *Report {
	rep := &Report{Schema: Schema, Prompts: make([]PromptReport, len(r.prompts))}
	clusters := make([]metric.Cluster, len(r.prompts))
	var all []metric.Score
	for i, p := range r.prompts {
		all = append(all, p.scores...)
		s := metric.Summarize(p.scores)
		clusters[i] = metric.Cluster{Tokens: s.Tokens, Mean: float64(s.KLMean)}
		rep.Prompts[i] = PromptReport{
			Tokens: s.Tokens, KLMean: s.KLMean, KLMax: metric.Unknown, KLMaxAt: -1, Top1Agreement: s.Top1Agreement,
			MaxAbs: s.MaxAbs, PPLReference: s.PPLReference, PPL: s.PPL,
		}
		if s.KLMean.Known() {
			worst := 0
			for at, x := range p.scores {
				if x.KL > p.scores[worst].KL {
					worst = at
				}
			}
			rep.Prompts[i].KLMax, rep.Prompts[i].KLMaxAt = metric.Value(p.scores[worst].KL), p.from+worst
		}
	}
	rep.Metrics = unmeasured()
	rep.Metrics.Summary, rep.KLHistogram = metric.Summarize(all), metric.NewHistogram(all)
	rep.Metrics.KLMeanSE = metric.Value(metric.ClusterError(clusters))
	rep.Bounds = metric.Bounds(all, &rep.Metrics.Summary)
	return rep
}
