package kept

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"thimble/internal/atomicfile"
	"thimble/internal/defect"
	"thimble/internal/qtensor"
	"thimble/internal/texts"
	"thimble/quantize"
)

// maxSurvey is the maximum size of a saved survey, in bytes: 15,000 matrices in a hundred
// schemes take 40 MB.
const maxSurvey = 64 << 20

// Surveys are saved surveys, or the file for a new one, or none.
type Surveys struct {
	paths []string
	saved []*quantize.SavedSurvey // nil if a new one is to be made
}

// ReadSurveys reads saved surveys of the schemes, as far as they can be checked without the
// model's digests. If the only file does not exist, it checks that the file can be written:
// outputs are what the run writes.
func ReadSurveys(ctx context.Context, paths []string, schemes []qtensor.Scheme, outputs []string) (*Surveys, error) {
	s := &Surveys{paths: paths}
	for _, path := range paths {
		if path == "-" {
			return nil, errors.New("--stats -: a survey is saved to a file; name one")
		}
		text, err := texts.Read(ctx, "--stats", path, maxSurvey)
		if len(paths) == 1 && errors.Is(err, fs.ErrNotExist) {
			return s, checkNew(path, outputs)
		}
		if errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("--stats %s: there is no such file; a run with this --stats alone makes it", defect.Printable(path))
		}
		if err != nil {
			return nil, err
		}
		one, err := quantize.ParseSurvey(path, []byte(text))
		if err != nil {
			return nil, err
		}
		if why := one.Covers(schemes); why != "" {
			return nil, unfit(path, why)
		}
		s.saved = append(s.saved, one)
	}
	return s, nil
}

// unfit returns the error for a saved survey that is of another run.
func unfit(path, why string) error {
	return fmt.Errorf("--stats %s: %s; remove it to survey again, or name another file", defect.Printable(path), why)
}

// checkNew returns an error if a survey cannot be saved to path.
func checkNew(path string, outputs []string) error {
	if slices.ContainsFunc(outputs, func(other string) bool { return filepath.Clean(other) == filepath.Clean(path) }) {
		return fmt.Errorf("--stats %s: is where -o writes to; name another file", defect.Printable(path))
	}
	if err := atomicfile.Check(path, atomicfile.Options{}); err != nil {
		return fmt.Errorf("--stats %w", err)
	}
	return nil
}

// Survey returns the saved surveys, merged, if they fit r and the schemes; otherwise the one
// that take makes, which it saves if there is a file for it. note says which, or is "".
func (s *Surveys) Survey(ctx context.Context, r *Run, schemes []qtensor.Scheme, take func(context.Context) (*quantize.Survey, error)) (survey *quantize.Survey, note string, err error) {
	switch {
	case len(s.paths) == 0:
		survey, err = take(ctx)
		return survey, "", err
	case s.saved == nil:
		return save(ctx, s.paths[0], r, take)
	}
	facts, err := r.ModelFacts()
	if err != nil {
		return nil, "", err
	}
	for i, one := range s.saved {
		why := one.Fit(r.Model, facts, schemes)
		if d := one.Texts.Differ(r.TextFacts()); why == "" && len(s.saved) == 1 && d != "" {
			why = "it is a survey on other texts: " + d
		}
		if why != "" {
			return nil, "", unfit(s.paths[i], why)
		}
	}
	return quantize.MergeSurveys(s.saved), s.note(), nil
}

func (s *Surveys) note() string {
	if len(s.saved) == 1 {
		return "no new survey: predictions are those of " + defect.Printable(s.paths[0])
	}
	var parts []string
	for i, one := range s.saved {
		parts = append(parts, fmt.Sprintf("%s (%d tokens)", defect.Printable(s.paths[i]), one.Tokens))
	}
	return "no new survey: predictions are the mean of " + strings.Join(parts, ", ")
}

// save takes a survey and saves it to path.
func save(ctx context.Context, path string, r *Run, take func(context.Context) (*quantize.Survey, error)) (s *quantize.Survey, note string, err error) {
	file, err := atomicfile.Create(path, atomicfile.Options{})
	if err != nil {
		return nil, "", fmt.Errorf("--stats %w", err)
	}
	defer file.Abort()
	if s, err = take(ctx); err != nil {
		return nil, "", err
	}
	facts, err := r.ModelFacts()
	if err != nil {
		return nil, "", err
	}
	saved := quantize.SavedSurvey{Survey: *s, Model: facts, Texts: r.TextFacts(), Tokens: r.Recipe.Texts.Tokens}
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

// facts returns the digests of merged surveys. A single survey was made on the texts of the
// run, so it adds no fact.
func (s *Surveys) facts() (f quantize.Facts, err error) {
	if len(s.paths) < 2 {
		return nil, nil
	}
	for i, path := range s.paths {
		text, err := texts.Read(context.Background(), "--stats", path, maxSurvey)
		if err != nil {
			return nil, err
		}
		sum := sha256.Sum256([]byte(text))
		f = append(f, [2]string{fmt.Sprintf("--stats, file %d", i+1), hex.EncodeToString(sum[:])})
	}
	return f, nil
}

// A SurveyError is the error of a run that was interrupted during a survey, which is kept only
// when it is finished.
type SurveyError struct{ Err error }

func (e *SurveyError) Unwrap() error { return e.Err }
func (e *SurveyError) Error() string { return e.Err.Error() + "; " + e.Remedy() }

// Remedy returns a sentence about what was lost and how to keep more.
func (e *SurveyError) Remedy() string {
	return "the unfinished survey is lost; --stats FILE keeps a finished one, and a smaller --calib-tokens makes it shorter"
}
