package rows

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"thimble/internal/defect"
	"thimble/internal/label"
	"thimble/internal/model"
	"thimble/internal/qtensor"
	"thimble/internal/texts"
	"thimble/quantize"
	"thimble/quantize/calibration"
	"thimble/quantize/order"
	"thimble/target"
)

// A Set is the rows that are made from one model, with one calibration text and one survey.
type Set struct {
	Model       *model.Model
	Rows        []*Row
	Calibration *calibration.Options
	Tool        string                                  // name and version of this program, which files record
	Open        func(path string) (*model.Model, error) // opens an existing file

	Texts calibration.Texts // set by Calibrate
}

// Group returns the number of columns of the groups for which the channels of r's model are
// reordered, or 0; see order.Group.
func (s *Set) Group(r *Row) int {
	if r.Budget != nil {
		return order.Group(s.Model, r.Recipe, r.Budget.Schemes, nil)
	}
	return order.GroupOf(s.Model, r.Recipe, r.Plan)
}

// Check completes the budgets and finds all that is wrong with the rows and needs no survey. longest
// is the length of the longest chunk to be scored. It returns the schemes that rows choose from.
func (s *Set) Check(longest int) (all []qtensor.Scheme, err error) {
	for _, r := range s.Rows {
		if r.Budget != nil {
			if r.Budget, err = s.file(r).Complete(r.Budget, r.Recipe.EntropyCoded); err != nil {
				return nil, fmt.Errorf("row %s: schemes: %w", r.Name, err)
			}
		}
		if err := s.check(r, longest); err != nil {
			return nil, fmt.Errorf("row %s: %w", r.Name, err)
		}
		if r.Budget == nil {
			continue
		}
		for _, x := range r.Budget.Schemes {
			if !slices.Contains(all, x) {
				all = append(all, x)
			}
		}
	}
	return all, nil
}

// Calibrate reads the calibration text if any row needs it, and records it in the recipes of these.
// It returns what they record.
func (s *Set) Calibrate(ctx context.Context, progress calibration.Progress) (*quantize.Texts, error) {
	shared := &quantize.Recipe{}
	if slices.ContainsFunc(s.Rows, func(r *Row) bool { return r.Calibrated }) {
		shared.Method = calibration.DefaultMethod
	}
	var err error
	if s.Texts, err = s.Calibration.Read(ctx, s.Model, shared, false, false, progress); err != nil {
		return nil, err
	}
	for _, r := range s.Rows {
		if r.Calibrated {
			r.Recipe.Texts = shared.Texts
		}
	}
	return shared.Texts, nil
}

// Choose chooses the schemes of the rows with a budget from survey, and plans all rows that are to
// be made.
func (s *Set) Choose(survey *quantize.Survey) error {
	for _, r := range s.Rows {
		if r.File != "" {
			continue
		}
		err := s.choose(r, survey)
		if err == nil {
			err = s.plan(r, r.Recipe)
		}
		if err != nil {
			return fmt.Errorf("row %s: %w", r.Name, err)
		}
	}
	return nil
}

// FileName returns the name of the row's container.
func (r *Row) FileName() string { return label.FileName(r.Name) + ".thimble" }

// file describes the file that r's target reads.
func (s *Set) file(r *Row) *target.File {
	return &target.File{Model: cmp.Or(r.Model, s.Model), Exporter: r.Target, Tool: s.Tool, Container: r.FileName()}
}

func (s *Set) check(r *Row, longest int) error {
	switch {
	case r.File != "":
		return s.checkFile(r, longest)
	case r.Budget != nil:
		complete := r.Budget.Complete(s.Model, r.Recipe)
		complete.Texts = s.Calibration.Unread(s.Model, complete.Texts)
		_, err := s.file(r).Smallest(r.Budget, complete)
		return err
	}
	same := *r.Recipe
	if r.Calibrated {
		same.Texts = s.Calibration.Unread(s.Model, nil)
	}
	return s.plan(r, &same)
}

// checkFile returns an error unless r's file is a model with the same vocabulary that can read
// chunks of the longest length.
func (s *Set) checkFile(r *Row, longest int) error {
	q, err := s.Open(r.File)
	if err != nil {
		return err
	}
	defer q.Close()
	if q.Spec.Vocab != s.Model.Spec.Vocab {
		return fmt.Errorf("%s: has a vocabulary of %d, the model's is %d: it is not the same model", defect.Printable(r.File), q.Spec.Vocab, s.Model.Spec.Vocab)
	}
	return texts.CheckContext(q, longest, fmt.Sprintf("use --context %d or less", q.Spec.Context))
}

// plan sets r's plan of recipe and, with a target, the size of the exported file.
func (s *Set) plan(r *Row, recipe *quantize.Recipe) (err error) {
	if r.Plan, err = quantize.NewPlan(s.Model, recipe); err != nil {
		return err
	}
	s.expect(r, order.GroupOf(s.Model, recipe, r.Plan))
	if r.Target == nil {
		return nil
	}
	if _, _, err = s.file(r).Types(r.Plan); err == nil {
		r.Exported, err = s.file(r).Size(r.Plan)
	}
	return err
}

// expect sets the model of which r's files are planned.
func (s *Set) expect(r *Row, group int) {
	if r.Model = s.Model; group > 0 {
		r.Model = order.Expected(s.Model)
	}
}

// choose completes r's recipe if it has a budget.
func (s *Set) choose(r *Row, survey *quantize.Survey) error {
	if r.Budget == nil {
		return nil
	}
	s.expect(r, s.Group(r))
	some, err := survey.Only(r.Budget.Schemes)
	if err != nil {
		return err
	}
	if some.Together, err = s.file(r).Together(); err != nil {
		return err
	}
	file, err := s.file(r).Limited(r.Budget)
	if err != nil {
		return err
	}
	r.Recipe, r.Predicted, err = r.Budget.Choose(r.Model, r.Budget.Complete(s.Model, r.Recipe), some, file)
	return err
}
