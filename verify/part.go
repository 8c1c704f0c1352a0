package verify

import (
	"context"
	"fmt"

	"thimble/internal/defect"
	"thimble/internal/facts"
	"thimble/internal/journal"
	"thimble/verify/metric"
	"thimble/verify/reference"
)

// The prompts of a text are scored one by one, so several machines may share them. Each scores
// some and appends the scores of each to a journal, a part; a Run with Options.Scores then
// reports all. Its figures are those of a run that scores by itself, to the bit.

// ScoreFacts returns what the scores of a run depend on besides the files of the models.
func ScoreFacts(prompts []reference.Prompt, a Arithmetic) facts.Facts {
	d := Describe(a)
	return facts.Facts{{"prompts", digestOf(prompts)}, {"activations and cache", fmt.Sprintf("%+v", d)}}
}

// ScorePart scores prompts as Run does and appends the scores of each to j. It continues a
// part that has some of them.
func ScorePart(ctx context.Context, ref reference.Reference, scorer reference.Scorer, prompts []reference.Prompt, j *journal.Journal, progress func(done, total int)) error {
	finished, err := ReadScores(j, prompts, scorer.Vocab())
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

// ReadScores returns the scores in a part, which are those of the first of prompts.
func ReadScores(j *journal.Journal, prompts []reference.Prompt, vocab int) (all [][]metric.Score, err error) {
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
