package verify

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"thimble/internal/defect"
)

// A TaskReport is what became of one task.
type TaskReport struct {
	Line      int     `json:"line"`
	ID        string  `json:"id,omitempty"`
	Kind      string  `json:"kind"` // choice, text or call
	Model     Answer  `json:"model"`
	Reference *Answer `json:"reference,omitempty"`
}

// An Answer is what a model made of a task.
type Answer struct {
	LogLikelihoods []Value  `json:"loglikelihoods,omitempty"` // of each choice, nats
	Text           *string  `json:"text,omitempty"`           // generated, for the other kinds; bytes that are not UTF-8 become U+FFFD
	Right          []string `json:"right"`                    // the metrics by which it is right
}

// An asked task is one in tokens.
type asked struct {
	*Task
	prompt  []int
	choices [][]int // that follow prompt
	most    int     // tokens to generate
}

// ask makes tokens of the tasks, and refuses those that the models cannot read,
// before any is put to them.
func (b *Behaviour) ask() ([]asked, error) {
	all := make([]asked, len(b.Tasks.Tasks))
	for i := range all {
		t := &b.Tasks.Tasks[i]
		all[i] = asked{Task: t}
		fill := all[i].fillGeneration
		if t.Kind == kindChoice {
			fill = all[i].fillChoices
		}
		if err := fill(b); err != nil {
			return nil, fmt.Errorf("%s: line %d: %w", defect.Printable(b.Tasks.Path), t.Line, err)
		}
	}
	return all, nil
}

// open returns the tokens that a text begins with.
func (b *Behaviour) open(text string) (ids []int, err error) {
	if ids = opening(b.Tokenizer, text); len(ids) == 0 {
		ids, err = start(b.Model.spec)
	}
	if err == nil {
		err = checkVocabulary(ids, b.Model.spec.Vocab)
	}
	return ids, err
}

// fillChoices cuts prompt and choice where lm-evaluation-harness does
// (lm_eval/api/model.py, _encode_pair): both are made tokens together, white space
// at the end of the prompt counts as the choice's, and the choice has the tokens
// that are more than the prompt's own.
func (a *asked) fillChoices(b *Behaviour) (err error) {
	prompt := strings.TrimRightFunc(a.Prompt, unicode.IsSpace)
	if a.prompt, err = b.open(prompt); err != nil {
		return err
	}
	before := len(opening(b.Tokenizer, prompt))
	for i, c := range a.Choices {
		whole := opening(b.Tokenizer, a.Prompt+a.Delimiter+c)
		if len(whole) <= before {
			return fmt.Errorf("choice %d adds no token to the prompt; put a space between them", i)
		}
		ids := whole[before:]
		if n := len(a.prompt) + len(ids); n > b.Model.spec.Context {
			return fmt.Errorf("prompt and choice %d have %d tokens, the model's context is %d", i, n, b.Model.spec.Context)
		}
		if err := checkVocabulary(ids, b.Model.spec.Vocab); err != nil {
			return err
		}
		a.choices = append(a.choices, ids)
	}
	return nil
}

func (a *asked) fillGeneration(b *Behaviour) (err error) {
	if a.prompt, err = b.open(a.Prompt); err != nil {
		return err
	}
	room := b.Model.spec.Context - len(a.prompt)
	a.most = a.MaxTokens
	if a.most == 0 {
		a.most = max(1, min(usualTaskTokens, room))
	}
	if a.most > room {
		return fmt.Errorf("the prompt has %d tokens, and %d more are not in the model's context of %d", len(a.prompt), a.most, b.Model.spec.Context)
	}
	return nil
}

// answer puts a task to a model.
func (b *Behaviour) answer(ctx context.Context, s *Speaker, t *asked) (*Answer, error) {
	a := &Answer{Right: []string{}}
	if t.Kind == kindChoice {
		for _, ids := range t.choices {
			l, err := s.likelihood(ctx, slices.Concat(t.prompt, ids), len(t.prompt))
			if err != nil {
				return nil, err
			}
			a.LogLikelihoods = append(a.LogLikelihoods, Value(l))
		}
	} else {
		text, err := b.generate(ctx, s, t)
		if err != nil {
			return nil, err
		}
		a.Text = &text
	}
	a.grade(t.Task)
	return a, nil
}

// generate takes the likeliest token each time, up to the end that the task or the
// model gives the text.
func (b *Behaviour) generate(ctx context.Context, s *Speaker, t *asked) (string, error) {
	ids, text := slices.Clone(t.prompt), ""
	stream := b.Tokenizer.Stream(ids)
	for range t.most {
		id, err := s.next(ctx, ids)
		if err != nil {
			return "", err
		}
		if s.ends(id) {
			break
		}
		piece := string(stream.Add(id))
		text += piece
		if cut, found := cutAt(text, t.Until); found {
			return strings.ToValidUTF8(cut, "\ufffd"), nil
		}
		if t.Kind == kindCall && strings.Contains(piece, "}") && findObject(text) != nil {
			break
		}
		ids = append(ids, id)
	}
	text += string(stream.Flush())
	return strings.ToValidUTF8(text, "\ufffd"), nil
}

// cutAt returns what is before the first of some strings in text.
func cutAt(text string, until []string) (string, bool) {
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

// grade finds by which metrics an answer is right.
func (a *Answer) grade(t *Task) {
	is := func(metric string, right bool) {
		if right {
			a.Right = append(a.Right, metric)
		}
	}
	switch t.Kind {
	case kindChoice:
		for metric := range choiceLengths {
			is(metric, a.choice(t.Choices, metric) == t.Answer)
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

// choiceLengths are what likelihoods are divided by.
var choiceLengths = map[string]func(string) int{
	"acc": func(string) int { return 1 }, "acc_norm": utf8.RuneCountInString, "acc_bytes": func(c string) int { return len(c) },
}

// choice is the first of those that are likeliest by a metric.
func (a *Answer) choice(choices []string, metric string) int {
	best, most, length := 0, 0.0, choiceLengths[metric]
	for i, c := range choices {
		if l := float64(a.LogLikelihoods[i]) / float64(length(c)); i == 0 || l > most {
			best, most = i, l
		}
	}
	return best
}

// says is an answer in words, by a metric.
func (a *Answer) says(t *Task, metric string) string {
	if t.Kind == kindChoice {
		return t.Choices[a.choice(t.Choices, metric)]
	}
	return *a.Text
}

// expects is the right answer in words.
func (t *Task) expects() string {
	switch t.Kind {
	case kindChoice:
		return t.Choices[t.Answer]
	case kindCall:
		return t.Call.String()
	}
	return t.Expected
}
