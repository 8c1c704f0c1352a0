package kept

import (
	"context"
	"fmt"
	"os"
	"strconv"

	"thimble/internal/journal"
	"thimble/internal/shard"
	"thimble/quantize"
)

// Parts are what the shares of a divided run without texts keep until they are merged.
type Parts struct {
	Output  string // of the whole run; the parts are next to it
	Program string
	Run     *Run // without texts
	Plan    *quantize.Plan

	journals []*journal.Journal // after Open
}

// A Part describes the part that one share has written.
type Part struct {
	Path    string      `json:"-"`
	Bytes   int64       `json:"-"`
	Shard   shard.Shard `json:"shard"`
	Tensors int         `json:"tensors"` // rounded, of
	Of      int         `json:"tensors_of_all_shards"`
}

// facts returns what the tensors of all parts depend on.
func (p *Parts) facts() (quantize.Facts, error) {
	files, err := p.Run.ModelFacts()
	if err != nil {
		return nil, err
	}
	f := quantize.Facts{{"program", p.Program + ", arithmetic " + strconv.Itoa(quantize.Arithmetic)}}
	return append(append(f, files...), [2]string{"recipe", p.Plan.Recipe}), nil
}

// Write rounds the tensors of share s. It continues a part that was interrupted; one of
// another run is an error, unless replace is set. progress is called with weights.
func (p *Parts) Write(ctx context.Context, s shard.Shard, replace bool, progress func(done, total int64)) (*Part, error) {
	f, err := p.facts()
	if err != nil {
		return nil, err
	}
	j, err := s.Open(p.Output, f, replace)
	if err != nil {
		return nil, fmt.Errorf("%w; --force replaces it", err)
	}
	defer j.Close()
	tensors, costs := p.Plan.Divisible()
	from, to := s.Bounds(costs)
	path := s.Path(p.Output)
	err = quantize.RunPart(ctx, p.Run.Model, p.Plan, tensors[from:to], j, progress)
	switch {
	case err != nil && j.Len() > 0:
		return nil, &shard.PartError{Err: err, Path: path}
	case err == nil && from == to: // there are more shares than tensors
		err = j.Begin()
	}
	if err != nil {
		return nil, err
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	return &Part{Path: path, Bytes: info.Size(), Shard: s, Tensors: to - from, Of: len(tensors)}, nil
}

// Open opens all parts, which must be complete.
func (p *Parts) Open() error {
	f, err := p.facts()
	if err != nil {
		return err
	}
	if p.journals, err = shard.Collect(p.Output, f); err != nil {
		return err
	}
	for i, tensors := range p.divided() {
		finished, err := p.Plan.ReadPart(p.journals[i], tensors)
		if err == nil && len(finished) < len(tensors) {
			err = shard.Shard{Index: i + 1, Of: len(p.journals)}.Unfinished(p.Output)
		}
		if err != nil {
			p.Close()
			return err
		}
	}
	return nil
}

// divided returns the tensors of each part.
func (p *Parts) divided() (all [][]int) {
	tensors, costs := p.Plan.Divisible()
	for i := range p.journals {
		from, to := shard.Shard{Index: i + 1, Of: len(p.journals)}.Bounds(costs)
		all = append(all, tensors[from:to])
	}
	return all
}

// Merge carries out the plan with the tensors of the parts; see quantize.Merge.
func (p *Parts) Merge(ctx context.Context, sink quantize.Sink, progress func(weights int64)) error {
	return quantize.Merge(ctx, p.Run.Model, p.Plan, p.journals, p.divided(), sink, progress)
}

// Close closes the parts. A nil p has none.
func (p *Parts) Close() {
	if p != nil {
		shard.Close(p.journals)
	}
}

// Remove removes the files of the parts. A nil p has none.
func (p *Parts) Remove() error {
	if p == nil {
		return nil
	}
	return shard.Remove(p.journals)
}
