// Package verify measures how far a model's next-token scores are from those
// of a reference, and turns the distance into a verdict.
//
// The measure is the Kullback-Leibler divergence KL(reference || model) in nats
// per token, computed in float64 from float32 logits by functions that give the
// same bits on every machine. docs/NUMERICS.md defines every metric.
package verify

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"thimble/internal/model"
	"thimble/internal/parallel"
)

// A Subject scores prompts: a transformer over some model, or a reference file.
type Subject interface {
	// Vocab is the number of logits of one position; 0 for a compact reference,
	// which does not say.
	Vocab() int

	// Score reads a prompt. Its logits are valid until the next Score.
	Score(ctx context.Context, ids []int) (Logits, error)
}

// Logits gives the scores of one prompt.
type Logits interface {
	// Rows writes the logits of the token after each of the positions
	// [from, from+n) to dst, (n, Vocab).
	Rows(ctx context.Context, dst []float32, from, n int) error
}

// A Prompt is a token sequence and the positions in it that are scored. The
// logits of position p, computed from IDs[:p+1], predict IDs[p+1].
type Prompt struct {
	IDs      []int
	From, To int // [From, To)
}

// TextPrompts cuts a text into prompts of context tokens each, and scores the
// positions context/2 to context-2 of each: every prediction has at least half
// the context to go by, and a next token to be judged on. It is the protocol of
// llama.cpp's perplexity tool, whose figures are comparable for that reason.
// chunks limits the number of prompts; 0 takes every whole one. bos replaces
// the first token of every chunk, for tokenizers that start texts with one; -1
// leaves it. ids is read, not kept.
func TextPrompts(ids []int, context, chunks, bos int) ([]Prompt, error) {
	if context < 3 || context > model.MaxLength {
		return nil, fmt.Errorf("a context of %d tokens is out of range, want 3 to %d", context, model.MaxLength)
	}
	whole := len(ids) / context
	switch {
	case whole == 0:
		return nil, fmt.Errorf("the text has %d tokens, less than one chunk of %d: use a longer text or a smaller --context", len(ids), context)
	case chunks < 0:
		return nil, fmt.Errorf("%d chunks: want a positive number, or 0 for the whole text", chunks)
	case chunks > whole:
		return nil, fmt.Errorf("the text has %d tokens, enough for %d chunks of %d, not for %d: use a longer text or --chunks %d", len(ids), whole, context, chunks, whole)
	case chunks == 0:
		chunks = whole
	}
	prompts := make([]Prompt, chunks)
	for i := range prompts {
		p := Prompt{slices.Clone(ids[i*context : (i+1)*context]), context / 2, context - 1}
		if bos >= 0 {
			p.IDs[0] = bos
		}
		prompts[i] = p
	}
	return prompts, nil
}

// Options says what Run is to judge and report.
type Options struct {
	Gates      []Gate
	Model      ModelInfo              // copied to the report
	Arithmetic Arithmetic             // of the model, likewise
	Strict     bool                   // a gate that is undecided is missed
	Seed       uint64                 // of the draws that intervals are made of
	Text       func(ids []int) string // spells tokens in the report; may be nil
	Against    string                 // names the reference in the report
	Profile    *Profile               // of the model and the one that is the reference; may be nil
	Progress   func(done, total int)  // called with the positions scored so far; may be nil
	Behaviour  *Behaviour             // what else to measure; nil for nothing
}

// blockRows is how many positions are compared at a time: Run holds two blocks
// of (blockRows, Vocab) float32, and Vocab float64 for each core.
const blockRows = 64

