package selftest

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"thimble/internal/defect"
	"thimble/internal/model"
	"thimble/internal/transformer"
)

// A fault is a mistake that converters, quantizers or runtimes have made in practice,
// and that a self-test makes on purpose.
type fault struct {
	name string
	// inject makes the mistake, or returns why it does not apply to this model.
	inject func(t *faultTarget) (in *injected, why string)
}

// faults lists the mistakes of a self-test in the order of the report.
// docs/NUMERICS.md names a project in which each occurred.
var faults = []fault{
	{"q and k exchanged", exchangeQueriesAndKeys},
	{"q and k interleaved", interleaveHeads},
	{"bias dropped", dropBias},
	{"scales one group off", shiftScales},
	{"matrix transposed", transpose},
	{"rope theta", changeBase},
	{"norm epsilon", changeEpsilon},
	{"norms exchanged", exchangeNorms},
	{"position off by one", overwriteCacheEntry},
	{"window truncated", truncateWindow},
	{"kv cache entry reused", repeatCacheEntry},
	{"block skipped", skipBlock},
	{"shared block run once", skipRepeat},
	{"token ids shifted", shiftIDs},
	{"nibble flipped", flipNibble},
}

// A faultTarget is the model in which faults are made. It is read-only: an injection
// copies the parts that it changes and shares the rest.
type faultTarget struct {
	m             *model.Model
	ids           []int  // the longest of the scored texts
	block         int    // the block for faults of a single block, away from both ends
	down          string // the kind of that block's down, with experts of one that computes at most positions
	outlierColumn int    // the column of that matrix with the largest inputs over ids
}

// middle returns the block nearest to the middle that has attention with keys of its own and a
// feed-forward layer, in which all faults can be made.
func middle(s *model.Spec) (block int, ok bool) {
	at := s.KeysOf(s.Blocks / 2)
	for distance := range s.Blocks {
		for _, b := range [2]int{at - distance, at + distance} {
			if b < 0 || b >= s.Blocks {
				continue
			}
			if a := s.AttentionOf(b); a.Attends() && a.Back == 0 && !a.Alone {
				return b, true
			}
		}
	}
	return 0, false
}

func newFaultTarget(ctx context.Context, m *model.Model, ids []int) (*faultTarget, error) {
	block, ok := middle(&m.Spec)
	if !ok {
		return nil, defect.Unsupported("a self-test", "a model of which no block has attention and a feed-forward layer")
	}
	t := &faultTarget{m: m, ids: ids, block: block}
	d, err := transformer.New(m)
	if err != nil {
		return nil, err
	}
	trace, err := d.NewTrace([][]int{ids})
	if err != nil {
		return nil, err
	}
	most := 0
	for {
		g, err := trace.Next()
		if err != nil {
			return nil, err
		}
		if g == nil || g.Block > t.block {
			return t, nil
		}
		if kind := g.Kinds[0]; g.Block == t.block && baseOf(kind) == model.Down && g.Len() > most {
			t.down, t.outlierColumn, most = kind, largestColumn(g, g.Len()), g.Len()
		}
		if err := trace.Run(ctx); err != nil {
			return nil, err
		}
	}
}

// baseOf returns kind without the expert that it is of.
func baseOf(kind string) string {
	if _, of, ok := model.SplitExpert(kind); ok {
		return of
	}
	return strings.TrimPrefix(kind, model.SharedIn+".")
}

// largestColumn returns the column with the largest sum of input magnitudes.
func largestColumn(g *transformer.Group, positions int) (at int) {
	sum := make([]float64, g.Width())
	for i := range positions {
		for c, v := range g.Row(i) {
			sum[c] += float64(abs(v))
		}
	}
	for c, v := range sum {
		if v > sum[at] {
			at = c
		}
	}
	return at
}

// An injected is a target with a fault.
type injected struct {
	model      *model.Model
	base       *model.Model // model without the fault; nil if that is the target
	cacheFault cacheFault   // a mistake in running model; model itself then has no fault
	stored     bool         // the fault is damage in a stored file
	want       Place
	also       []string // all operations that have the fault, want's first; nil for want's alone
	note       string   // anything else a reader must know
}

// A Place is the place where two models diverge. Fields that are unknown or do not
// matter are -1 or empty.
type Place struct {
	Step      int    `json:"step"`
	Block     int    `json:"block"`
	Operation string `json:"operation"`
	Tensor    string `json:"tensor"`
	Token     int    `json:"token"`   // position in the text
	Channel   int    `json:"channel"` // of the operation's output
}

// at returns the place of a block's tensor in the first step that runs the block.
func (t *faultTarget) at(block int, kind string) Place {
	return Place{Step: t.firstStep(block), Block: block, Tensor: model.Name(block, kind), Token: -1, Channel: -1}
}

// firstStep returns the first step that runs block.
func (t *faultTarget) firstStep(block int) int {
	return slices.Index(t.m.Spec.Schedule, block)
}

// Matches reports whether got is the place that want names. Any value matches a field
// that want leaves open.
func (want Place) Matches(got Place) bool {
	number := func(want, got int) bool { return want < 0 || want == got }
	text := func(want, got string) bool { return want == "" || want == got }
	return number(want.Step, got.Step) && number(want.Block, got.Block) && number(want.Token, got.Token) &&
		number(want.Channel, got.Channel) && text(want.Operation, got.Operation) && text(want.Tensor, got.Tensor)
}

// matchesLayer is like Matches, for a comparison that reports an error in a bias as one
// in its layer.
func (want Place) matchesLayer(got Place) bool {
	want.Tensor = strings.TrimSuffix(want.Tensor, model.BiasSuffix)
	return want.Matches(got)
}

// Detail returns got with no more detail than want has: if an error is everywhere,
// the row and the position where it is largest mean nothing.
func (want Place) Detail(got Place) Place {
	if want.Channel < 0 {
		got.Channel = -1
	}
	if want.Token < 0 {
		got.Token = -1
	}
	return got
}

// String names the tensor, with its row if that is known. Without a tensor it names
// the operation and its step.
func (p Place) String() string {
	switch {
	case p.Tensor != "" && p.Channel >= 0:
		return fmt.Sprintf("%s[%d]", p.Tensor, p.Channel)
	case p.Tensor != "":
		return p.Tensor
	case p.Token >= 0:
		return fmt.Sprintf("%s of step %d at %d", p.Operation, p.Step, p.Token)
	}
	return fmt.Sprintf("%s of step %d", p.Operation, p.Step)
}
