package tasks

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"thimble/convert"
	"thimble/internal/logits"
	"thimble/internal/model"
	"thimble/internal/tokenizer"
	"thimble/verify/metric"
)

// behaviourOf opens a fixture's checkpoint twice: unchanged as the reference, and with
// changed settings as the model.
func behaviourOf(t *testing.T, dir string, set ...string) (*Behaviour, *model.Model) {
	t.Helper()
	one := func(set []string) (*Generator, *model.Model) {
		m, err := convert.Open(filepath.Join("../../fixtures", dir), convert.Options{Set: set})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { m.Close() })
		s, err := NewGenerator(t.Context(), m, Arithmetic{})
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

func readTasks(t *testing.T, name string) *File {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	f, err := Read(name, string(text))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// Likelihoods, generated texts and continuations equal those of transformers, which
// fixtures/gen/behaviour.py wrote.
func TestBehaviourMatchesTorch(t *testing.T) {
	if testing.Short() {
		t.Skip("scores many tasks")
	}
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
	heldout, err := os.ReadFile("../../fixtures/trained/heldout.txt")
	if err != nil {
		t.Fatal(err)
	}
	lost := regexp.MustCompile("\ufffd+") // decoders differ in how many they write for some bytes
	for dir, want := range golden {
		b, _ := behaviourOf(t, dir)
		b.Tasks = readTasks(t, "testdata/tasks.jsonl")
		all, err := b.questions()
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
			got, expected := lost.ReplaceAllString(*a.Text, "\ufffd"), lost.ReplaceAllString(want.Answers[i].Text, "\ufffd")
			if got != expected {
				t.Errorf("%s: line %d says %q, want %q", dir, i+1, got, expected)
			}
		}
		ids := b.Tokenizer.Encode(string(heldout), false)
		for i, continuation := range want.Continuations {
			got := slices.Clone(ids[i*128 : i*128+64])
			for range continuation {
				row, err := b.Model.Logits(t.Context(), got)
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, logits.Argmax(row))
			}
			if !slices.Equal(got[64:], continuation) {
				t.Errorf("%s: prompt %d continues with %v, want %v", dir, i, got[64:], continuation)
			}
		}
	}
}

func TestGrade(t *testing.T) {
	task := Task{Kind: kindChoice, Choices: []string{"ab", "abcdef", "éééé"}, Answer: 0}
	for _, c := range []struct {
		likelihoods []metric.Value
		right       []string // of answers 0, 1 and 2
	}{
		{[]metric.Value{-2, -9, -9}, []string{"acc acc_bytes acc_norm", "", ""}},
		{[]metric.Value{-4, -6, -8}, []string{"acc", "acc_bytes acc_norm", ""}}, // per character 2, 1, 2
		{[]metric.Value{-4, -7, -4.5}, []string{"acc", "", "acc_bytes acc_norm"}},
	} {
		for answer, right := range c.right {
			task.Answer = answer
			a := Answer{LogLikelihoods: c.likelihoods}
			if a.grade(&task); strings.Join(a.Right, " ") != right {
				t.Errorf("%v, answer %d: %q, want %q", c.likelihoods, answer, a.Right, right)
			}
		}
	}
	// Characters and bytes differ: per character -0.5, -0.52 and -0.75, per byte -0.5, -0.52 and -0.375; of ties the first.
	for _, c := range []struct {
		likelihoods []metric.Value
		by          string
		want        int
	}{
		{[]metric.Value{-1, -3.12, -3}, "acc", 0}, {[]metric.Value{-1, -3.12, -3}, "acc_norm", 0}, {[]metric.Value{-1, -3.12, -3}, "acc_bytes", 2},
		{[]metric.Value{-2, -6, -4}, "acc_norm", 0}, {[]metric.Value{-3, -3, -3}, "acc", 0},
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
	task, err := Read("f", `{"prompt": "p", "call": {"name": "set_alarm", "arguments": {"time": "7:00", "days": [1, 2.0], "on": true}}}`)
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
	if got, want := task.Tasks[0].expected(), `{"name":"set_alarm","arguments":{"days":[1,2.0],"on":true,"time":"7:00"}}`; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func TestReadErrors(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"", "f: has no tasks, want one JSON object a line"},
		{"\n", "f: line 1: is empty, want one JSON object a line"},
		{"{\"prompt\": \"p\", \"expected\": \"\"}\n\n", "f: line 2: is empty, want one JSON object a line"},
		{"[]", `f: byte 0: line 1: found an array, want an object`},
		{"{\"prompt\": \"p\", \"expected\": \"\"}\n{\"promt\": 1}", `f: byte 41: line 2, promt: there is no such key (did you mean "prompt"?); the keys are id, prompt, choices, answer, delimiter, expected, call, until, max_tokens`},
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
		if _, err := Read("f", c.text); err == nil || err.Error() != c.want {
			t.Errorf("%.60q:\n got %v\nwant %s", c.text, err, c.want)
		}
	}
}

func FuzzRead(f *testing.F) {
	text, err := os.ReadFile("testdata/tasks.jsonl")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(string(text))
	f.Add(`{"prompt": "p", "call": {"name": "f", "arguments": {"a": [1e400, {"b": null}]}}}`)
	f.Fuzz(func(t *testing.T, text string) {
		file, err := Read("f", text)
		if err != nil {
			return
		}
		for i := range file.Tasks {
			task := &file.Tasks[i]
			expected := task.expected()
			if task.Kind != kindCall {
				continue
			}
			a := Answer{Text: &expected}
			if a.grade(task); len(a.Right) != 3 {
				t.Errorf("%s is right by %v", expected, a.Right)
			}
		}
	})
}

// Tasks that the model cannot read are an error before any model runs.
func TestQuestionErrors(t *testing.T) {
	b, _ := behaviourOf(t, "trained")
	for _, c := range []struct{ text, want string }{
		{`{"prompt": "o", "choices": ["f", "r"], "answer": 0, "delimiter": ""}`, "f: line 1: choice 0 adds no token to the prompt; put a space between them"},
		{`{"prompt": "` + strings.Repeat("x = y; ", 300) + `", "expected": "z"}`, "tokens, and 1 more are not in the model's context of 512"},
		{`{"prompt": "a", "expected": "z", "max_tokens": 512}`, "f: line 1: the prompt has 1 tokens, and 512 more are not in the model's context of 512"},
		{`{"prompt": "a", "choices": ["b", "` + strings.Repeat("x = y; ", 300) + `"], "answer": 0}`, "the model's context is 512"},
	} {
		var err error
		if b.Tasks, err = Read("f", c.text); err != nil {
			t.Fatal(err)
		}
		if _, err := b.questions(); err == nil || !strings.HasSuffix(err.Error(), c.want) {
			t.Errorf("%.60q:\n got %v\nwant %s", c.text, err, c.want)
		}
	}
}

// Any text is read as a call or as none without a panic, and a call equals itself.
func FuzzCall(f *testing.F) {
	for _, text := range []string{
		`{"name": "f", "arguments": {"a": [1, 2.0, {"b": null}]}}`, `{"function": {"name": "f", "arguments": "{\"a\": 1}"}}`, `{x} {"api": "f"}`, `{"name": "f", "args": {"a": 1e999}}`, "{{{{",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		c := callIn(text)
		if c == nil {
			return
		}
		again := callIn(c.String())
		if again == nil || !c.same(again) || !c.sameStructure(again) {
			t.Errorf("%q has the call %s, which reads back as %v", text, c, again)
		}
	})
}
