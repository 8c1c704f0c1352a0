package verify

import (
	"context"
	"encoding/json"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"thimble/convert"
	"thimble/internal/model"
	"thimble/internal/tokenizer"
)

// speakers opens a checkpoint of fixtures, as it is and with settings changed.
func speakers(t *testing.T, dir string, set ...string) (*Behaviour, *model.Model) {
	t.Helper()
	one := func(set []string) (*Speaker, *model.Model) {
		m, err := convert.Open(filepath.Join("../fixtures", dir), convert.Options{Set: set})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { m.Close() })
		s, err := NewSpeaker(m, Arithmetic{})
		if err != nil {
			t.Fatal(err)
		}
		return s, m
	}
	b := &Behaviour{}
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

func readTasks(t *testing.T, name string) *TaskFile {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	f, err := ReadTasks(name, string(text))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// Likelihoods, generated texts and continuations are those of transformers, by
// fixtures/gen/behaviour.py.
func TestBehaviourMatchesTorch(t *testing.T) {
	text, err := os.ReadFile("testdata/behaviour.json")
	if err != nil {
		t.Fatal(err)
	}
	var golden map[string]struct {
		Answers []struct {
			LogLikelihoods []float64
			Text           string
		}
		Continuations [][]int
	}
	if err := json.Unmarshal(text, &golden); err != nil {
		t.Fatal(err)
	}
	heldout, err := os.ReadFile("../fixtures/trained/heldout.txt")
	if err != nil {
		t.Fatal(err)
	}
	lost := regexp.MustCompile("\ufffd+") // readers differ in how many they make of some bytes
	for dir, want := range golden {
		b, _ := speakers(t, dir)
		b.Tasks = readTasks(t, "testdata/tasks.jsonl")
		all, err := b.ask()
		if err != nil {
			t.Fatal(err)
		}
		if len(all) != len(want.Answers) {
			t.Fatalf("%d tasks, the golden has %d", len(all), len(want.Answers))
		}
		for i := range all {
			a, err := b.answer(t.Context(), b.Model, &all[i])
			if err != nil {
				t.Fatal(err)
			}
			if len(a.LogLikelihoods) != len(want.Answers[i].LogLikelihoods) {
				t.Fatalf("%s: line %d has %d likelihoods, want %d", dir, i+1, len(a.LogLikelihoods), len(want.Answers[i].LogLikelihoods))
			}
			for k, l := range want.Answers[i].LogLikelihoods {
				if d := math.Abs(float64(a.LogLikelihoods[k]) - l); !(d <= 1e-4) {
					t.Errorf("%s: line %d, choice %d: %v, want %v", dir, i+1, k, a.LogLikelihoods[k], l)
				}
			}
			if a.Text == nil {
				continue
			}
			got, said := lost.ReplaceAllString(*a.Text, "\ufffd"), lost.ReplaceAllString(want.Answers[i].Text, "\ufffd")
			if got != said {
				t.Errorf("%s: line %d says %q, want %q", dir, i+1, got, said)
			}
		}
		ids := b.Tokenizer.Encode(string(heldout), false)
		for i, said := range want.Continuations {
			got := slices.Clone(ids[i*128 : i*128+64])
			for range said {
				next, err := b.Model.next(t.Context(), got)
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, next)
			}
			if !slices.Equal(got[64:], said) {
				t.Errorf("%s: prompt %d goes on with %v, want %v", dir, i, got[64:], said)
			}
		}
	}
}

