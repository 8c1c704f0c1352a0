package verify

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"thimble/internal/defect"
	"thimble/internal/kernel"
	"thimble/internal/tokenizer"
)

// A Behaviour is what Run measures of a model beside its logits: how it does at
// tasks, and how far what it writes is what the reference writes.
type Behaviour struct {
	Model     *Speaker
	Reference *Speaker // nil for none
	Tokenizer *tokenizer.Tokenizer
	Tasks     *TaskFile // nil for none
	Continue  int       // tokens by which the first half of each prompt is continued, 0 for none

	Progress func(done, total int) // called with the tasks and prompts done so far; may be nil
}

// BehaviourMetrics are the part of Metrics that is of tasks and continuations.
// Changes are the model's less the reference's, on the same items.
type BehaviourMetrics struct {
	Acc       Value `json:"acc"`       // share of choices where the likeliest is right
	AccNorm   Value `json:"acc_norm"`  // likewise, likelihood per character
	AccBytes  Value `json:"acc_bytes"` // likewise, per byte
	Exact     Value `json:"exact_match"`
	Intent    Value `json:"api_intent"`    // share of calls of the right function
	Structure Value `json:"api_structure"` // share of calls with the right names of arguments
	Call      Value `json:"api_exact"`     // share of calls that are right in all

	AccChange       Value `json:"acc_change"`
	AccNormChange   Value `json:"acc_norm_change"`
	AccBytesChange  Value `json:"acc_bytes_change"`
	ExactChange     Value `json:"exact_match_change"`
	IntentChange    Value `json:"api_intent_change"`
	StructureChange Value `json:"api_structure_change"`
	CallChange      Value `json:"api_exact_change"`

	PrefixMean   Value `json:"prefix_mean"`   // tokens
	PrefixMedian Value `json:"prefix_median"` // tokens
	PrefixWhole  Value `json:"prefix_whole"`  // share of continuations that are the same throughout
}

// A taskMetric is a share of the tasks of one kind.
type taskMetric struct {
	name, kind string
	means      string
	at, change func(*BehaviourMetrics) *Value
}

var taskMetrics = []taskMetric{
	{"acc", kindChoice, "right by likelihood", func(m *BehaviourMetrics) *Value { return &m.Acc }, func(m *BehaviourMetrics) *Value { return &m.AccChange }},
	{"acc_norm", kindChoice, "right by likelihood per character", func(m *BehaviourMetrics) *Value { return &m.AccNorm }, func(m *BehaviourMetrics) *Value { return &m.AccNormChange }},
	{"acc_bytes", kindChoice, "right by likelihood per byte", func(m *BehaviourMetrics) *Value { return &m.AccBytes }, func(m *BehaviourMetrics) *Value { return &m.AccBytesChange }},
	{"exact_match", kindText, "the expected text", func(m *BehaviourMetrics) *Value { return &m.Exact }, func(m *BehaviourMetrics) *Value { return &m.ExactChange }},
	{"api_intent", kindCall, "the right function", func(m *BehaviourMetrics) *Value { return &m.Intent }, func(m *BehaviourMetrics) *Value { return &m.IntentChange }},
	{"api_structure", kindCall, "the right names of arguments", func(m *BehaviourMetrics) *Value { return &m.Structure }, func(m *BehaviourMetrics) *Value { return &m.StructureChange }},
	{"api_exact", kindCall, "the right call", func(m *BehaviourMetrics) *Value { return &m.Call }, func(m *BehaviourMetrics) *Value { return &m.CallChange }},
}

const changeSuffix = "_change"

var prefixMetrics = []metric{
	{"prefix_mean", true, func(m *Metrics) Value { return m.PrefixMean }, "tokens before greedy texts part"},
	{"prefix_median", true, func(m *Metrics) Value { return m.PrefixMedian }, "tokens, likewise"},
	{"prefix_whole", true, func(m *Metrics) Value { return m.PrefixWhole }, "share of texts that do not"},
}

// everyMetric is all that may be gated.
var everyMetric = func() []metric {
	all := slices.Clone(metrics)
	for _, k := range taskMetrics {
		all = append(all, metric{k.name, false, func(m *Metrics) Value { return *k.at(&m.BehaviourMetrics) }, k.means})
	}
	for _, k := range taskMetrics {
		all = append(all, metric{k.name + changeSuffix, true, func(m *Metrics) Value { return *k.change(&m.BehaviourMetrics) }, "less the reference's"})
	}
	return append(all, prefixMetrics...)
}()

// noBehaviour has nothing measured.
func noBehaviour() (m BehaviourMetrics) {
	for _, k := range taskMetrics {
		*k.at(&m), *k.change(&m) = unknown, unknown
	}
	m.PrefixMean, m.PrefixMedian, m.PrefixWhole = unknown, unknown, unknown
	return m
}

// UnmarshalJSON reads metrics. Reports of before there were tasks leave some out,
// which is not to be zero.
func (m *Metrics) UnmarshalJSON(text []byte) error {
	type fields Metrics
	read := fields{BehaviourMetrics: noBehaviour()}
	err := json.Unmarshal(text, &read)
	*m = Metrics(read)
	return err
}

// taskMetricOf is the metric of tasks that a name, or that of its change, is of;
// nil for others.
func taskMetricOf(name string) *taskMetric {
	for i := range taskMetrics {
		if k := &taskMetrics[i]; name == k.name || name == k.name+changeSuffix {
			return k
		}
	}
	return nil
}

