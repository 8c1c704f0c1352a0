package thimble

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"

	"thimble/internal/atomicfile"
	"thimble/internal/defect"
	"thimble/internal/digest"
	"thimble/internal/model"
	"thimble/internal/qtensor"
	"thimble/quantize"
)

// maxSurvey is the maximum size of a saved survey, in bytes: 15,000 matrices in a hundred
// schemes take 40 MB.
const maxSurvey = 64 << 20

// readSurveys reads the files of Surveys, as far as they can be checked without the model's
// digests. If the only one does not exist, it checks that the file can be written.
func (q *quantization) readSurveys(ctx context.Context) error {
	for _, path := range q.Surveys {
		if path == "-" {
			return errors.New("--stats -: a survey is saved to a file; name one")
		}
		text, err := ReadText(ctx, "--stats", path, maxSurvey)
		if len(q.Surveys) == 1 && errors.Is(err, fs.ErrNotExist) {
			return q.checkNewSurvey(path)
		}
		if errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("--stats %s: there is no such file; a run with this --stats alone makes it", defect.Printable(path))
		}
		if err != nil {
			return err
		}
		one, err := quantize.ParseSurvey(path, []byte(text))
		if err != nil {
			return err
		}
		if why := one.Covers(q.Budget.Schemes); why != "" {
			return unfitSurvey(path, why)
		}
		q.saved = append(q.saved, one)
	}
	return nil
}

// unfitSurvey returns the error for a saved survey that is of another run.
func unfitSurvey(path, why string) error {
	return fmt.Errorf("--stats %s: %s; remove it to survey again, or name another file", defect.Printable(path), why)
}

// checkNewSurvey returns an error if a survey cannot be saved to path.
func (q *quantization) checkNewSurvey(path string) error {
	for _, other := range []string{q.Output, q.Output + UnfinishedSuffix} {
		if q.Output != "" && filepath.Clean(other) == filepath.Clean(path) {
			return fmt.Errorf("--stats %s: is where -o writes to; name another file", defect.Printable(path))
		}
	}
	if err := atomicfile.Check(path, atomicfile.Options{}); err != nil {
		return fmt.Errorf("--stats %w", err)
	}
	return nil
}

// survey returns a new survey or that of the files of Surveys; note states which.
func (q *quantization) survey(ctx context.Context) (s *quantize.Survey, note string, err error) {
	switch {
	case len(q.Surveys) == 0:
		if q.Output == "" {
			note = "--stats FILE keeps this survey, so that the real run need not repeat it"
		}
		s, err = q.takeSurvey(ctx)
		return s, note, err
	case q.saved == nil:
		return q.saveSurvey(ctx, q.Surveys[0])
	}
	facts, err := modelFacts(q.m, q.sources)
	if err != nil {
		return nil, "", err
	}
	for i, one := range q.saved {
		why := one.Fit(q.m, facts, q.Budget.Schemes)
		if d := one.Texts.Differ(textFacts(q.recipe, q.cal.Calibration)); why == "" && len(q.saved) == 1 && d != "" {
			why = "it is a survey on other texts: " + d
		}
		if why != "" {
			return nil, "", unfitSurvey(q.Surveys[i], why)
		}
	}
	return quantize.MergeSurveys(q.saved), mergedNote(q.Surveys, q.saved), nil
}

// takeSurvey makes a survey, and first tells what is known before it.
func (q *quantization) takeSurvey(ctx context.Context) (*quantize.Survey, error) {
	if q.Noted != nil {
		for _, note := range append(q.earlyNotes(q.least), q.surveyNote()) {
			q.Noted(note)
		}
	}
	s, err := takeSurvey(ctx, q.m, q.cal.Calibration, q.Budget.Schemes, q.Progress)
	if errors.Is(err, context.Canceled) {
		return nil, &LostError{err}
	}
	return s, err
}

// shortSurvey is the number of tokens on which a survey is still useful, for a user in a hurry.
const shortSurvey = 4096

// surveyNote says what a new survey works on, and what makes it shorter.
func (q *quantization) surveyNote() string {
	matrices := 0
	for _, e := range q.least.Tensors {
		if e.Role != model.Vector {
			matrices++
		}
	}
	tokens := q.cal.Tokens()
	note := fmt.Sprintf("survey of %d matrices on %d tokens, the longest part", matrices, tokens)
	var hints []string
	if tokens > shortSurvey {
		hints = append(hints, fmt.Sprintf("--calib-tokens %d is faster", shortSurvey))
	}
	if len(q.Surveys) == 0 {
		hints = append(hints, "--stats FILE keeps it for the next run")
	}
	if len(hints) == 0 {
		return note
	}
	return note + "; " + strings.Join(hints, ", ")
}

