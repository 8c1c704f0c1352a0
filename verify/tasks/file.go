package tasks

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"thimble/internal/defect"
	"thimble/internal/spell"
	"thimble/internal/strictjson"
)

// MaxBytes is the largest size of a tasks file.
const MaxBytes = 256 << 20

// Limits on the contents of a tasks file.
const (
	maxTaskLine   = 1 << 20 // bytes
	maxTasks      = 1 << 20
	maxChoices    = 256
	maxUntil      = 16
	maxTaskTokens = 1 << 14 // max_tokens
)

// usualTaskTokens is the number of tokens to generate for a task without max_tokens.
const usualTaskTokens = 256

// The kinds of tasks.
const (
	kindChoice = "choice"
	kindText   = "text"
	kindCall   = "call"
)

// A Task is an item of a tasks file.
type Task struct {
	Line      int
	ID        string
	Kind      string // "choice", "text" or "call"
	Prompt    string
	Choices   []string // of a choice task
	Delimiter string   // between the prompt and a choice
	Answer    int      // index of the right choice
	Expected  string   // of a text task
	Call      *Call    // of a call task
	Until     []string // strings that end the generated text
	MaxTokens int      // of the generated text; 0 if the task does not set it
}

// A File is a tasks file.
type File struct {
	Path   string
	SHA256 string // hexadecimal
	Tasks  []Task
}

// Read reads the text of a tasks file, which is JSONL: one object a line, such as
//
//	{"prompt": "The capital of France is", "choices": ["Rome", "Paris"], "answer": 1}
//	{"prompt": "2 + 2 =", "expected": "4", "until": ["\n"], "max_tokens": 8}
//	{"prompt": "Wake me at 7.", "call": {"name": "set_alarm", "arguments": {"time": "7:00"}}}
//
// docs/NUMERICS.md lists every key. path is for error messages.
func Read(path, text string) (*File, error) {
	sum := sha256.Sum256([]byte(text))
	f := &File{Path: path, SHA256: hex.EncodeToString(sum[:])}
	for base, n := 0, 1; base < len(text); n++ {
		line, _, _ := strings.Cut(text[base:], "\n")
		switch {
		case n > maxTasks:
			return nil, defect.Corrupt(path, "", "more than %d lines", maxTasks)
		case strings.TrimSpace(line) == "":
			return nil, defect.Corrupt(path, fmt.Sprintf("line %d", n), "is empty, want one JSON object a line")
		case len(line) > maxTaskLine:
			return nil, defect.Corrupt(path, fmt.Sprintf("line %d", n), "takes %d bytes, want at most %d", len(line), maxTaskLine)
		}
		t, err := parseTask(path, base, line)
		if err != nil {
			return nil, inLine(n, err)
		}
		t.Line = n
		f.Tasks = append(f.Tasks, *t)
		base += len(line) + 1
	}
	if len(f.Tasks) == 0 {
		return nil, defect.Corrupt(path, "", "has no tasks, want one JSON object a line")
	}
	return f, nil
}

// inLine adds a line number to an error.
func inLine(n int, err error) error {
	where := fmt.Sprintf("line %d", n)
	if c := (*defect.CorruptError)(nil); errors.As(err, &c) {
		if c.Field != "" {
			where += ", " + c.Field
		}
		c.Field = where
		return c
	}
	return fmt.Errorf("%s: %w", where, err)
}

var taskKeys = []string{"id", "prompt", "choices", "answer", "delimiter", "expected", "call", "until", "max_tokens"}

// parseTask parses a line that begins at byte base of the file.
func parseTask(path string, base int, line string) (*Task, error) {
	d := strictjson.NewDecoder(path, base, []byte(line))
	start := *d
	t := &Task{Delimiter: " ", Answer: -1}
	given := map[string]bool{}
	err := d.Object(func(key string) error {
		given[key] = true
		return t.field(d, key)
	})
	if err == nil {
		err = d.End()
	}
	if err == nil {
		err = t.finish(&start, given)
	}
	return t, err
}

