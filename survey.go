package thimble

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"thimble/internal/model"
	"thimble/internal/qtensor"
	"thimble/quantize"
	"thimble/quantize/kept"
)

// UnfinishedSuffix is appended to the name of an output for the file in which a
// calibrated run keeps its finished blocks.
const UnfinishedSuffix = kept.Suffix

// Errors of runs that failed.
type (
	KeptError = kept.BlocksError // finished blocks were kept
	LostError = kept.SurveyError // an unfinished survey was lost
)

// keptRun identifies this run to what earlier runs kept.
func (q *quantization) keptRun() *kept.Run {
	return &kept.Run{Model: q.m, Sources: q.sources, Recipe: q.recipe, Calibration: q.cal.Calibration}
}

// findUnfinished looks for the blocks that an earlier run kept, before any work starts.
func (q *quantization) findUnfinished() (*kept.Blocks, error) {
	planned, measured := q.Output == "", q.measured()
	switch calibrated := q.Calibration.Wanted(q.recipe, q.Budget != nil); {
	case q.Resume && !calibrated:
		return nil, errors.New("--resume has no effect without calibration: only calibrated runs keep finished blocks; leave it out")
	case q.Resume && planned:
		return nil, errors.New("--resume has no effect with --dry-run; leave one out")
	case q.Resume && measured:
		return nil, errors.New("--resume has no effect with --max-kl and --min-top1, which quantize several times and keep no blocks; leave it out, and save the survey with --stats")
	case !calibrated || planned || measured:
		return nil, nil
	}
	return kept.Find(q.Output, q.Resume, q.Overwrite)
}

// facts returns everything that the output bytes of a calibrated run depend on.
func (q *quantization) facts() (quantize.Facts, error) {
	return q.keptRun().Facts(Tool, q.Budget, q.surveys)
}

// readSurveys reads the files of Surveys.
func (q *quantization) readSurveys(ctx context.Context) (err error) {
	var outputs []string
	if q.Output != "" {
		outputs = []string{q.Output, q.Output + UnfinishedSuffix}
	}
	q.surveys, err = kept.ReadSurveys(ctx, q.Surveys, q.Budget.Schemes, outputs)
	return err
}

// survey returns a new survey or that of the files of Surveys; note states which.
func (q *quantization) survey(ctx context.Context) (s *quantize.Survey, note string, err error) {
	s, note, err = q.surveys.Survey(ctx, q.keptRun(), q.Budget.Schemes, q.takeSurvey)
	if len(q.Surveys) == 0 && q.Output == "" {
		note = "--stats FILE keeps this survey, so that the real run need not repeat it"
	}
	return s, note, err
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
		return nil, &LostError{Err: err}
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

// takeSurvey calls quantize.NewSurvey and reports its progress.
func takeSurvey(ctx context.Context, m *model.Model, cal *quantize.Calibration, schemes []qtensor.Scheme, progress Progress) (*quantize.Survey, error) {
	return quantize.NewSurvey(ctx, m, cal, schemes, progress.stage("survey", Work))
}