// A LostError is the error of a run that was interrupted during a survey, which is kept only
// when it is finished.
type LostError struct{ Err error }

func (e *LostError) Unwrap() error { return e.Err }
func (e *LostError) Error() string { return e.Err.Error() + "; " + e.Remedy() }

// Remedy returns a sentence about what was lost and how to keep more.
func (e *LostError) Remedy() string {
	return "the unfinished survey is lost; --stats FILE keeps a finished one, and a smaller --calib-tokens makes it shorter"
}

// takeSurvey calls quantize.NewSurvey and reports its progress.
func takeSurvey(ctx context.Context, m *model.Model, cal *quantize.Calibration, schemes []qtensor.Scheme, progress Progress) (*quantize.Survey, error) {
	return quantize.NewSurvey(ctx, m, cal, schemes, progress.stage("survey", Work))
}

func mergedNote(paths []string, saved []*quantize.SavedSurvey) string {
	if len(saved) == 1 {
		return "no new survey: predictions are those of " + defect.Printable(paths[0])
	}
	var parts []string
	for i, s := range saved {
		parts = append(parts, fmt.Sprintf("%s (%d tokens)", defect.Printable(paths[i]), s.Tokens))
	}
	return "no new survey: predictions are the mean of " + strings.Join(parts, ", ")
}

// saveSurvey makes a survey and saves it to path.
func (q *quantization) saveSurvey(ctx context.Context, path string) (s *quantize.Survey, note string, err error) {
	file, err := atomicfile.Create(path, atomicfile.Options{})
	if err != nil {
		return nil, "", fmt.Errorf("--stats %w", err)
	}
	defer file.Abort()
	if s, err = q.takeSurvey(ctx); err != nil {
		return nil, "", err
	}
	facts, err := modelFacts(q.m, q.sources)
	if err != nil {
		return nil, "", err
	}
	saved := quantize.SavedSurvey{Survey: *s, Model: facts, Texts: textFacts(q.recipe, q.cal.Calibration), Tokens: q.recipe.Texts.Tokens}
	text, err := saved.Text()
	if err != nil {
		return nil, "", fmt.Errorf("--stats %s: %w", defect.Printable(path), err)
	}
	if _, err := file.Write(text); err != nil {
		return nil, "", err
	}
	if err := file.Commit(); err != nil {
		return nil, "", err
	}
	return s, "the survey is saved to " + defect.Printable(path) + "; with --stats, runs with other budgets load it from there", nil
}

// surveyFacts returns the digests of merged surveys. A single survey was made on the
// texts of the run, so it adds no fact.
func (q *quantization) surveyFacts() (f quantize.Facts, err error) {
	if len(q.Surveys) < 2 {
		return nil, nil
	}
	for i, path := range q.Surveys {
		text, err := ReadText(context.Background(), "--stats", path, maxSurvey)
		if err != nil {
			return nil, err
		}
		sum := sha256.Sum256([]byte(text))
		f = append(f, [2]string{fmt.Sprintf("--stats, file %d", i+1), hex.EncodeToString(sum[:])})
	}
	return f, nil
}

// modelFacts returns the names and digests of the files that m was read from, and the
// overrides. It waits for the digests.
func modelFacts(m *model.Model, sources *digest.Hashing) (f quantize.Facts, err error) {
	if err := sources.Wait(); err != nil {
		return nil, err
	}
	for _, s := range sources.Sources {
		f = append(f, [2]string{s.Name, hex.EncodeToString(s.SHA256)})
	}
	if set := m.Provenance.Overrides; len(set) > 0 {
		f = append(f, [2]string{"--set", strings.Join(set, " ")})
	}
	return f, nil
}

// textFacts returns the digests of the texts that r is calibrated on, and how they are
// cut.
func textFacts(r *Recipe, texts *quantize.Calibration) (f quantize.Facts) {
	for i, sum := range r.Texts.SHA256 {
		f = append(f, [2]string{fmt.Sprintf("calibration text %d", i+1), sum})
	}
	f = append(f, [2]string{"--calib-tokens", strconv.Itoa(r.Texts.Tokens)}, [2]string{"--calib-context", strconv.Itoa(r.Texts.Context)},
		[2]string{"--calib-seed", strconv.FormatUint(r.Texts.Seed, 10)})
	return append(f, texts.Facts()...)
}