// What was read before makes no difference to a likelihood.
func TestSpeakerShares(t *testing.T) {
	b, _ := speakers(t, "mistral") // its window is 21
	random := rand.New(rand.NewPCG(3, 4))
	text := func(n int) []int {
		ids := make([]int, n)
		for i := range ids {
			ids[i] = random.IntN(300)
		}
		return ids
	}
	base := text(60)
	for range 24 {
		ids := slices.Concat(base[:random.IntN(len(base)+1)], text(1+random.IntN(90)))
		from := 1 + random.IntN(len(ids))
		if from == len(ids) {
			ids = append(ids, 1)
		}
		got, err := b.Model.likelihood(t.Context(), ids, from)
		if err != nil {
			t.Fatal(err)
		}
		fresh := &Speaker{spec: b.Model.spec, decoder: b.Model.decoder}
		if fresh.cache, err = b.Model.decoder.NewCache(len(ids)); err != nil {
			t.Fatal(err)
		}
		want, err := fresh.likelihood(t.Context(), ids, from)
		if err != nil {
			t.Fatal(err)
		}
		if got != want {
			t.Fatalf("%d tokens from %d: %v, afresh %v", len(ids), from, got, want)
		}
		if random.IntN(3) == 0 { // as generation leaves it
			if _, err := b.Model.next(t.Context(), slices.Concat(base, text(3))); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func TestGrade(t *testing.T) {
	task := Task{Kind: kindChoice, Choices: []string{"ab", "abcdef", "éééé"}, Answer: 0}
	for _, c := range []struct {
		likelihoods []Value
		right       []string // of answers 0, 1 and 2
	}{
		{[]Value{-2, -9, -9}, []string{"acc acc_bytes acc_norm", "", ""}},
		{[]Value{-4, -6, -8}, []string{"acc", "acc_bytes acc_norm", ""}}, // per character 2, 1, 2
		{[]Value{-4, -7, -4.5}, []string{"acc", "", "acc_bytes acc_norm"}},
	} {
		for answer, right := range c.right {
			task.Answer = answer
			a := Answer{LogLikelihoods: c.likelihoods}
			if a.grade(&task); strings.Join(a.Right, " ") != right {
				t.Errorf("%v, answer %d: %q, want %q", c.likelihoods, answer, a.Right, right)
			}
		}
	}
	// Characters and bytes part: per character -0.5, -0.52 and -0.75, per byte -0.5, -0.52 and -0.375; of equals the first.
	for _, c := range []struct {
		likelihoods []Value
		by          string
		want        int
	}{
		{[]Value{-1, -3.12, -3}, "acc", 0}, {[]Value{-1, -3.12, -3}, "acc_norm", 0}, {[]Value{-1, -3.12, -3}, "acc_bytes", 2},
		{[]Value{-2, -6, -4}, "acc_norm", 0}, {[]Value{-3, -3, -3}, "acc", 0},
	} {
		task.Answer = c.want
		a := Answer{LogLikelihoods: c.likelihoods}
		if a.grade(&task); !a.right(c.by) {
			t.Errorf("%v: by %s it is not %d", c.likelihoods, c.by, c.want)
		}
	}
	for text, want := range map[string]bool{" a b\n": true, "a b": true, "a  b": false, "A b": false, "": false} {
		a := Answer{Text: &text}
		if a.grade(&Task{Kind: kindText, Expected: "a b "}); a.right("exact_match") != want {
			t.Errorf("%q: %v", text, a.Right)
		}
	}
}

func TestCalls(t *testing.T) {
	task, err := ReadTasks("f", `{"prompt": "p", "call": {"name": "set_alarm", "arguments": {"time": "7:00", "days": [1, 2.0], "on": true}}}`)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ text, want string }{
		{`{"name": "set_alarm", "arguments": {"on": true, "days": [1.0, 2], "time": "7:00"}}`, "api_intent api_structure api_exact"},
		{"Sure {as asked}:\n```json\n{\"intent\": \"set_alarm\", \"parameters\": {\"time\": \"8\", \"days\": [], \"on\": null}}``` {", "api_intent api_structure"},
		{`{"type": "function", "function": {"name": "set_alarm", "arguments": "{\"time\": \"7:00\", \"days\": [1, 2], \"on\": true}"}}`, "api_intent api_structure api_exact"},
		{`[{"api": "wake", "args": {"time": "7:00", "days": [1, 2], "on": true}}]`, "api_structure"},
		{`{"name": "set_alarm"}`, "api_intent"},
		{`{"name": "set_alarm", "arguments": {"time": "7:00", "days": [1, 2]}}`, "api_intent"},
		{`{"name": "set_alarm", "arguments": {"time": "7:00", "days": [1, 2], "on": true, "x": 1}}`, "api_intent"},
		{`{"name": "set_alarm", "arguments": {"time": "7:00", "days": [1, 2], "on": true}`, ""}, // does not end
		{`{"name": "set_alarm", "name": "x", "arguments": {}}`, ""},                             // twice
		{`{"name": "set_alarm", "arguments": ["7:00"]}`, ""},                                    // no names
		{`{"name": "set_alarm", "arguments": "7:00"}`, ""},                                      // likewise
		{`{"arguments": {"time": "7:00", "days": [1, 2], "on": true}}`, ""},                     // calls nothing
		{`{} {"name": "set_alarm", "arguments": {}}`, ""},                                       // the first object counts
		{`set_alarm(time="7:00")`, ""},
		{strings.Repeat("{x}", triedObjects) + `{"name": "set_alarm"}`, ""},
		{strings.Repeat(`{"a":`, 1<<12), ""},
		{"", ""},
	} {
		a := Answer{Text: &c.text}
		if a.grade(&task.Tasks[0]); strings.Join(a.Right, " ") != c.want {
			t.Errorf("%q is right by %q, want %q", c.text, a.Right, c.want)
		}
	}
	if got, want := task.Tasks[0].expects(), `{"name":"set_alarm","arguments":{"days":[1,2.0],"on":true,"time":"7:00"}}`; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func TestReadTasksErrors(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"", "f: has no tasks, want one JSON object a line"},
		{"\n", "f: line 1: is empty, want one JSON object a line"},
		{"{\"prompt\": \"p\", \"expected\": \"\"}\n\n", "f: line 2: is empty, want one JSON object a line"},
		{"[]", `f: byte 0: line 1: found an array, want an object`},
		{"{\"prompt\": \"p\", \"expected\": \"\"}\n{\"promt\": 1}", `f: byte 41: line 2, promt: there is no such key, did you mean "prompt"?; the keys are id, prompt, choices, answer, delimiter, expected, call, until, max_tokens`},
		{`{"prompt": 1}`, `f: byte 11: line 1, prompt: found a number, want a string`},
		{`{"prompt": "a", "prompt": "b"}`, `f: byte 24: line 1: key "prompt" occurs twice`},
		{`{"prompt": "a"} {}`, `f: byte 16: line 1: unexpected '{' after the value`},
		{"{\"prompt\": \"\xff\"}", `f: byte 13: line 1, prompt: string is not UTF-8`},
		{`{"expected": "a"}`, `f: byte 0: line 1: there is no prompt`},
		{`{"prompt": "a"}`, `f: byte 0: line 1: want one of choices, expected and call, found 0 of them`},
		{`{"prompt": "a", "expected": "b", "choices": ["a", "b"]}`, `f: byte 0: line 1: want one of choices, expected and call, found 2 of them`},
		{`{"prompt": "a", "expected": "b", "answer": 0}`, `f: byte 0: line 1: answer does not go with this kind of task`},
		{`{"prompt": "a", "choices": ["b", "c"], "answer": 0, "until": []}`, `f: byte 0: line 1: until does not go with this kind of task`},
		{`{"prompt": "a", "choices": ["b"], "answer": 0}`, `f: byte 0: line 1: 1 choices, want at least 2`},
		{`{"prompt": "a", "choices": ["b", "c"]}`, `f: byte 0: line 1: there is no answer, the index of the right choice from 0`},
		{`{"prompt": "a", "choices": ["b", "c"], "answer": 2}`, `f: byte 0: line 1: answer 2 of 2 choices, the first is 0`},
		{`{"prompt": "a", "choices": ["b", "c"], "answer": -1}`, `f: byte 51: line 1, answer: "-1", want a whole number of at most 64 bits`},
		{`{"prompt": "a", "choices": ["b", ""], "answer": 0}`, `f: byte 35: line 1, choices: string 1 is empty`},
		{`{"prompt": "a ", "choices": ["b", "c"], "answer": 0}`, `f: byte 0: line 1: the prompt ends in white space and the delimiter begins with it: leave it out of one of them, or set "delimiter": ""`},
		{`{"prompt": "a", "choices": ["b", " c"], "answer": 0}`, `f: byte 0: line 1: choice 1 begins with white space and the delimiter ends in it: leave it out of one of them, or set "delimiter": ""`},
		{`{"prompt": "a", "expected": "b", "max_tokens": 0}`, `f: byte 48: line 1, max_tokens: found 0, want 1 to 16384`},
		{`{"prompt": "a", "expected": "b", "max_tokens": 18446744073709551615}`, `f: byte 67: line 1, max_tokens: found 18446744073709551615, want 0 to 16384`},
		{`{"prompt": "a", "call": {"arguments": {}}}`, `f: byte 41: line 1, call: the call has no name`},
		{`{"prompt": "a", "call": {"name": "f", "args": {}}}`, `f: byte 45: line 1, call.args: there is no such key, want name and arguments`},
		{`{"prompt": "a", "call": {"name": "f", "arguments": []}}`, `f: byte 51: line 1, call.arguments: want an object of arguments by name`},
		{`{"prompt": "` + strings.Repeat("a", maxTaskLine) + `"}`, `f: line 1: takes 1048590 bytes, want at most 1048576`},
	} {
		if _, err := ReadTasks("f", c.text); err == nil || err.Error() != c.want {
			t.Errorf("%.60q:\n got %v\nwant %s", c.text, err, c.want)
		}
	}
}

func FuzzReadTasks(f *testing.F) {
	text, err := os.ReadFile("testdata/tasks.jsonl")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(string(text))
	f.Add(`{"prompt": "p", "call": {"name": "f", "arguments": {"a": [1e400, {"b": null}]}}}`)
	f.Fuzz(func(t *testing.T, text string) {
		file, err := ReadTasks("f", text)
		if err != nil {
			return
		}
		for i := range file.Tasks {
			task := &file.Tasks[i]
			said := task.expects()
			if task.Kind != kindCall {
				continue
			}
			a := Answer{Text: &said}
			if a.grade(task); len(a.Right) != 3 {
				t.Errorf("%s is right by %v", said, a.Right)
			}
		}
	})
}

// Tasks that the model cannot read are refused before any is put to it.
func TestAskErrors(t *testing.T) {
	b, _ := speakers(t, "trained")
	for _, c := range []struct{ text, want string }{
		{`{"prompt": "o", "choices": ["f", "r"], "answer": 0, "delimiter": ""}`, "f: line 1: choice 0 adds no token to the prompt; put a space between them"},
		{`{"prompt": "` + strings.Repeat("x = y; ", 300) + `", "expected": "z"}`, "tokens, and 1 more are not in the model's context of 512"},
		{`{"prompt": "a", "expected": "z", "max_tokens": 512}`, "f: line 1: the prompt has 1 tokens, and 512 more are not in the model's context of 512"},
		{`{"prompt": "a", "choices": ["b", "` + strings.Repeat("x = y; ", 300) + `"], "answer": 0}`, "the model's context is 512"},
	} {
		var err error
		if b.Tasks, err = ReadTasks("f", c.text); err != nil {
			t.Fatal(err)
		}
		if _, err := b.ask(); err == nil || !strings.HasSuffix(err.Error(), c.want) {
			t.Errorf("%.60q:\n got %v\nwant %s", c.text, err, c.want)
		}
	}
}

// What is asked for in vain is refused before any work.
func TestBehaviourErrors(t *testing.T) {
	choices := &TaskFile{Path: "f", Tasks: []Task{{Kind: kindChoice}}}
	b, _ := speakers(t, "llama-tied")
	other, _ := speakers(t, "trained")
	prompts := []Prompt{{make([]int, 20), 10, 19}}
	for _, c := range []struct {
		b       *Behaviour
		gate    string
		prompts []Prompt
		want    string
	}{
		{nil, "acc>=0.4", prompts, "gate acc>=0.4: acc is of tasks: add --tasks FILE"},
		{&Behaviour{Model: b.Model}, "acc_change>=0.4", prompts, "gate acc_change>=0.4: acc_change is of tasks: add --tasks FILE"},
		{&Behaviour{Model: b.Model, Tasks: choices}, "api_exact>=1", prompts, "gate api_exact>=1: f has no task of this kind, with a call"},
		{&Behaviour{Model: b.Model, Tasks: choices}, "acc_change>=-1", prompts, "gate acc_change>=-1: acc_change compares with a model: name it by --against"},
		{&Behaviour{Model: b.Model, Tasks: choices}, "ppl<=9", nil, "gate ppl<=9: ppl is of positions in a text: add --text FILE"},
		{&Behaviour{Model: b.Model, Tasks: choices}, "prefix_mean>=9", prompts, "gate prefix_mean>=9: prefix_mean is of continuations: add --continue N"},
		{&Behaviour{Model: b.Model, Reference: other.Model}, "ppl<=9", prompts, "the reference scores a vocabulary of 1024, the model one of 384: they are not the same model"},
		{&Behaviour{Model: b.Model, Continue: 3}, "ppl<=9", prompts, "continuations are compared with those of a model, after a text: add --against SRC and --text FILE"},
		{&Behaviour{Model: b.Model, Reference: b.Reference, Continue: 250}, "ppl<=9", prompts, "prompt 0 and its continuation are 260 tokens, the model's context is 256: use a smaller --continue or --context"},
	} {
		g, err := ParseGate(c.gate)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.b.check([]Gate{g}, c.prompts); err == nil || err.Error() != c.want {
			t.Errorf("%s:\n got %v\nwant %s", c.gate, err, c.want)
		}
	}
}

func TestMeanInterval(t *testing.T) {
	if _, _, ok := meanInterval([]float64{1}, 0, 1, 0); ok {
		t.Error("one item has an interval")
	}
	// None of 30 wrong: up to 11.6 % may be (Clopper and Pearson).
	if low, high, _ := meanInterval(slices.Repeat([]float64{1}, 30), 0, 1, 0); math.Abs(low-0.8843) > 1e-4 || high != 1 {
		t.Errorf("all right: %v to %v", low, high)
	}
	if low, high, _ := meanInterval(make([]float64, 30), -1, 1, 0); math.Abs(low+0.1157) > 1e-4 || low != -high {
		t.Errorf("no change: %v to %v", low, high)
	}
	random := rand.New(rand.NewPCG(1, 2))
	held := 0
	const times = 400
	for i := range times {
		x := make([]float64, 60)
		for k := range x {
			x[k] = share01(random.Float64() < 0.7)
		}
		if low, high, _ := meanInterval(x, 0, 1, uint64(i)); low <= 0.7 && 0.7 <= high {
			held++
		}
	}
	if t.Logf("%d of %d intervals hold the truth", held, times); held < times*91/100 || held > times*98/100 {
		t.Errorf("%d of %d intervals hold the truth", held, times)
	}
}

// A model continues as itself does; where another goes on differently is found by
// writing both texts out.
func TestContinuations(t *testing.T) {
	heldout, err := os.ReadFile("../fixtures/trained/heldout.txt")
	if err != nil {
		t.Fatal(err)
	}
	for _, set := range [][]string{nil, {"rope_theta=12000"}} {
		b, m := speakers(t, "trained", set...)
		prompts, err := TextPrompts(b.Tokenizer.Encode(string(heldout), false), 64, 4, -1)
		if err != nil {
			t.Fatal(err)
		}
		subject, err := NewSubject(m, 0)
		if err != nil {
			t.Fatal(err)
		}
		b.Continue = 18
		text := func(ids []int) string { return string(b.Tokenizer.Decode(ids)) }
		gate := Gate{"prefix_mean", ">=", 18}
		r, err := Run(t.Context(), subject, subject, prompts, Options{Behaviour: b, Text: text, Gates: []Gate{gate}})
		if err != nil {
			t.Fatal(err)
		}
		c, partings, total := r.Continuations, 0, 0.0
		for i, p := range prompts {
			want, got := speak(t, b.Reference, p.IDs[:p.From], 18), speak(t, b.Model, p.IDs[:p.From], 18)
			same := 0
			for same < 18 && want[same] == got[same] {
				same++
			}
			total += float64(same)
			if c.Prefixes[i] != same {
				t.Errorf("%v, prompt %d: %d tokens are the same, want %d", set, i, c.Prefixes[i], same)
			}
			at := slices.IndexFunc(c.Partings, func(q Parting) bool { return q.Prompt == i })
			if same == 18 {
				if at >= 0 {
					t.Errorf("%v, prompt %d: a parting where there is none", set, i)
				}
				continue
			}
			partings++
			q := c.Partings[at]
			end := min(18, same+partedTokens)
			if q.Prefix != same || q.Reference.ID != want[same] || q.Model.ID != got[same] || q.ReferenceText != text(want[same:end]) || q.ModelText != text(got[same:end]) {
				t.Errorf("%v, prompt %d: %+v", set, i, q)
			}
			if !(q.Reference.PReference >= q.Model.PReference && q.Model.PModel >= q.Reference.PModel) {
				t.Errorf("%v, prompt %d: a choice is not the likeliest: %+v", set, i, q)
			}
		}
		if (set == nil) != (partings == 0) || set != nil && partings == len(prompts) {
			t.Errorf("%v: %d of %d part", set, partings, len(prompts))
		}
		m1 := r.Metrics
		if float64(m1.PrefixMean) != total/4 || float64(m1.PrefixWhole) != float64(4-partings)/4 || r.Pass != (partings == 0) {
			t.Errorf("%v: mean %v, whole %v, pass %v", set, m1.PrefixMean, m1.PrefixWhole, r.Pass)
		}
		if set == nil && !r.Gates[0].Undecided {
			t.Errorf("%v: undecided %v, by %v", set, r.Gates[0].Undecided, r.Intervals)
		}
		if _, what := r.sampled("prefix_mean"); what != "prompts" {
			t.Errorf("a prefix is of %s", what)
		}
	}
}

// speak takes the likeliest token n times, afresh each time.
func speak(t *testing.T, s *Speaker, ids []int, n int) []int {
	all := slices.Clone(ids)
	for range n {
		s.held = nil
		next, err := s.next(t.Context(), all)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, next)
	}
	return all[len(ids):]
}

