package verify

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"thimble/convert"
	"thimble/internal/logits"
	"thimble/internal/model"
	"thimble/internal/tokenizer"
	"thimble/verify/metric"
	"thimble/verify/reference"
	"thimble/verify/tasks"
)

// behaviourOf opens a fixture's checkpoint twice: unchanged as the reference, and with
// changed settings as the model.
func behaviourOf(t *testing.T, dir string, set ...string) (*tasks.Behaviour, *model.Model) {
	t.Helper()
	one := func(set []string) (*tasks.Generator, *model.Model) {
		m, err := convert.Open(filepath.Join("../fixtures", dir), convert.Options{Set: set})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { m.Close() })
		s, err := tasks.NewGenerator(t.Context(), m, Arithmetic{})
		if err != nil {
			t.Fatal(err)
		}
		return s, m
	}
	b := &tasks.Behaviour{}
	var m *model.Model
	b.Reference, m = one(nil)
	b.Model, _ = one(set)
	data, err := m.Tokenizer()
	if err == nil {
		b.Tokenizer, err = tokenizer.New(data)
	}
	if err != nil {
		t.Fatal(err)
	}
	return b, m
}

func readTasks(t *testing.T, name string) *tasks.File {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	f, err := tasks.Read(name, string(text))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// A Run of something that cannot be measured fails before any work.
func TestBehaviourErrors(t *testing.T) {
	choices := &tasks.File{Path: "f", Tasks: []tasks.Task{{Kind: "choice"}}}
	b, _ := behaviourOf(t, "llama-tied")
	other, _ := behaviourOf(t, "trained")
	prompts := []reference.Prompt{{IDs: make([]int, 20), From: 10, To: 19}}
	for _, c := range []struct {
		b       *tasks.Behaviour
		gate    string
		prompts []reference.Prompt
		want    string
	}{
		{nil, "acc>=0.4", prompts, "gate acc>=0.4: acc is of tasks: add --tasks FILE"},
		{&tasks.Behaviour{Model: b.Model}, "acc_change>=0.4", prompts, "gate acc_change>=0.4: acc_change is of tasks: add --tasks FILE"},
		{&tasks.Behaviour{Model: b.Model, Tasks: choices}, "api_exact>=1", prompts, "gate api_exact>=1: f has no task of this kind, with a call"},
		{&tasks.Behaviour{Model: b.Model, Tasks: choices}, "acc_change>=-1", prompts, "gate acc_change>=-1: acc_change compares with a model: name it by --against"},
		{&tasks.Behaviour{Model: b.Model, Tasks: choices}, "ppl<=9", nil, "gate ppl<=9: ppl is of positions in a text: add --text FILE"},
		{&tasks.Behaviour{Model: b.Model, Tasks: choices}, "prefix_mean>=9", prompts, "gate prefix_mean>=9: prefix_mean is of continuations: add --continue N"},
		{&tasks.Behaviour{Model: b.Model, Reference: other.Model}, "ppl<=9", prompts, "the reference scores a vocabulary of 1024, the model one of 384: they are not the same model"},
		{&tasks.Behaviour{Model: b.Model, Continue: 3}, "ppl<=9", prompts, "continuations are compared with those of a model, after a text: add --against SRC and --text FILE"},
		{&tasks.Behaviour{Model: b.Model, Reference: b.Reference, Continue: 250}, "ppl<=9", prompts, "prompt 0 and its continuation are 260 tokens, the model's context is 256: use a smaller --continue or --context"},
	} {
		g, err := ParseGate(c.gate)
		if err != nil {
			t.Fatal(err)
		}
		o := Options{Gates: []Gate{g}, Behaviour: c.b}
		if err := checkRun(true, reference.Form{}, 384, c.prompts, &o); err == nil || err.Error() != c.want {
			t.Errorf("%s:\n got %v\nwant %s", c.gate, err, c.want)
		}
	}
}

// A model never diverges from itself. Where another diverges, writing both texts out
// token by token shows the same.
func TestContinuations(t *testing.T) {
	if testing.Short() {
		t.Skip("runs many broken or long models")
	}
	heldout, err := os.ReadFile("../fixtures/trained/heldout.txt")
	if err != nil {
		t.Fatal(err)
	}
	for _, set := range [][]string{nil, {"rope_theta=12000"}} {
		b, m := behaviourOf(t, "trained", set...)
		prompts, err := reference.TextPrompts(b.Tokenizer.Encode(string(heldout), false), 64, 4, -1)
		if err != nil {
			t.Fatal(err)
		}
		scorer, err := reference.NewScorer(m, Arithmetic{}, 0)
		if err != nil {
			t.Fatal(err)
		}
		b.Continue = 18
		text := func(ids []int) string { return string(b.Tokenizer.Decode(ids)) }
		gate := Gate{"prefix_mean", ">=", 18}
		r, err := Run(t.Context(), reference.FromScorer(scorer), scorer, prompts, Options{Behaviour: b, Text: text, Gates: []Gate{gate}})
		if err != nil {
			t.Fatal(err)
		}
		c, divergences, total := r.Continuations, 0, 0.0
		for i, p := range prompts {
			want, got := write(t, b.Reference, p.IDs[:p.From], 18), write(t, b.Model, p.IDs[:p.From], 18)
			same := 0
			for same < 18 && want[same] == got[same] {
				same++
			}
			total += float64(same)
			if c.Prefixes[i] != same {
				t.Errorf("%v, prompt %d: %d tokens are the same, want %d", set, i, c.Prefixes[i], same)
			}
			at := slices.IndexFunc(c.Divergences, func(q tasks.Divergence) bool { return q.Prompt == i })
			if same == 18 {
				if at >= 0 {
					t.Errorf("%v, prompt %d: a divergence where there is none", set, i)
				}
				continue
			}
			divergences++
			q := c.Divergences[at]
			end := min(18, same+16)
			if q.Prefix != same || q.Reference.ID != want[same] || q.Model.ID != got[same] || q.ReferenceText != text(want[same:end]) || q.ModelText != text(got[same:end]) {
				t.Errorf("%v, prompt %d: %+v", set, i, q)
			}
			if !(q.Reference.PReference >= q.Model.PReference && q.Model.PModel >= q.Reference.PModel) {
				t.Errorf("%v, prompt %d: a choice is not the likeliest: %+v", set, i, q)
			}
		}
		if (set == nil) != (divergences == 0) || set != nil && divergences == len(prompts) {
			t.Errorf("%v: %d of %d diverge", set, divergences, len(prompts))
		}
		m1 := r.Metrics
		if float64(m1.PrefixMean) != total/4 || float64(m1.PrefixWhole) != float64(4-divergences)/4 || r.Pass != (divergences == 0) {
			t.Errorf("%v: mean %v, whole %v, pass %v", set, m1.PrefixMean, m1.PrefixWhole, r.Pass)
		}
		if set == nil && !r.Gates[0].Undecided {
			t.Errorf("%v: undecided %v, by %v", set, r.Gates[0].Undecided, r.Intervals)
		}
		if _, unit := r.Sample("prefix_mean"); unit != "prompts" {
			t.Errorf("a prefix is of %s", unit)
		}
	}
}

// write appends the likeliest token n times, and computes each from scratch.
func write(t *testing.T, s *tasks.Generator, ids []int, n int) []int {
	all := slices.Clone(ids)
	for range n {
		s.Reset()
		row, err := s.Logits(t.Context(), all)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, logits.Argmax(row))
	}
	return all[len(ids):]
}