func isPrefix(name string) bool {
	return slices.ContainsFunc(prefixMetrics, func(m metric) bool { return m.name == name })
}

// check finds, before any work, what cannot be measured or judged.
func (b *Behaviour) check(gates []Gate, prompts []Prompt) error {
	for _, g := range gates {
		k := taskMetricOf(g.Metric)
		switch {
		case k == nil && isPrefix(g.Metric):
			if b == nil || b.Continue == 0 {
				return fmt.Errorf("gate %v: %s is of continuations: add --continue N", g, g.Metric)
			}
		case k == nil:
			if len(prompts) == 0 {
				return fmt.Errorf("gate %v: %s is of positions in a text: add --text FILE", g, g.Metric)
			}
		case b == nil || b.Tasks == nil:
			return fmt.Errorf("gate %v: %s is of tasks: add --tasks FILE", g, g.Metric)
		case !slices.ContainsFunc(b.Tasks.Tasks, func(t Task) bool { return t.Kind == k.kind }):
			return fmt.Errorf("gate %v: %s has no task of this kind, %s", g, defect.Printable(b.Tasks.Path), map[string]string{kindChoice: "with choices", kindText: "with an expected text", kindCall: "with a call"}[k.kind])
		case k.name != g.Metric && b.Reference == nil:
			return fmt.Errorf("gate %v: %s compares with a model: name it by --against", g, g.Metric)
		}
	}
	switch {
	case b == nil:
		return nil
	case b.Reference != nil && b.Reference.spec.Vocab != b.Model.spec.Vocab:
		return fmt.Errorf("the reference scores a vocabulary of %d, the model one of %d: they are not the same model", b.Reference.spec.Vocab, b.Model.spec.Vocab)
	case b.Continue == 0:
		return nil
	case b.Reference == nil || len(prompts) == 0:
		return errors.New("continuations are compared with those of a model, after a text: add --against SRC and --text FILE")
	}
	for i, p := range prompts {
		if n := p.From + b.Continue; n > min(b.Model.spec.Context, b.Reference.spec.Context) {
			return fmt.Errorf("prompt %d and its continuation are %d tokens, the model's context is %d: use a smaller --continue or --context", i, n, min(b.Model.spec.Context, b.Reference.spec.Context))
		}
	}
	return nil
}

// run measures, and adds to the report what it finds.
func (b *Behaviour) run(ctx context.Context, r *Report, prompts []Prompt, o *Options) error {
	if b == nil {
		return nil
	}
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
		if err := b.tasks(ctx, r, o.Seed, progress); err != nil {
			return err
		}
	}
	if b.Continue == 0 {
		return nil
	}
	c, err := b.continuations(ctx, prompts, o.Text, progress)
	if err != nil {
		return err
	}
	r.addContinuations(c, o.Seed)
	return nil
}

// addContinuations adds c and its metrics to the report.
func (r *Report) addContinuations(c *Continuations, seed uint64) {
	r.Continuations = c
	lengths, whole := make([]float64, len(c.Prefixes)), make([]float64, len(c.Prefixes))
	for i, n := range c.Prefixes {
		lengths[i] = float64(n)
		if n == c.Tokens {
			whole[i] = 1
		}
	}
	r.Metrics.PrefixMean, r.Metrics.PrefixWhole = Value(mean(lengths)), Value(mean(whole))
	r.addInterval("prefix_mean", lengths, 0, float64(c.Tokens), seed)
	r.addInterval("prefix_whole", whole, 0, 1, seed)
	slices.Sort(lengths)
	r.Metrics.PrefixMedian = Value(quantile(lengths, 0.5))
}

func mean(x []float64) float64 { return sum(x) / float64(len(x)) }

// addInterval adds the interval of the mean of x, which is of numbers from least
// to most, over the choice of items.
func (r *Report) addInterval(metric string, x []float64, least, most float64, seed uint64) {
	if low, high, ok := meanInterval(x, least, most, seed); ok {
		r.Intervals = append(r.Intervals, Interval{metric, Value(low), Value(high)})
	}
}

// meanInterval is that of bootstrap for a mean. Where all numbers are the same, so
// are those of every draw; then it is what a share of other ones may be that is
// found in none of n items 25 times in 1000 (Clopper and Pearson 1934), each as
// far away as can be.
func meanInterval(x []float64, least, most float64, seed uint64) (low, high float64, ok bool) {
	n := len(x)
	if n < 2 {
		return 0, 0, false
	}
	if slices.Min(x) == slices.Max(x) {
		share := 1 - kernel.Exp64(kernel.Log64(0.025)/float64(n))
		return x[0] - float64(share*(x[0]-least)), x[0] + float64(share*(most-x[0])), true
	}
	low, high = resampled(n, seed, func(next func() int) float64 {
		total := 0.0
		for range n {
			total += x[next()]
		}
		return total / float64(n)
	})
	return low, high, true
}

// sampled says how many of what a metric is a figure of.
func (r *Report) sampled(metric string) (n int, what string) {
	switch k := taskMetricOf(metric); {
	case k != nil && r.Tasks != nil:
		for i := range r.Tasks.Items {
			if r.Tasks.Items[i].Kind == k.kind {
				n++
			}
		}
		return n, "tasks"
	case isPrefix(metric) && r.Continuations != nil:
		return len(r.Continuations.Prefixes), "prompts"
	}
	return r.Metrics.Tokens, "tokens"
}
