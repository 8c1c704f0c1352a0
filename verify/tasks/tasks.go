// Package tasks measures the text that a model writes: the share of a file's tasks
// that it answers correctly, and the length over which its greedy continuations of a
// text agree with a reference's.
//
// A task either has choices, of which the likeliest is the model's answer, or expects
// a text or a function call, which the model writes. Read parses tasks files.
// Behaviour selects what to measure, and its Run measures it. docs/NUMERICS.md
// defines the file format, the grading and the metrics.
package tasks

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"thimble/internal/defect"
	"thimble/internal/generate"
	"thimble/internal/model"
	"thimble/internal/tokenizer"
	"thimble/internal/transformer"
	"thimble/verify/metric"
	"thimble/verify/reference"
)

type (
	// Model is the type that convert, quantize and format open and return.
	Model = model.Model

	// Arithmetic sets the rounding of activations, keys and values in a run. The zero
	// value rounds nothing and runs in float32.
	Arithmetic = transformer.Arithmetic

	// Tokenizer turns text into tokens and back.
	Tokenizer = tokenizer.Tokenizer

	// Generator continues token sequences with a model.
	Generator = generate.Generator
)

// NewGenerator returns a Generator that runs m in arithmetic a.
func NewGenerator(ctx context.Context, m *Model, a Arithmetic) (*Generator, error) {
	plain, err := generate.Plain(ctx, m)
	if err != nil {
		return nil, err
	}
	return generate.New(plain, a)
}

// A Behaviour selects what to measure in the text that a model writes.
type Behaviour struct {
	Model     *Generator
	Reference *Generator // nil without a reference
	Tokenizer *Tokenizer
	Tasks     *File // nil without tasks
	Continue  int   // number of tokens to add to the first half of each prompt; 0 for no continuations

	Progress func(done, total int) // called with the tasks and prompts done so far; may be nil
}

// Metrics holds the figures of tasks and continuations. A change is the model's
// figure minus the reference's, on the same tasks.
type Metrics struct {
	Acc       metric.Value `json:"acc"`       // share of choice tasks where the likeliest choice is right
	AccNorm   metric.Value `json:"acc_norm"`  // the same, by log-likelihood per character
	AccBytes  metric.Value `json:"acc_bytes"` // the same, per byte
	Exact     metric.Value `json:"exact_match"`
	Intent    metric.Value `json:"api_intent"`    // share of call tasks where the function is right
	Structure metric.Value `json:"api_structure"` // share where the names of the arguments are right too
	Call      metric.Value `json:"api_exact"`     // share where the whole call is right

	AccChange       metric.Value `json:"acc_change"`
	AccNormChange   metric.Value `json:"acc_norm_change"`
	AccBytesChange  metric.Value `json:"acc_bytes_change"`
	ExactChange     metric.Value `json:"exact_match_change"`
	IntentChange    metric.Value `json:"api_intent_change"`
	StructureChange metric.Value `json:"api_structure_change"`
	CallChange      metric.Value `json:"api_exact_change"`

	PrefixMean   metric.Value `json:"prefix_mean"`   // tokens
	PrefixMedian metric.Value `json:"prefix_median"` // tokens
	PrefixWhole  metric.Value `json:"prefix_whole"`  // share of continuations that are equal throughout
}

// A share is the metric of one kind of task: the share that is right.
type share struct {
	name, kind string
	means      string
	at, change func(*Metrics) *metric.Value
}

var shares = []share{
	{"acc", kindChoice, "right by likelihood", func(m *Metrics) *metric.Value { return &m.Acc }, func(m *Metrics) *metric.Value { return &m.AccChange }},
	{"acc_norm", kindChoice, "right by likelihood per character", func(m *Metrics) *metric.Value { return &m.AccNorm }, func(m *Metrics) *metric.Value { return &m.AccNormChange }},
	{"acc_bytes", kindChoice, "right by likelihood per byte", func(m *Metrics) *metric.Value { return &m.AccBytes }, func(m *Metrics) *metric.Value { return &m.AccBytesChange }},
	{"exact_match", kindText, "the expected text", func(m *Metrics) *metric.Value { return &m.Exact }, func(m *Metrics) *metric.Value { return &m.ExactChange }},
	{"api_intent", kindCall, "the right function", func(m *Metrics) *metric.Value { return &m.Intent }, func(m *Metrics) *metric.Value { return &m.IntentChange }},
	{"api_structure", kindCall, "the right names of arguments", func(m *Metrics) *metric.Value { return &m.Structure }, func(m *Metrics) *metric.Value { return &m.StructureChange }},
	{"api_exact", kindCall, "the right call", func(m *Metrics) *metric.Value { return &m.Call }, func(m *Metrics) *metric.Value { return &m.CallChange }},
}

// ChangeSuffix is appended to the name of a share to form the name of its change.
const ChangeSuffix = "_change"

// Table lists the metrics of Metrics.
var Table = table()

