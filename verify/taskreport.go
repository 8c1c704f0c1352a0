package verify

import (
	"context"
	"fmt"
	"slices"

	"thimble/internal/defect"
)

// Tasks are the outcome of a tasks file.
type Tasks struct {
	File     string        `json:"file"`
	SHA256   string        `json:"sha256"` // of the file, hexadecimal
	Scores   []TaskScore   `json:"scores"`
	Examples []TaskExample `json:"examples,omitempty"` // what the model gets wrong; beside a reference, what the two make differently, losses first
	Items    []TaskReport  `json:"items"`
}

// A TaskScore is a metric of the tasks of its kind.
type TaskScore struct {
	Metric    string `json:"metric"`
	Items     int    `json:"items"`
	Model     Value  `json:"model"` // share
	Reference Value  `json:"reference"`
	Lost      int    `json:"lost"` // items that only the reference gets right
	Won       int    `json:"won"`  // items that only the model gets right
}

// A TaskExample shows a task in words.
type TaskExample struct {
	Line      int    `json:"line"`
	ID        string `json:"id,omitempty"`
	Metric    string `json:"metric"`    // that tells wrong from right
	Lost      bool   `json:"lost"`      // the model is wrong
	Prompt    string `json:"prompt"`    // its end
	Expected  string `json:"expected"`  // the right answer
	Reference string `json:"reference"` // the reference's; empty without one
	Model     string `json:"model"`
}

// How many examples there are, and how long their texts.
const (
	listedExamples = 10
	exampleRunes   = 200
)

// tasks puts the tasks to the models.
func (b *Behaviour) tasks(ctx context.Context, r *Report, seed uint64, progress func()) error {
	all, err := b.ask()
	if err != nil {
		return err
	}
	r.Tasks = &Tasks{File: b.Tasks.Path, SHA256: b.Tasks.SHA256, Scores: []TaskScore{}}
	for i := range all {
		t := &all[i]
		item := TaskReport{Line: t.Line, ID: t.ID, Kind: t.Kind}
		a, err := b.answer(ctx, b.Model, t)
		if err == nil && b.Reference != nil {
			item.Reference, err = b.answer(ctx, b.Reference, t)
		}
		if err != nil {
			return fmt.Errorf("%s: line %d: %w", defect.Printable(b.Tasks.Path), t.Line, err)
		}
		item.Model = *a
		r.Tasks.Items = append(r.Tasks.Items, item)
		progress()
	}
	for i := range taskMetrics {
		r.addScore(&taskMetrics[i], seed)
	}
	r.Tasks.examples(b.Tasks.Tasks)
	return nil
}

// addScore adds a metric to the report, if there are items for it.
func (r *Report) addScore(k *taskMetric, seed uint64) {
	var got, change []float64
	s := TaskScore{Metric: k.name, Reference: unknown}
	for i := range r.Tasks.Items {
		item := &r.Tasks.Items[i]
		if item.Kind != k.kind {
			continue
		}
		ours := share01(item.Model.right(k.name))
		got = append(got, ours)
		if item.Reference == nil {
			continue
		}
		theirs := share01(item.Reference.right(k.name))
		change = append(change, ours-theirs)
		switch {
		case ours < theirs:
			s.Lost++
		case ours > theirs:
			s.Won++
		}
	}
	if len(got) == 0 {
		return
	}
	s.Items, s.Model = len(got), Value(mean(got))
	*k.at(&r.Metrics.BehaviourMetrics) = s.Model
	r.addInterval(k.name, got, 0, 1, seed)
	if len(change) > 0 {
		s.Reference = Value((sum(got) - sum(change)) / float64(len(got)))
		*k.change(&r.Metrics.BehaviourMetrics) = Value(mean(change))
		r.addInterval(k.name+changeSuffix, change, -1, 1, seed)
	}
	r.Tasks.Scores = append(r.Tasks.Scores, s)
}

func share01(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}

func (a *Answer) right(metric string) bool { return slices.Contains(a.Right, metric) }

// examples picks what is worth looking at, each task once.
func (s *Tasks) examples(tasks []Task) {
	var lost, won []TaskExample
	for i := range s.Items {
		item, t := &s.Items[i], &tasks[i]
		for _, k := range taskMetrics {
			ours := item.Model.right(k.name)
			differs := item.Reference == nil && !ours || item.Reference != nil && ours != item.Reference.right(k.name)
			if k.kind != item.Kind || !differs {
				continue
			}
			e := TaskExample{Line: t.Line, ID: t.ID, Metric: k.name, Lost: !ours, Prompt: ending(t.Prompt, exampleRunes, exampleRunes), Expected: example(t.expects()), Model: example(item.Model.says(t, k.name))}
			if item.Reference != nil {
				e.Reference = example(item.Reference.says(t, k.name))
			}
			if e.Lost {
				lost = append(lost, e)
			} else {
				won = append(won, e)
			}
			break
		}
	}
	s.Examples = append(lost, won...)
	s.Examples = s.Examples[:min(len(s.Examples), listedExamples)]
}

func example(text string) string { return beginning(text, exampleRunes, exampleRunes) }

// beginning and ending are the first and the last kept characters of a text that has
// more than most.
func beginning(text string, most, kept int) string {
	if r := []rune(text); len(r) > most {
		return string(r[:kept]) + "..."
	}
	return text
}

func ending(text string, most, kept int) string {
	if r := []rune(text); len(r) > most {
		return "..." + string(r[len(r)-kept:])
	}
	return text
}