// The figures of tasks are the shares of right answers and the changes within pairs.
func TestTaskScores(t *testing.T) {
	if testing.Short() {
		t.Skip("scores many tasks")
	}
	b, _ := behaviourOf(t, "trained", "rms_norm_eps=0.5")
	b.Tasks = readTasks(t, "tasks/testdata/tasks.jsonl")
	r, err := Run(t.Context(), nil, nothing{1024}, nil, Options{Behaviour: b, Gates: []Gate{{"acc", ">=", 0.1}, {"acc_change", ">=", -0.5}}})
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Tasks.Items) != 11 || len(r.Tasks.Scores) != 7 || r.Metrics.Tokens != 0 {
		t.Fatalf("%d items, %d scores", len(r.Tasks.Items), len(r.Tasks.Scores))
	}
	differ := 0
	for _, s := range r.Tasks.Scores {
		ours, theirs, lost, won := 0, 0, 0, 0
		for _, item := range r.Tasks.Items {
			a, b := slices.Contains(item.Model.Right, s.Metric), slices.Contains(item.Reference.Right, s.Metric)
			if a {
				ours++
			}
			if b {
				theirs++
			}
			if a && !b {
				won++
			}
			if b && !a {
				lost++
			}
		}
		n := float64(s.Items)
		want := tasks.Score{Metric: s.Metric, Items: s.Items, Model: metric.Value(float64(ours) / n), Reference: metric.Value(float64(theirs) / n), Lost: lost, Won: won}
		if s != want {
			t.Errorf("%+v, want %+v", s, want)
		}
		differ += lost + won
		share, change := metric.Find(MetricTable, s.Metric), metric.Find(MetricTable, s.Metric+tasks.ChangeSuffix)
		if share.Of(&r.Metrics) != s.Model || !near(float64(change.Of(&r.Metrics)), float64(s.Model-s.Reference), 1e-12) {
			t.Errorf("%s: the metrics differ", s.Metric)
		}
		if s.Items > 1 && (r.Interval(s.Metric) == nil || r.Interval(s.Metric+tasks.ChangeSuffix) == nil) {
			t.Errorf("%s has no interval", s.Metric)
		}
	}
	if differ == 0 {
		t.Error("the two models are right at the same tasks: nothing was tested")
	}
	for _, e := range r.Tasks.Examples {
		item := r.Tasks.Items[e.Line-1]
		if slices.Contains(item.Model.Right, e.Metric) == e.Lost || slices.Contains(item.Reference.Right, e.Metric) != e.Lost {
			t.Errorf("%+v is no example", e)
		}
	}
	if c := r.Gates[0]; !c.Pass || c.Value != r.Metrics.Acc {
		t.Errorf("%+v", c)
	}
	if n, unit := r.Sample("acc_change"); n != 7 || unit != "tasks" {
		t.Errorf("%d %s", n, unit)
	}
}

// nothing has a vocabulary and no logits.
type nothing struct{ vocab int }

func (n nothing) Vocab() int { return n.vocab }
func (n nothing) Score(context.Context, []int) (reference.Prediction, error) {
	panic("there is nothing to score")
}

// In a report of an earlier version the figures of tasks are unknown, not zero.
func TestMetricsOfEarlierVersion(t *testing.T) {
	var r Report
	if err := json.Unmarshal([]byte(`{"metrics": {"tokens": 9, "kl_mean": 0.5, "acc": 0.25, "acc_norm": null}}`), &r); err != nil {
		t.Fatal(err)
	}
	m := &r.Metrics
	if m.Tokens != 9 || m.KLMean != 0.5 || m.Acc != 0.25 || m.AccNorm.Known() || m.Exact.Known() || m.AccChange.Known() || m.PrefixMean.Known() {
		t.Errorf("%+v", m)
	}
}