func table() (all []metric.Entry[Metrics]) {
	for _, s := range shares {
		all = append(all, metric.Entry[Metrics]{Name: s.name, Unit: metric.Tasks, Share: true, Of: func(m *Metrics) metric.Value { return *s.at(m) }, Means: s.means})
	}
	for _, s := range shares {
		all = append(all, metric.Entry[Metrics]{Name: s.name + ChangeSuffix, Unit: metric.Tasks, Share: true, Signed: true, Reference: true,
			Of: func(m *Metrics) metric.Value { return *s.change(m) }, Means: "less the reference's"})
	}
	return append(all, []metric.Entry[Metrics]{
		{Name: "prefix_mean", Unit: metric.Prompts, Reference: true, Of: func(m *Metrics) metric.Value { return m.PrefixMean }, Means: "tokens before greedy texts diverge"},
		{Name: "prefix_median", Unit: metric.Prompts, Reference: true, Of: func(m *Metrics) metric.Value { return m.PrefixMedian }, Means: "tokens, likewise"},
		{Name: "prefix_whole", Unit: metric.Prompts, Share: true, Reference: true, Of: func(m *Metrics) metric.Value { return m.PrefixWhole }, Means: "share of texts that never do"},
	}...)
}

// Unmeasured returns Metrics in which nothing is measured.
func Unmeasured() (m Metrics) {
	for _, s := range shares {
		*s.at(&m), *s.change(&m) = metric.Unknown, metric.Unknown
	}
	m.PrefixMean, m.PrefixMedian, m.PrefixWhole = metric.Unknown, metric.Unknown, metric.Unknown
	return m
}

// Measures returns nil if Run measures the metric called name, and otherwise an error
// that names what is missing. b may be nil.
func (b *Behaviour) Measures(name string) error {
	switch e := metric.Find(Table, name); {
	case e == nil:
		return fmt.Errorf("%s is of neither tasks nor continuations", name)
	case e.Unit == metric.Prompts && (b == nil || b.Continue == 0):
		return fmt.Errorf("%s is of continuations: add --continue N", name)
	case e.Unit == metric.Prompts:
		return nil
	}
	i := slices.IndexFunc(shares, func(s share) bool { return name == s.name || name == s.name+ChangeSuffix })
	s := &shares[i]
	switch {
	case b == nil || b.Tasks == nil:
		return fmt.Errorf("%s is of tasks: add --tasks FILE", name)
	case !slices.ContainsFunc(b.Tasks.Tasks, func(t Task) bool { return t.Kind == s.kind }):
		with := map[string]string{kindChoice: "choices", kindText: "an expected text", kindCall: "a call"}[s.kind]
		return fmt.Errorf("%s has no task of this kind, with %s", defect.Printable(b.Tasks.Path), with)
	case name != s.name && b.Reference == nil:
		return fmt.Errorf("%s compares with a model: name it by --against", name)
	}
	return nil
}

// Check returns an error if Run cannot measure what b selects with these prompts. b
// may be nil.
func (b *Behaviour) Check(prompts []reference.Prompt) error {
	switch {
	case b == nil:
		return nil
	case b.Reference != nil && b.Reference.Spec().Vocab != b.Model.Spec().Vocab:
		return fmt.Errorf("the reference scores a vocabulary of %d, the model one of %d: they are not the same model", b.Reference.Spec().Vocab, b.Model.Spec().Vocab)
	case b.Continue == 0:
		return nil
	case b.Reference == nil || len(prompts) == 0:
		return errors.New("continuations are compared with those of a model, after a text: add --against SRC and --text FILE")
	}
	context := min(b.Model.Spec().Context, b.Reference.Spec().Context)
	for i, p := range prompts {
		if n := p.From + b.Continue; n > context {
			return fmt.Errorf("prompt %d and its continuation are %d tokens, the model's context is %d: use a smaller --continue or --context", i, n, context)
		}
	}
	return nil
}

// An Outcome holds the results of Run. Parts that b did not select are nil.
type Outcome struct {
	Metrics       Metrics
	Tasks         *Report
	Continuations *Continuations
	Intervals     []metric.Interval // of Metrics, 95 %
}

// Run lets the models answer the tasks and continue the prompts, which must have
// passed Check. text spells tokens and may be nil. seed is that of the intervals'
// random draws.
func (b *Behaviour) Run(ctx context.Context, prompts []reference.Prompt, text func(ids []int) string, seed uint64) (*Outcome, error) {
	out := &Outcome{Metrics: Unmeasured()}
	done, total := 0, 0
	if b.Tasks != nil {
		total += len(b.Tasks.Tasks)
	}
	if b.Continue > 0 {
		total += len(prompts)
	}
	progress := func() {
		if done++; b.Progress != nil {
			b.Progress(done, total)
		}
	}
	if b.Tasks != nil {
		if err := b.doTasks(ctx, out, seed, progress); err != nil {
			return nil, err
		}
	}
	if b.Continue > 0 {
		c, err := b.continuations(ctx, prompts, text, progress)
		if err != nil {
			return nil, err
		}
		out.addContinuations(c, seed)
	}
	return out, nil
}

// addInterval adds the interval of the mean of x, whose values lie between least and
// most.
func (o *Outcome) addInterval(name string, x []float64, least, most float64, seed uint64) {
	if low, high, ok := metric.MeanInterval(x, least, most, seed); ok {
		o.Intervals = append(o.Intervals, metric.Interval{Metric: name, Low: metric.Value(low), High: metric.Value(high)})
	}
}
