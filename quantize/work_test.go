package quantize

import (
	"testing"

	"thimble/internal/model"
	"thimble/internal/qtensor"
)

// A checkWork is a progress function that requires rising shares of one total.
type checkWork struct {
	t           *testing.T
	calls       int
	done, total int64
}

func (c *checkWork) report(done, total int64) {
	if c.calls > 0 && (total != c.total || done < c.done) || done > total || c.calls > 1 && c.done == c.total {
		c.t.Errorf("%d of %d after %d of %d", done, total, c.done, c.total)
	}
	c.calls++
	c.done, c.total = done, total
}

// finished requires that all work was reported, in at least so many steps.
func (c *checkWork) finished(what string, steps int) {
	c.t.Helper()
	if c.calls < steps || c.done != c.total || c.total == 0 {
		c.t.Errorf("%s: %d calls, the last of which is %d of %d", what, c.calls, c.done, c.total)
	}
}

// A survey, the float model that runs ahead and a run report exactly the work that they
// announced, also with shared layers.
func TestWorkIsWhatWasAnnounced(t *testing.T) {
	for _, change := range []func(s *model.Spec){
		nil,
		func(s *model.Spec) { s.Tied = false },
		func(s *model.Spec) { s.Schedule = []int{0, 0, 1, 1} },
	} {
		m := livelyModel(t, change)
		schemes := []qtensor.Scheme{scheme(t, "int4/g32"), scheme(t, "int5/g32")}
		survey := &checkWork{t: t}
		if _, err := NewSurvey(t.Context(), m, randomTexts(3, 40, m.Spec.Vocab), schemes, survey.report); err != nil {
			t.Fatal(err)
		}
		survey.finished("survey", 20)

		p := calibratedPlan(t, m, Recipe{Scheme: "int4/g32"})
		c := randomTexts(3, 40, m.Spec.Vocab)
		ahead, rounded := &checkWork{t: t}, &checkWork{t: t}
		c.Ahead = ahead.report
		work := p.Work(m, c)
		rounded.report(work(0))
		if rounded.done != 0 {
			t.Errorf("%d is done before the run", rounded.done)
		}
		if err := Run(t.Context(), m, p, c, new(discard), func(weights int64) { rounded.report(work(weights)) }); err != nil {
			t.Fatal(err)
		}
		rounded.finished("run", len(p.Tensors))
		if m.Spec.Tied {
			ahead.finished("run ahead", 8)
		}
	}
}

// A layer takes more work per weight than a vector, and more with texts than without.
func TestWorkFollowsTheCost(t *testing.T) {
	m := livelyModel(t, nil)
	p := calibratedPlan(t, m, Recipe{Scheme: "int4/g32"})
	_, plain := p.Work(m, nil)(0)
	if plain != p.Weights {
		t.Errorf("without texts the work is %d, want %d weights", plain, p.Weights)
	}
	_, few := p.Work(m, randomTexts(1, 10, m.Spec.Vocab))(0)
	_, many := p.Work(m, randomTexts(8, 60, m.Spec.Vocab))(0)
	if !(plain < few && few < many) {
		t.Errorf("work is %d, %d with few texts, %d with many", plain, few, many)
	}
}
