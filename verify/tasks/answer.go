package tasks

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"thimble/internal/defect"
	"thimble/internal/logits"
	"thimble/verify/metric"
)

// An Answer is a model's answer to a task.
type Answer struct {
	LogLikelihoods []metric.Value `json:"loglikelihoods,omitempty"` // of each choice, nats
	Text           *string        `json:"text,omitempty"`           // the generated text, for the other kinds; bytes that are not UTF-8 become U+FFFD
	Right          []string       `json:"right"`                    // the metrics by which the answer is right
}

// A question is a tokenized task.
type question struct {
	*Task
	prompt  []int
	choices [][]int // the tokens of each choice, which follow prompt
	most    int     // the most tokens to generate
}

// questions tokenizes the tasks. Before any model runs, it returns an error if the
// models cannot read one of them.
func (b *Behaviour) questions() ([]question, error) {
	all := make([]question, len(b.Tasks.Tasks))
	for i := range all {
		t := &b.Tasks.Tasks[i]
		all[i] = question{Task: t}
		tokenize := all[i].tokenizePrompt
		if t.Kind == kindChoice {
			tokenize = all[i].tokenizeChoices
		}
		if err := tokenize(b); err != nil {
			return nil, fmt.Errorf("%s: line %d: %w", defect.Printable(b.Tasks.Path), t.Line, err)
		}
	}
	return all, nil
}

// tokenizeChoices splits prompt and choice where lm-evaluation-harness does
// (lm_eval/api/model.py, _encode_pair): it moves white space from the end of the
// prompt to the choice, tokenizes both together, and gives the choice the tokens
// beyond those of the prompt alone.
func (q *question) tokenizeChoices(b *Behaviour) (err error) {
	prompt := strings.TrimRightFunc(q.Prompt, unicode.IsSpace)
	if q.prompt, err = b.opening(prompt); err != nil {
		return err
	}
	before := len(b.encode(prompt))
	spec := b.Model.Spec()
	for i, c := range q.Choices {
		whole := b.encode(q.Prompt + q.Delimiter + c)
		if len(whole) <= before {
			return fmt.Errorf("choice %d adds no token to the prompt; put a space between them", i)
		}
		ids := whole[before:]
		if n := len(q.prompt) + len(ids); n > spec.Context {
			return fmt.Errorf("prompt and choice %d have %d tokens, the model's context is %d", i, n, spec.Context)
		}
		if err := checkVocabulary(ids, spec.Vocab); err != nil {
			return err
		}
		q.choices = append(q.choices, ids)
	}
	return nil
}

func (q *question) tokenizePrompt(b *Behaviour) (err error) {
	if q.prompt, err = b.opening(q.Prompt); err != nil {
		return err
	}
	context := b.Model.Spec().Context
	room := context - len(q.prompt)
	q.most = q.MaxTokens
	if q.most == 0 {
		q.most = max(1, min(usualTaskTokens, room))
	}
	if q.most > room {
		return fmt.Errorf("the prompt has %d tokens, and %d more are not in the model's context of %d", len(q.prompt), q.most, context)
	}
	return nil
}

// encode tokenizes a text for a model. The tokens begin with the one that starts a
// text, if the tokenizer has one, and have none that ends it.
func (b *Behaviour) encode(text string) []int {
	ids := b.Tokenizer.Encode(text, false)
	if bos := b.Tokenizer.Start(); bos >= 0 {
		ids = append([]int{bos}, ids...)
	}
	return ids
}

// opening returns the tokens of a prompt, at least one.
func (b *Behaviour) opening(text string) ([]int, error) {
	ids, spec := b.encode(text), b.Model.Spec()
	if len(ids) == 0 {
		switch {
		case spec.BOS >= 0:
			ids = []int{spec.BOS}
		case len(spec.EOS) > 0:
			ids = []int{spec.EOS[0]}
		default:
			return nil, errors.New("the prompt is empty and the model has no token that starts a text")
		}
	}
	return ids, checkVocabulary(ids, spec.Vocab)
}

