package verify

import (
	"context"
	"fmt"

	"thimble/internal/defect"
	"thimble/internal/facts"
	"thimble/internal/journal"
	"thimble/internal/shard"
	"thimble/verify/metric"
	"thimble/verify/reference"
)

// The prompts of a text are scored one by one, so several machines may share them. Each scores
// some and appends the scores of each to a journal, a part; a Run with Options.Scores then
// reports all. Its figures are those of a run that scores by itself, to the bit.

// Parts are the scores of prompts that several shares keep.
type Parts struct {
	Path    string      // the parts are next to it
	Inputs  facts.Facts // what identifies the program, the models and the reference
	Prompts []reference.Prompt
	Vocab   int
}

func (p *Parts) facts(a Arithmetic) facts.Facts {
	return append(p.Inputs, [2]string{"prompts", digestOf(p.Prompts)}, [2]string{"activations and cache", fmt.Sprintf("%+v", Describe(a))})
}

// share returns the prompts of s.
func (p *Parts) share(s shard.Shard) []reference.Prompt {
	var lengths []int64
	for _, x := range p.Prompts {
		lengths = append(lengths, int64(len(x.IDs)))
	}
	from, to := s.Bounds(lengths)
	return p.Prompts[from:to]
}

// A Part is the part of one share.
type Part struct {
	Output string      `json:"output"` // path
	Shard  shard.Shard `json:"shard"`
	Chunks int         `json:"chunks"` // scored, of
	Of     int         `json:"chunks_of_all_shards"`
}

// Write scores the prompts of share s as Run does. It continues a part that was interrupted.
func (p *Parts) Write(ctx context.Context, s shard.Shard, ref reference.Reference, scorer reference.Scorer, a Arithmetic, progress func(done, total int)) (*Part, error) {
	j, err := s.Open(p.Path, p.facts(a), false)
	if err != nil {
		return nil, fmt.Errorf("%w; remove it, or name another file with --scores", err)
	}
	defer j.Close()
	if err := j.Begin(); err != nil {
		return nil, err
	}
	prompts := p.share(s)
	if err := scorePart(ctx, ref, scorer, prompts, j, progress); err != nil {
		if j.Len() > 0 {
			err = &shard.PartError{Err: err, Path: s.Path(p.Path)}
		}
		return nil, err
	}
	return &Part{Output: s.Path(p.Path), Shard: s, Chunks: len(prompts), Of: len(p.Prompts)}, nil
}

// Read returns the scores of all parts, for Options.Scores.
func (p *Parts) Read(a Arithmetic) (all [][]metric.Score, err error) {
	parts, err := shard.Collect(p.Path, p.facts(a), func(s shard.Shard, j *journal.Journal) (bool, error) {
		prompts := p.share(s)
		scores, err := readScores(j, prompts, p.Vocab)
		all = append(all, scores...)
		return len(scores) == len(prompts), err
	})
	shard.Close(parts)
	if err != nil {
		return nil, err
	}
	return all, nil
}

// scorePart scores prompts and appends the scores of each to j. It continues a part that has
// some of them.
func scorePart(ctx context.Context, ref reference.Reference, scorer reference.Scorer, prompts []reference.Prompt, j *journal.Journal, progress func(done, total int)) error {
	finished, err := readScores(j, prompts, scorer.Vocab())
	if err != nil {
		return err
	}
	r := newRun(ref, scorer, prompts, progress)
	for i := range prompts {
		if i < len(finished) {
			r.done += len(finished[i])
			continue
		}
		if err := r.prompt(ctx, &prompts[i]); err != nil {
			return fmt.Errorf("prompt %d: %w", i, err)
		}
		if err := j.Append(metric.AppendScores(nil, r.prompts[len(r.prompts)-1].scores)); err != nil {
			return err
		}
	}
	return nil
}

// readScores returns the scores in a part, which are those of the first of prompts.
func readScores(j *journal.Journal, prompts []reference.Prompt, vocab int) (all [][]metric.Score, err error) {
	for i, content := range j.Records() {
		if i == len(prompts) {
			return nil, defect.Corrupt(j.Path(), fmt.Sprintf("record %d", i+1), "the part has only %d prompts", len(prompts))
		}
		scores, err := metric.ParseScores(content, prompts[i].To-prompts[i].From, vocab)
		if err != nil {
			return nil, defect.Corrupt(j.Path(), fmt.Sprintf("record %d", i+1), "%v", err)
		}
		all = append(all, scores)
	}
	return all, nil
}
