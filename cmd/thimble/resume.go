package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/fxamacker/cbor/v2"
	"github.com/urfave/cli/v2"

	"thimble/internal/defect"
	"thimble/internal/journal"
	"thimble/internal/model"
	"thimble/quantize"
)

var resumeFlag = &cli.BoolFlag{Name: "resume", Usage: "go on with what an interrupted calibrated run has left beside OUTPUT, if it has"}

// unfinishedSuffix makes of an output's name that of the file in which a calibrated
// run keeps its finished blocks.
const unfinishedSuffix = ".unfinished"

// A runHead is what that file begins with, in CBOR.
type runHead struct {
	Facts     quantize.Facts `cbor:"facts"`  // what the bytes depend on, but for the schemes that a budget chose
	Recipe    string         `cbor:"recipe"` // with those schemes
	Predicted float64        `cbor:"predicted"`
}

// An attempt is one calibrated run of those that an output takes. A nil one keeps
// nothing.
type attempt struct {
	path    string
	old     *runHead // of the run that is gone on with, nil if there is none
	journal *journal.Journal
	facts   func() (quantize.Facts, error)
	weights int64  // that old has finished
	from    string // where it goes on: "from block 7 of 12"
	notes   []string
}

// attemptAt looks for what an earlier run has left at out, before any work. facts
// may wait.
func attemptAt(c *cli.Context, out string, r *quantize.Recipe) (*attempt, error) {
	resume := c.Bool(resumeFlag.Name)
	switch calibrated := calibrates(c, r); {
	case resume && !calibrated:
		return nil, errors.New("--resume has no effect without calibration: nothing else takes long enough to be kept; leave it out")
	case resume && c.Bool(dryRunFlag.Name):
		return nil, errors.New("--resume has no effect with --dry-run; leave one out")
	case resume && measuredLimit(c):
		return nil, errors.New("--resume has no effect with --max-kl and --min-top1, which quantize several times before one is kept; leave it out, and keep the survey with --stats")
	case !calibrated || c.Bool(dryRunFlag.Name) || measuredLimit(c):
		return nil, nil
	}
	a := &attempt{path: out + unfinishedSuffix}
	there, err := journal.Exists(a.path)
	switch {
	case err != nil:
		return nil, err
	case !there && resume:
		a.notes = []string{"there is no " + defect.Printable(filepath.Base(a.path)) + " to resume from: beginning with the first block"}
	case there && resume:
		if a.journal, err = journal.Open(a.path); err != nil {
			return nil, err
		}
		if a.old, err = readHead(a.journal); err != nil {
			a.close()
			return nil, err
		}
	case there && !c.Bool(forceFlag.Name):
		return nil, fmt.Errorf("%s: an earlier run was interrupted and has left what it had finished; --resume goes on with it, --force begins anew", defect.Printable(a.path))
	}
	return a, nil
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

// close lets go of the journal, which stays. a may be nil.
func (a *attempt) close() {
	if a != nil {
		a.journal.Close()
	}
}

// resumes reports whether there is a run to go on with.
func (a *attempt) resumes() bool { return a != nil && a.old != nil }

// identify says what the bytes depend on. recipe and predicted are those of the run
// that is gone on with, which must be of the same facts.
func (a *attempt) identify(facts func() (quantize.Facts, error)) (recipe *quantize.Recipe, predicted float64, err error) {
	a.facts = facts
	if a.old == nil {
		return nil, 0, nil
	}
	now, err := facts()
	if err != nil {
		return nil, 0, err
	}
	if d := a.old.Facts.Differ(now); d != "" {
		return nil, 0, fmt.Errorf("%s: is of another run, which --resume cannot go on with (%s); --force without --resume begins anew", defect.Printable(a.path), d)
	}
	if recipe, err = quantize.ParseRecipe([]byte(a.old.Recipe)); err != nil {
		return nil, 0, defect.Corrupt(a.path, "head", "%v; remove the file", err)
	}
	return recipe, a.old.Predicted, nil
}

// begin opens the journal of plan.
func (a *attempt) begin(c *cli.Context, m *model.Model, plan *quantize.Plan, predicted float64) error {
	if a.old != nil {
		blocks, weights, err := plan.Finished(a.journal)
		if err != nil {
			return err
		}
		a.weights = weights
		name := defect.Printable(filepath.Base(a.path))
		a.from = fmt.Sprintf("from block %d of %d", blocks+1, m.Spec.Blocks)
		if blocks == m.Spec.Blocks {
			a.from = fmt.Sprintf("behind block %d of %d", blocks, blocks)
		}
		a.notes = append(a.notes, "resuming "+a.from+": what comes before is in "+name)
		if n := a.journal.Torn(); n > 0 {
			a.notes = append(a.notes, fmt.Sprintf("%s at the end of %s are damaged or incomplete and were left out", bytesText(n), name))
		}
		return nil
	}
	a.journal = journal.New(a.path, c.Bool(forceFlag.Name), func() ([]byte, error) {
		facts, err := a.facts()
		if err != nil {
			return nil, err
		}
		return cbor.Marshal(runHead{facts, plan.Recipe, predicted})
	})
	return nil
}

// ended deletes the journal of a run that has come to its end, or makes err say
// how to go on.
func (a *attempt) ended(err error) error {
	if a == nil {
		return err
	}
	if err == nil {
		return a.journal.Remove()
	}
	if n := len(a.journal.Records()); a.journal.Len() > n || n > 0 && errors.Is(err, context.Canceled) {
		return &keptError{err, a.path}
	}
	return err
}

// A keptError ends a run that has kept what it had finished.
type keptError struct {
	error
	path string
}

func (e *keptError) Unwrap() error { return e.error }
func (e *keptError) Error() string { return e.error.Error() + "; " + e.remedy() }

func (e *keptError) remedy() string {
	return "what was finished is kept in " + defect.Printable(e.path) + ", and the same command with --resume goes on from there"
}

// interrupted is what a user is told who has stopped a run.
func interrupted(err error) error {
	text := "interrupted, no output was written"
	if kept := new(keptError); errors.As(err, &kept) {
		text += "; " + kept.remedy()
	}
	return errors.New(text)
}

// runFacts are what the bytes of a calibrated run depend on.
func runFacts(c *cli.Context, m *model.Model, sources *hashing, r *quantize.Recipe, texts *quantize.Calibration, b *budget) (quantize.Facts, error) {
	f := quantize.Facts{{"program", tool + ", arithmetic " + strconv.Itoa(quantize.Arithmetic)}}
	files, err := modelFacts(m, sources)
	if err != nil {
		return nil, err
	}
	f = append(append(f, files...), textFacts(r, texts)...)
	if b != nil {
		stats, err := statsFacts(c)
		if err != nil {
			return nil, err
		}
		f = append(append(f, b.facts()...), stats...)
	}
	recipe, err := r.YAML()
	return append(f, [2]string{"recipe", recipe}), err
}

// facts are b's limit, which is not a measured one, and what it chooses from.
func (b *budget) facts() quantize.Facts {
	var schemes []string
	for _, s := range b.schemes {
		schemes = append(schemes, s.String())
	}
	return quantize.Facts{
		{"bytes of --target-size", strconv.FormatInt(b.file, 10)}, {"--target-bpw", strconv.FormatFloat(b.bits, 'g', -1, 64)},
		{"--schemes", strings.Join(schemes, ",")},
	}
}