// checkVocabulary returns an error if a token is not in the model's vocabulary.
func checkVocabulary(ids []int, vocab int) error {
	for _, id := range ids {
		if id < 0 || id >= vocab {
			return fmt.Errorf("token id %d is outside the model's vocabulary of %d", id, vocab)
		}
	}
	return nil
}

// answer lets a model answer q.
func (b *Behaviour) answer(ctx context.Context, g *Generator, q *question) (*Answer, error) {
	a := &Answer{Right: []string{}}
	if q.Kind == kindChoice {
		for _, ids := range q.choices {
			l, err := g.LogLikelihood(ctx, slices.Concat(q.prompt, ids), len(q.prompt))
			if err != nil {
				return nil, err
			}
			a.LogLikelihoods = append(a.LogLikelihoods, metric.Value(l))
		}
	} else {
		text, err := b.write(ctx, g, q)
		if err != nil {
			return nil, err
		}
		a.Text = &text
	}
	a.grade(q.Task)
	return a, nil
}

// write lets the model continue the prompt with its likeliest token each time, until
// the task's limits or the model's own end token stop it.
func (b *Behaviour) write(ctx context.Context, g *Generator, q *question) (string, error) {
	text, ended := "", false
	stream := b.Tokenizer.Stream(q.prompt)
	_, err := g.Continue(ctx, q.prompt, q.most, logits.Argmax, func(id int) (more bool, err error) {
		added := string(stream.Add(id))
		text += added
		if text, ended = cutAt(text, q.Until); ended {
			return false, nil
		}
		return !(q.Kind == kindCall && strings.Contains(added, "}") && findObject(text) != nil), nil
	})
	if err != nil {
		return "", err
	}
	if !ended {
		text += string(stream.Flush())
	}
	return strings.ToValidUTF8(text, "\ufffd"), nil
}

// cutAt returns the part of text before the first occurrence of any string in until,
// and whether there is one.
func cutAt(text string, until []string) (before string, found bool) {
	at := -1
	for _, u := range until {
		if i := strings.Index(text, u); i >= 0 && (at < 0 || i < at) {
			at = i
		}
	}
	if at < 0 {
		return text, false
	}
	return text[:at], true
}

// grade lists the metrics by which an answer is right.
func (a *Answer) grade(t *Task) {
	is := func(name string, right bool) {
		if right {
			a.Right = append(a.Right, name)
		}
	}
	switch t.Kind {
	case kindChoice:
		for name := range choiceLengths {
			is(name, a.choice(t.Choices, name) == t.Answer)
		}
		slices.Sort(a.Right)
	case kindText:
		is("exact_match", strings.TrimSpace(*a.Text) == strings.TrimSpace(t.Expected))
	case kindCall:
		if c := callIn(*a.Text); c != nil {
			is("api_intent", c.Name == t.Call.Name)
			is("api_structure", c.sameStructure(t.Call))
			is("api_exact", c.same(t.Call))
		}
	}
}

// right reports whether an answer is right by a metric.
func (a *Answer) right(name string) bool { return slices.Contains(a.Right, name) }

// choiceLengths holds the length by which each metric divides a log-likelihood.
var choiceLengths = map[string]func(string) int{
	"acc": func(string) int { return 1 }, "acc_norm": utf8.RuneCountInString, "acc_bytes": func(c string) int { return len(c) },
}

// choice returns the likeliest choice by a metric. Of several equal ones it returns
// the first.
func (a *Answer) choice(choices []string, name string) int {
	best, most, length := 0, 0.0, choiceLengths[name]
	for i, c := range choices {
		if l := float64(a.LogLikelihoods[i]) / float64(length(c)); i == 0 || l > most {
			best, most = i, l
		}
	}
	return best
}

// words returns the answer as text. The metric decides which choice counts.
func (a *Answer) words(t *Task, name string) string {
	if t.Kind == kindChoice {
		return t.Choices[a.choice(t.Choices, name)]
	}
	return *a.Text
}

// expected returns the right answer as text.
func (t *Task) expected() string {
	switch t.Kind {
	case kindChoice:
		return t.Choices[t.Answer]
	case kindCall:
		return t.Call.String()
	}
	return t.Expected
}
