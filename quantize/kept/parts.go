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

	// After Open:
	journals []*journal.Journal
	rounded  map[int]*quantize.Matrix // by tensor of Plan; they alias journals
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

// share returns the tensors of Plan that s rounds.
func (p *Parts) share(s shard.Shard) []int {
	tensors, costs := p.Plan.Divisible()
	from, to := s.Bounds(costs)
	return tensors[from:to]
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
	tensors, path := p.share(s), s.Path(p.Output)
	err = quantize.RunPart(ctx, p.Run.Model, p.Plan, tensors, j, progress)
	switch {
	case err != nil && j.Len() > 0:
		return nil, &shard.PartError{Err: err, Path: path}
	case err == nil: // even if there was nothing to do: there may be more shares than tensors, or a torn record
		err = j.Begin()
	}
	if err != nil {
		return nil, err
	}
	j.Close() // removes what a torn record has left
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	all, _ := p.Plan.Divisible()
	return &Part{Path: path, Bytes: info.Size(), Shard: s, Tensors: len(tensors), Of: len(all)}, nil
}

// Open opens all parts, which must be complete.
func (p *Parts) Open() error {
	f, err := p.facts()
	if err != nil {
		return err
	}
	p.rounded = map[int]*quantize.Matrix{}
	p.journals, err = shard.Collect(p.Output, f, func(s shard.Shard, j *journal.Journal) (bool, error) {
		tensors := p.share(s)
		matrices, err := p.Plan.ReadPart(j, tensors)
		for i, m := range matrices {
			p.rounded[tensors[i]] = m
		}
		return len(matrices) == len(tensors), err
	})
	return err
}

// Merge carries out the plan with the tensors of the parts; see quantize.Merge.
func (p *Parts) Merge(ctx context.Context, sink quantize.Sink, progress func(weights int64)) error {
	return quantize.Merge(ctx, p.Run.Model, p.Plan, p.rounded, sink, progress)
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