// Run scores the prompts with the model and with the reference and compares the
// two. Without a reference (ref is nil) it measures perplexity alone. A gate
// that is not met makes Report.Pass false; an error means that there is no
// verdict. Results do not depend on the number of cores.
func Run(ctx context.Context, ref, subject Subject, prompts []Prompt, o Options) (*Report, error) {
	if err := checkGates(o.Gates, ref != nil); err != nil {
		return nil, err
	}
	if err := o.Behaviour.check(o.Gates, prompts); err != nil {
		return nil, err
	}
	if err := checkPrompts(prompts, subject.Vocab()); err != nil && (len(prompts) > 0 || o.Behaviour == nil) {
		return nil, err
	}
	if ref != nil && ref.Vocab() != 0 && ref.Vocab() != subject.Vocab() {
		return nil, fmt.Errorf("the reference scores a vocabulary of %d, the model one of %d: they are not the same model", ref.Vocab(), subject.Vocab())
	}
	r := newRun(ref, subject, prompts, o.Progress)
	for i := range prompts {
		if err := r.prompt(ctx, &prompts[i]); err != nil {
			return nil, fmt.Errorf("prompt %d: %w", i, err)
		}
	}
	report := r.report()
	report.Model, report.Against, report.Arithmetic = o.Model, o.Against, Describe(o.Arithmetic)
	report.PromptsSHA256 = digestOf(prompts)
	report.Intervals = bootstrap(r.prompts, &report.Metrics, o.Seed)
	r.tokens(report, o.Text)
	report.explain(o.Profile)
	if err := o.Behaviour.run(ctx, report, prompts, &o); err != nil {
		return nil, err
	}
	if err := report.judge(o.Gates, o.Strict); err != nil {
		return nil, err
	}
	switch file, ok := ref.(*Reference); {
	case ok && file.base:
		report.Notes = append(report.Notes, baseNote)
	case ok && file.compact:
		report.Notes = append(report.Notes, report.compactNote(file.TopK(), subject.Vocab()))
	}
	return report, nil
}

func checkPrompts(prompts []Prompt, vocab int) error {
	if len(prompts) == 0 {
		return errors.New("there are no prompts to score")
	}
	for i, p := range prompts {
		if p.From < 0 || p.From >= p.To || p.To > len(p.IDs) {
			return fmt.Errorf("prompt %d: positions [%d, %d) are not in a prompt of %d tokens", i, p.From, p.To, len(p.IDs))
		}
		for t, id := range p.IDs {
			if id < 0 || id >= vocab {
				return fmt.Errorf("prompt %d, position %d: token id %d is outside the model's vocabulary of %d", i, t, id, vocab)
			}
		}
	}
	return nil
}

// A run is the state of one Run.
type run struct {
	ref, subject Subject
	lanes        []lane
	want, got    []float32 // (blockRows, Vocab); want stays nil without full reference logits
	prompts      []scored
	progress     func(done, total int)
	done, total  int
}

// scored holds the scores of a prompt's positions, the first of which is from.
type scored struct {
	ids    []int
	from   int
	scores []score
}

func newRun(ref, subject Subject, prompts []Prompt, progress func(done, total int)) *run {
	r := &run{ref: ref, subject: subject, lanes: make([]lane, parallel.Workers()), progress: progress}
	longest := 0
	for _, p := range prompts {
		r.total += p.To - p.From
		longest = max(longest, p.To-p.From)
	}
	r.got = make([]float32, min(longest, blockRows)*subject.Vocab())
	return r
}

// prompt scores the positions of p.
func (r *run) prompt(ctx context.Context, p *Prompt) error {
	var want Logits
	if r.ref != nil {
		var err error
		if want, err = r.ref.Score(ctx, p.IDs); err != nil {
			return fmt.Errorf("reference: %w", err)
		}
	}
	got, err := r.subject.Score(ctx, p.IDs)
	if err != nil {
		return fmt.Errorf("model: %w", err)
	}
	s := scored{p.IDs, p.From, make([]score, p.To-p.From)}
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

// block scores the positions [from, from+len(scores)) of p.
func (r *run) block(ctx context.Context, p *Prompt, want, got Logits, from int, scores []score) error {
	n, v := len(scores), r.subject.Vocab()
	if err := got.Rows(ctx, r.got[:n*v], from, n); err != nil {
		return fmt.Errorf("model: %w", err)
	}
	short, isShort := want.(comparer)
	if want != nil && !isShort {
		if r.want == nil {
			r.want = make([]float32, len(r.got))
		}
		if err := want.Rows(ctx, r.want[:n*v], from, n); err != nil {
			return fmt.Errorf("reference: %w", err)
		}
	}
	return parallel.Do(ctx, n, func(worker, i int) (err error) {
		next := -1
		if from+i+1 < len(p.IDs) {
			next = p.IDs[from+i+1]
		}
		l, row := &r.lanes[worker], r.got[i*v:][:v]
		switch {
		case isShort:
			scores[i], err = short.compare(l, from+i, row, next)
		case want != nil:
			scores[i], err = l.compare(r.want[i*v:][:v], row, next)
		default:
			scores[i], err = l.predict(row, next)
		}
		if err != nil {
			return fmt.Errorf("position %d: %w", from+i, err)
		}
		return nil
	})
}

// finite returns an error that names the first value of x which is not.
func finite(whose string, x []float32) error {
	for id, v := range x {
		if !isFinite(float64(v)) {
			return fmt.Errorf("the %s's logit of token %d is %v", whose, id, v)
		}
	}
	return nil
}
