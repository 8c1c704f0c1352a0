package kept

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/fxamacker/cbor/v2"

	"thimble/internal/defect"
	"thimble/internal/journal"
	"thimble/internal/model"
	"thimble/internal/units"
	"thimble/quantize"
)

// Suffix is appended to the name of an output for the file in which a
// calibrated run keeps its finished blocks.
const Suffix = ".unfinished"

// A runHead is the first record of that file, in CBOR.
type runHead struct {
	Facts     quantize.Facts `cbor:"facts"`  // everything that the output bytes depend on, except the schemes that a budget chose
	Recipe    string         `cbor:"recipe"` // with the chosen schemes
	Predicted float64        `cbor:"predicted"`
}

// Blocks are the finished blocks of a calibrated run, in a file next to its output. A nil
// *Blocks keeps none.
type Blocks struct {
	path    string
	old     *runHead // of the run to resume, or nil
	journal *journal.Journal
	facts   func() (quantize.Facts, error)
	weights int64    // finished by the earlier run
	from    string   // where it resumes, such as "from block 7 of 12"
	Notes   []string // for the result of the run
}

// Find looks for the blocks that an earlier run to output kept, before any work starts. With
// resume it opens them; without, they are an error unless overwrite is set.
func Find(output string, resume, overwrite bool) (*Blocks, error) {
	r := &Blocks{path: output + Suffix}
	exists, err := journal.Exists(r.path)
	switch {
	case err != nil:
		return nil, err
	case !exists && resume:
		r.Notes = []string{"there is no " + defect.Printable(filepath.Base(r.path)) + " to resume from: starting with the first block"}
	case exists && resume:
		if r.journal, err = journal.Open(r.path); err != nil {
			return nil, err
		}
		if r.old, err = readHead(r.journal); err != nil {
			r.Close()
			return nil, err
		}
	case exists && !overwrite:
		return nil, fmt.Errorf("%s: an interrupted run left its finished blocks here; --resume continues it, --force starts over", defect.Printable(r.path))
	}
	return r, nil
}

// Journal returns the journal to append finished blocks to, after Begin.
func (r *Blocks) Journal() *journal.Journal { return r.journal }

func readHead(j *journal.Journal) (*runHead, error) {
	decoding, err := cbor.DecOptions{
		DupMapKey: cbor.DupMapKeyEnforcedAPF, ExtraReturnErrors: cbor.ExtraDecErrorUnknownField, IndefLength: cbor.IndefLengthForbidden,
		TagsMd: cbor.TagsForbidden, MaxNestedLevels: 4, MaxArrayElements: 1 << 16, MaxMapPairs: 16,
	}.DecMode()
	if err != nil {
		return nil, err
	}
	h := new(runHead)
	if err := decoding.Unmarshal(j.Head(), h); err != nil {
		return nil, defect.Corrupt(j.Path(), "head", "%s; remove the file", defect.Printable(err.Error()))
	}
	return h, nil
}

// Close closes the journal without deleting its file.
func (r *Blocks) Close() {
	if r != nil {
		r.journal.Close()
	}
}

// Stage appends to the name of a stage the place where it resumes.
func (r *Blocks) Stage(name string) string {
	if r == nil || r.old == nil {
		return name
	}
	return name + " " + r.from
}

// Finished returns the number of weights that the earlier run had finished.
func (r *Blocks) Finished() int64 {
	if r == nil {
		return 0
	}
	return r.weights
}

// Identify sets the facts of this run. If there is a run to resume, its facts must be
// the same, and Identify returns its recipe and predicted divergence.
func (r *Blocks) Identify(facts func() (quantize.Facts, error)) (recipe *quantize.Recipe, predicted float64, err error) {
	r.facts = facts
	if r.old == nil {
		return nil, 0, nil
	}
	now, err := facts()
	if err != nil {
		return nil, 0, err
	}
	if d := r.old.Facts.Differ(now); d != "" {
		return nil, 0, fmt.Errorf("%s: is of another run, which --resume cannot continue (%s); --force without --resume starts over", defect.Printable(r.path), d)
	}
	if recipe, err = quantize.ParseRecipe([]byte(r.old.Recipe)); err != nil {
		return nil, 0, defect.Corrupt(r.path, "head", "%v; remove the file", err)
	}
	return recipe, r.old.Predicted, nil
}

// Begin starts or continues the journal of plan. If overwrite is set, it replaces the
// journal of an earlier run.
func (r *Blocks) Begin(m *model.Model, plan *quantize.Plan, predicted float64, overwrite bool) error {
	if r.old == nil {
		r.journal = journal.New(r.path, overwrite, func() ([]byte, error) {
			facts, err := r.facts()
			if err != nil {
				return nil, err
			}
			return cbor.Marshal(runHead{facts, plan.Recipe, predicted})
		})
		return nil
	}
	blocks, weights, err := plan.Finished(r.journal)
	if err != nil {
		return err
	}
	r.weights = weights
	name := defect.Printable(filepath.Base(r.path))
	r.from = fmt.Sprintf("from block %d of %d", blocks+1, m.Spec.Blocks)
	if blocks == m.Spec.Blocks {
		r.from = fmt.Sprintf("after block %d of %d", blocks, blocks)
	}
	r.Notes = append(r.Notes, "resuming "+r.from+": earlier blocks are in "+name)
	if n := r.journal.Torn(); n > 0 {
		r.Notes = append(r.Notes, fmt.Sprintf("%s at the end of %s are damaged or incomplete and were ignored", units.Size(n), name))
	}
	return nil
}

// End deletes the journal if err is nil. Otherwise it adds to err how to continue.
func (r *Blocks) End(err error) error {
	if r == nil {
		return err
	}
	if err == nil {
		return r.journal.Remove()
	}
	if n := len(r.journal.Records()); r.journal.Len() > n || n > 0 && errors.Is(err, context.Canceled) {
		return &BlocksError{err, r.path}
	}
	return err
}

// A BlocksError is the error of a run that failed but kept its finished blocks.
type BlocksError struct {
	Err  error
	Path string // of the file that contains them
}

func (e *BlocksError) Unwrap() error { return e.Err }

func (e *BlocksError) Error() string { return e.Err.Error() + "; " + e.Remedy() }

// Remedy returns a sentence about where the finished blocks are and how to continue.
func (e *BlocksError) Remedy() string {
	return "finished blocks are kept in " + defect.Printable(e.Path) + ", and the same command with --resume continues from there"
}