// The figures of tasks are the shares of those that are right, and of pairs.
func TestTaskScores(t *testing.T) {
	b, _ := speakers(t, "trained", "rms_norm_eps=0.5")
	b.Tasks = readTasks(t, "testdata/tasks.jsonl")
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
			a, b := item.Model.right(s.Metric), item.Reference.right(s.Metric)
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
		want := TaskScore{s.Metric, s.Items, Value(float64(ours) / n), Value(float64(theirs) / n), lost, won}
		if s != want {
			t.Errorf("%+v, want %+v", s, want)
		}
		differ += lost + won
		k := taskMetricOf(s.Metric)
		if *k.at(&r.Metrics.BehaviourMetrics) != s.Model || !near(float64(*k.change(&r.Metrics.BehaviourMetrics)), float64(s.Model-s.Reference), 1e-12) {
			t.Errorf("%s: the metrics are others", s.Metric)
		}
		if s.Items > 1 && (r.intervalOf(s.Metric) == nil || r.intervalOf(s.Metric+changeSuffix) == nil) {
			t.Errorf("%s has no interval", s.Metric)
		}
	}
	if differ == 0 {
		t.Error("the two models are right at the same tasks: nothing was tested")
	}
	for _, e := range r.Tasks.Examples {
		item := r.Tasks.Items[e.Line-1]
		if item.Model.right(e.Metric) == e.Lost || item.Reference.right(e.Metric) != e.Lost {
			t.Errorf("%+v is no example", e)
		}
	}
	if c := r.Gates[0]; !c.Pass || c.Value != r.Metrics.Acc {
		t.Errorf("%+v", c)
	}
	if n, what := r.sampled("acc_change"); n != 7 || what != "tasks" {
		t.Errorf("%d %s", n, what)
	}
}

// nothing has a vocabulary.
type nothing struct{ vocab int }

func (n nothing) Vocab() int { return n.vocab }
func (n nothing) Score(context.Context, []int) (Logits, error) {
	panic("there is nothing to score")
}

// A report of an earlier version has no figures of tasks, rather than zeros.
func TestMetricsOfBefore(t *testing.T) {
	var r Report
	if err := json.Unmarshal([]byte(`{"metrics": {"tokens": 9, "kl_mean": 0.5, "acc": 0.25, "acc_norm": null}}`), &r); err != nil {
		t.Fatal(err)
	}
	m := &r.Metrics
	if m.Tokens != 9 || m.KLMean != 0.5 || m.Acc != 0.25 || m.AccNorm.Known() || m.Exact.Known() || m.AccChange.Known() || m.PrefixMean.Known() {
		t.Errorf("%+v", m)
	}
}
