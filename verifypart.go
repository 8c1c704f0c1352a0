package thimble

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"thimble/internal/defect"
	"thimble/internal/digest"
	"thimble/internal/journal"
	"thimble/internal/memory"
	"thimble/internal/shard"
	"thimble/quantize"
	"thimble/quantize/kept"
	"thimble/verify"
	"thimble/verify/metric"
	"thimble/verify/reference"
)

// A ScoredPart is the result of VerifyPart.
type ScoredPart struct {
	Output string      `json:"output"` // path of the part
	Shard  shard.Shard `json:"shard"`
	Chunks int         `json:"chunks"` // scored
	Of     int         `json:"chunks_of_all_shards"`
}

// VerifyPart scores the share o.Shard of the chunks that Verify would score, and stores the
// scores in a part of o.Scores. Verify with o.Merge then reports the scores of all parts.
func VerifyPart(ctx context.Context, o VerifyOptions) (*ScoredPart, error) {
	defer memory.Hold(o.MaxMem)()
	v := &verification{VerifyOptions: o}
	if err := v.open(ctx); err != nil {
		return nil, err
	}
	defer v.m.Close()
	with, err := v.comparison(ctx, false)
	if err != nil {
		return nil, err
	}
	defer with.close()
	if len(with.prompts) == 0 {
		return nil, errors.New("--shard divides the chunks of a text: add --text FILE or --reference REF")
	}
	p, err := v.scorePart(ctx, with)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", defect.Printable(v.Model), err)
	}
	return p, nil
}

func (v *verification) scorePart(ctx context.Context, with *comparison) (*ScoredPart, error) {
	scorer, err := v.scorer()
	if err != nil {
		return nil, err
	}
	o := &verify.Options{Arithmetic: v.Arithmetic}
	if err := verify.CheckRun(with.reference, scorer, with.prompts, o); err != nil {
		return nil, err
	}
	if err := verify.Fits(v.MaxMem, v.m, with.source, with.prompts, o, false); err != nil {
		return nil, err
	}
	f, err := v.scoreFacts(ctx, with)
	if err != nil {
		return nil, err
	}
	part, err := v.Shard.Open(v.Scores, f, false)
	if err != nil {
		return nil, fmt.Errorf("%w; remove it, or name another file with --scores", err)
	}
	defer part.Close()
	if err := part.Begin(); err != nil {
		return nil, err
	}
	path := v.Shard.Path(v.Scores)
	tokens := v.Progress.stage("verify", Tokens)
	prompts := promptsOf(with.prompts, v.Shard)
	if err := verify.ScorePart(ctx, with.reference, scorer, prompts, part, func(done, total int) { tokens(int64(done), int64(total)) }); err != nil {
		if part.Len() > 0 {
			return nil, &KeptPartError{err, path}
		}
		return nil, err
	}
	return &ScoredPart{Output: path, Shard: v.Shard, Chunks: len(prompts), Of: len(with.prompts)}, nil
}

// scorer returns the scorer of the model.
func (v *verification) scorer() (reference.Scorer, error) {
	batch := 0
	if v.Decode {
		batch = 1
	}
	return reference.NewScorer(v.m, v.Arithmetic, batch)
}

// promptsOf returns the share s of prompts.
func promptsOf(prompts []reference.Prompt, s shard.Shard) []reference.Prompt {
	var lengths []int64
	for _, p := range prompts {
		lengths = append(lengths, int64(len(p.IDs)))
	}
	from, to := s.Bounds(lengths)
	return prompts[from:to]
}

// scoreFacts returns what the scores depend on.
func (v *verification) scoreFacts(ctx context.Context, with *comparison) (quantize.Facts, error) {
	sources, err := digest.Start(ctx, slices.Concat(v.m.Files, with.files), v.Progress.stage("hash", Bytes))
	if err != nil {
		return nil, err
	}
	defer sources.Stop()
	files, err := (&kept.Run{Model: v.m, Sources: sources}).ModelFacts()
	if err != nil {
		return nil, err
	}
	if with.source != nil {
		for _, set := range with.source.Provenance.Overrides {
			files = append(files, [2]string{"--set of the reference", set})
		}
	}
	f := quantize.Facts{{"program", Tool}}
	return append(append(f, files...), verify.ScoreFacts(with.prompts, v.Arithmetic)...), nil
}

// mergedScores returns the scores of all parts.
func (v *verification) mergedScores(ctx context.Context, with *comparison, vocab int) (all [][]metric.Score, err error) {
	f, err := v.scoreFacts(ctx, with)
	if err != nil {
		return nil, err
	}
	parts, err := shard.Collect(v.Scores, f)
	if err != nil {
		return nil, err
	}
	defer shard.Close(parts)
	for i, part := range parts {
		scores, err := v.scoresOf(part, shard.Shard{Index: i + 1, Of: len(parts)}, with, vocab)
		if err != nil {
			return nil, err
		}
		all = append(all, scores...)
	}
	return all, nil
}

// scoresOf returns the scores of the part s, which must be complete.
func (v *verification) scoresOf(part *journal.Journal, s shard.Shard, with *comparison, vocab int) ([][]metric.Score, error) {
	prompts := promptsOf(with.prompts, s)
	scores, err := verify.ReadScores(part, prompts, vocab)
	if err == nil && len(scores) < len(prompts) {
		err = s.Unfinished(v.Scores)
	}
	return scores, err
}
