package thimble

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/fxamacker/cbor/v2"

	"thimble/internal/defect"
	"thimble/internal/journal"
	"thimble/internal/model"
	"thimble/internal/units"
	"thimble/quantize"
)

// UnfinishedSuffix is appended to the name of an output for the file in which a
// calibrated run keeps its finished blocks.
const UnfinishedSuffix = ".unfinished"

// A runHead is the first record of that file, in CBOR.
type runHead struct {
	Facts     quantize.Facts `cbor:"facts"`  // everything that the output bytes depend on, except the schemes that a budget chose
	Recipe    string         `cbor:"recipe"` // with the chosen schemes
	Predicted float64        `cbor:"predicted"`
}

// A resumable stores the finished blocks of a calibrated run. A nil *resumable stores
// nothing.
type resumable struct {
	path    string
	old     *runHead // of the run to resume, or nil
	journal *journal.Journal
	facts   func() (quantize.Facts, error)
	weights int64  // finished by the earlier run
	from    string // where it resumes, such as "from block 7 of 12"
	notes   []string
}

// findUnfinished looks for the unfinished file of an earlier run, before any work
// starts.
func (q *quantization) findUnfinished() (*resumable, error) {
	planned, measured := q.Output == "", q.measured()
	switch calibrated := calibrates(&q.Calibration, q.recipe, q.Budget != nil); {
	case q.Resume && !calibrated:
		return nil, errors.New("--resume has no effect without calibration: only calibrated runs keep finished blocks; leave it out")
	case q.Resume && planned:
		return nil, errors.New("--resume has no effect with --dry-run; leave one out")
	case q.Resume && measured:
		return nil, errors.New("--resume has no effect with --max-kl and --min-top1, which quantize several times and keep no blocks; leave it out, and save the survey with --stats")
	case !calibrated || planned || measured:
		return nil, nil
	}
	r := &resumable{path: q.Output + UnfinishedSuffix}
	exists, err := journal.Exists(r.path)
	switch {
	case err != nil:
		return nil, err
	case !exists && q.Resume:
		r.notes = []string{"there is no " + defect.Printable(filepath.Base(r.path)) + " to resume from: starting with the first block"}
	case exists && q.Resume:
		if r.journal, err = journal.Open(r.path); err != nil {
			return nil, err
		}
		if r.old, err = readHead(r.journal); err != nil {
			r.close()
			return nil, err
		}
	case exists && !q.Overwrite:
		return nil, fmt.Errorf("%s: an interrupted run left its finished blocks here; --resume continues it, --force starts over", defect.Printable(r.path))
	}
	return r, nil
}

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

// close closes the journal without deleting its file.
func (r *resumable) close() {
	if r != nil {
		r.journal.Close()
	}
}

// stage appends to the name of a stage the place where it resumes.
func (r *resumable) stage(name string) string {
	if r == nil || r.old == nil {
		return name
	}
	return name + " " + r.from
}

// finished returns the number of weights that the earlier run had finished.
func (r *resumable) finished() int64 {
	if r == nil {
		return 0
	}
	return r.weights
}

// identify sets the facts of this run. If there is a run to resume, its facts must be
// the same, and identify returns its recipe and predicted divergence.
func (r *resumable) identify(facts func() (quantize.Facts, error)) (recipe *Recipe, predicted float64, err error) {
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

// begin starts or continues the journal of plan. If overwrite is set, it replaces the
// journal of an earlier run.
func (r *resumable) begin(m *model.Model, plan *quantize.Plan, predicted float64, overwrite bool) error {
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
	r.notes = append(r.notes, "resuming "+r.from+": earlier blocks are in "+name)
	if n := r.journal.Torn(); n > 0 {
		r.notes = append(r.notes, fmt.Sprintf("%s at the end of %s are damaged or incomplete and were ignored", units.Size(n), name))
	}
	return nil
}

// end deletes the journal if err is nil. Otherwise it adds to err how to continue.
func (r *resumable) end(err error) error {
	if r == nil {
		return err
	}
	if err == nil {
		return r.journal.Remove()
	}
	if n := len(r.journal.Records()); r.journal.Len() > n || n > 0 && errors.Is(err, context.Canceled) {
		return &KeptError{err, r.path}
	}
	return err
}

// A KeptError is the error of a run that failed but kept its finished blocks.
type KeptError struct {
	Err  error
	Path string // of the file that contains them
}

func (e *KeptError) Unwrap() error { return e.Err }
func (e *KeptError) Error() string { return e.Err.Error() + "; " + e.Remedy() }

// Remedy returns a sentence about where the finished blocks are and how to continue.
func (e *KeptError) Remedy() string {
	return "finished blocks are kept in " + defect.Printable(e.Path) + ", and the same command with --resume continues from there"
}

// facts returns everything that the output bytes of a calibrated run depend on.
func (q *quantization) facts() (quantize.Facts, error) {
	f := quantize.Facts{{"program", Tool + ", arithmetic " + strconv.Itoa(quantize.Arithmetic)}}
	files, err := modelFacts(q.m, q.sources)
	if err != nil {
		return nil, err
	}
	f = append(append(f, files...), textFacts(q.recipe, q.cal.Calibration)...)
	if q.Budget != nil {
		surveys, err := q.surveyFacts()
		if err != nil {
			return nil, err
		}
		f = append(append(f, q.budgetFacts()...), surveys...)
	}
	recipe, err := q.recipe.YAML()
	return append(f, [2]string{"recipe", recipe}), err
}

// budgetFacts returns the budget's limit on size and its schemes.
func (q *quantization) budgetFacts() quantize.Facts {
	var schemes []string
	for _, s := range q.Budget.Schemes {
		schemes = append(schemes, s.String())
	}
	return quantize.Facts{
		{"bytes of --target-size", strconv.FormatInt(q.Budget.File, 10)}, {"--target-bpw", strconv.FormatFloat(q.Budget.Bits, 'g', -1, 64)},
		{"--schemes", strings.Join(schemes, ",")},
	}
}
