package tasks

import (
	"context"
	"fmt"

	"thimble/internal/defect"
	"thimble/internal/textwrap"
	"thimble/verify/metric"
)

// A Report holds the results of a tasks file.
type Report struct {
	File     string    `json:"file"`
	SHA256   string    `json:"sha256"` // of the file, hexadecimal
	Scores   []Score   `json:"scores"`
	Examples []Example `json:"examples,omitempty"` // tasks that the model gets wrong; with a reference, tasks that the two answer differently, losses first
	Items    []Item    `json:"items"`
}

// A Score is one metric over the tasks of its kind.
type Score struct {
	Metric    string       `json:"metric"`
	Items     int          `json:"items"`
	Model     metric.Value `json:"model"` // share of tasks that the model gets right
	Reference metric.Value `json:"reference"`
	Lost      int          `json:"lost"` // items that only the reference gets right
	Won       int          `json:"won"`  // items that only the model gets right
}

// An Example shows a task and its answers as text.
type Example struct {
	Line      int    `json:"line"`
	ID        string `json:"id,omitempty"`
	Metric    string `json:"metric"`    // the metric by which the answer is right or wrong
	Lost      bool   `json:"lost"`      // the model is wrong
	Prompt    string `json:"prompt"`    // its end
	Expected  string `json:"expected"`  // the right answer
	Reference string `json:"reference"` // the reference's answer; empty without a reference
	Model     string `json:"model"`
}

// An Item holds the models' answers to one task.
type Item struct {
	Line      int     `json:"line"`
	ID        string  `json:"id,omitempty"`
	Kind      string  `json:"kind"` // choice, text or call
	Model     Answer  `json:"model"`
	Reference *Answer `json:"reference,omitempty"`
}

const (
	listedExamples = 10
	exampleRunes   = 200 // of each text of an Example
)

// doTasks lets the models answer the tasks, and adds the answers and metrics to out.
func (b *Behaviour) doTasks(ctx context.Context, out *Outcome, seed uint64, progress func()) error {
	all, err := b.questions()
	if err != nil {
		return err
	}
	out.Tasks = &Report{File: b.Tasks.Path, SHA256: b.Tasks.SHA256, Scores: []Score{}}
	for i := range all {
		q := &all[i]
		item := Item{Line: q.Line, ID: q.ID, Kind: q.Kind}
		a, err := b.answer(ctx, b.Model, q)
		if err == nil && b.Reference != nil {
			item.Reference, err = b.answer(ctx, b.Reference, q)
		}
		if err != nil {
			return fmt.Errorf("%s: line %d: %w", defect.Printable(b.Tasks.Path), q.Line, err)
		}
		item.Model = *a
		out.Tasks.Items = append(out.Tasks.Items, item)
		progress()
	}
	for i := range shares {
		out.addShare(&shares[i], seed)
	}
	out.Tasks.addExamples(b.Tasks.Tasks)
	return nil
}

// addShare adds a metric if there are tasks of its kind.
func (o *Outcome) addShare(k *share, seed uint64) {
	var got, change []float64
	s := Score{Metric: k.name, Reference: metric.Unknown}
	for i := range o.Tasks.Items {
		item := &o.Tasks.Items[i]
		if item.Kind != k.kind {
			continue
		}
		ours := oneIf(item.Model.right(k.name))
		got = append(got, ours)
		if item.Reference == nil {
			continue
		}
		theirs := oneIf(item.Reference.right(k.name))
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
	s.Items, s.Model = len(got), metric.Value(metric.Mean(got))
	*k.at(&o.Metrics) = s.Model
	o.addInterval(k.name, got, 0, 1, seed)
	if len(change) > 0 {
		s.Reference = metric.Value((sum(got) - sum(change)) / float64(len(got)))
		*k.change(&o.Metrics) = metric.Value(metric.Mean(change))
		o.addInterval(k.name+ChangeSuffix, change, -1, 1, seed)
	}
	o.Tasks.Scores = append(o.Tasks.Scores, s)
}

func oneIf(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}

func sum(x []float64) (s float64) {
	for _, v := range x {
		s += v
	}
	return s
}

// addExamples picks tasks that are worth a look, each at most once.
func (r *Report) addExamples(tasks []Task) {
	var lost, won []Example
	for i := range r.Items {
		item, t := &r.Items[i], &tasks[i]
		for _, k := range shares {
			ours := item.Model.right(k.name)
			differs := item.Reference == nil && !ours || item.Reference != nil && ours != item.Reference.right(k.name)
			if k.kind != item.Kind || !differs {
				continue
			}
			e := Example{
				Line: t.Line, ID: t.ID, Metric: k.name, Lost: !ours, Prompt: textwrap.Last(t.Prompt, exampleRunes, exampleRunes),
				Expected: example(t.expected()), Model: example(item.Model.words(t, k.name)),
			}
			if item.Reference != nil {
				e.Reference = example(item.Reference.words(t, k.name))
			}
			if e.Lost {
				lost = append(lost, e)
			} else {
				won = append(won, e)
			}
			break
		}
	}
	r.Examples = append(lost, won...)
	r.Examples = r.Examples[:min(len(r.Examples), listedExamples)]
}

func example(text string) string { return textwrap.First(text, exampleRunes, exampleRunes) }