// field reads the value of a key.
func (t *Task) field(d *strictjson.Decoder, key string) (err error) {
	switch key {
	case "id":
		t.ID, err = d.String()
	case "prompt":
		t.Prompt, err = d.String()
	case "choices":
		t.Choices, err = stringsOf(d, maxChoices)
	case "answer":
		t.Answer, err = below(d, maxChoices)
	case "delimiter":
		t.Delimiter, err = d.String()
	case "expected":
		t.Expected, err = d.String()
	case "call":
		t.Call, err = expectedCall(d)
	case "until":
		t.Until, err = stringsOf(d, maxUntil)
	case "max_tokens":
		t.MaxTokens, err = below(d, maxTaskTokens+1)
		if err == nil && t.MaxTokens == 0 {
			err = d.Fail("found 0, want 1 to %d", maxTaskTokens)
		}
	default:
		return d.Fail("there is no such key%s; the keys are %s", spell.Suggest(key, taskKeys), strings.Join(taskKeys, ", "))
	}
	return err
}

// stringsOf reads a list of strings, none of them empty.
func stringsOf(d *strictjson.Decoder, most int) (all []string, err error) {
	err = d.Array(func(i int) error {
		if i == most {
			return d.Fail("more than %d strings", most)
		}
		s, err := d.String()
		if err == nil && s == "" {
			err = d.Fail("string %d is empty", i)
		}
		all = append(all, s)
		return err
	})
	return all, err
}

// below reads a whole number less than n.
func below(d *strictjson.Decoder, n uint64) (int, error) {
	v, err := d.Uint()
	if err == nil && v >= n {
		err = d.Fail("found %d, want 0 to %d", v, n-1)
	}
	return int(min(v, n)), err
}

// restricted lists the keys that only some kinds of task may have.
var restricted = []struct{ key, kind string }{
	{"answer", kindChoice}, {"delimiter", kindChoice}, {"until", kindText + kindCall}, {"max_tokens", kindText + kindCall},
}

// finish sets the kind of t and checks that its keys make a valid task. given holds
// the keys of the line.
func (t *Task) finish(d *strictjson.Decoder, given map[string]bool) error {
	kinds := 0
	for _, k := range []struct{ key, kind string }{{"choices", kindChoice}, {"expected", kindText}, {"call", kindCall}} {
		if given[k.key] {
			t.Kind = k.kind
			kinds++
		}
	}
	switch {
	case !given["prompt"]:
		return d.Fail("there is no prompt")
	case kinds != 1:
		return d.Fail("want one of choices, expected and call, found %d of them", kinds)
	}
	for _, o := range restricted {
		if given[o.key] && !strings.Contains(o.kind, t.Kind) {
			return d.Fail("%s does not go with this kind of task", o.key)
		}
	}
	if t.Kind == kindText && len(t.Until) == 0 && !given["until"] {
		t.Until = []string{"\n\n"}
	}
	if t.Kind != kindChoice {
		return nil
	}
	switch {
	case len(t.Choices) < 2:
		return d.Fail("%d choices, want at least 2", len(t.Choices))
	case !given["answer"]:
		return d.Fail("there is no answer, the index of the right choice from 0")
	case t.Answer >= len(t.Choices):
		return d.Fail("answer %d of %d choices, the first is 0", t.Answer, len(t.Choices))
	}
	return t.checkSpaces(d)
}

// checkSpaces returns an error if there is white space on both sides of either end of
// the delimiter: a tokenizer would turn it into tokens that ordinary text does not
// contain.
func (t *Task) checkSpaces(d *strictjson.Decoder) error {
	const remedy = `leave it out of one of them, or set "delimiter": ""`
	first, _ := utf8.DecodeRuneInString(t.Delimiter)
	last, _ := utf8.DecodeLastRuneInString(t.Delimiter)
	if t.Delimiter == "" {
		return nil
	}
	if end, _ := utf8.DecodeLastRuneInString(t.Prompt); unicode.IsSpace(first) && unicode.IsSpace(end) {
		return d.Fail("the prompt ends in white space and the delimiter begins with it: %s", remedy)
	}
	for i, c := range t.Choices {
		if start, _ := utf8.DecodeRuneInString(c); unicode.IsSpace(last) && unicode.IsSpace(start) {
			return d.Fail("choice %d begins with white space and the delimiter ends in it: %s", i, remedy)
		}
	}
	return nil
}
