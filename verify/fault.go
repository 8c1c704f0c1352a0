package verify

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"thimble/internal/model"
	"thimble/internal/transformer"
)

// A fault is a mistake that has been made in converters, quantizers and
// runtimes, made here on purpose.
type fault struct {
	name string
	// inject makes it, or says why the model leaves no room for it.
	inject func(s *specimen) (in *injected, why string)
}

// faults are the mistakes of a self-test, in the order of the report.
// docs/NUMERICS.md says where each was met.
var faults = []fault{
	{"q and k exchanged", exchangeQueriesAndKeys},
	{"q and k interleaved", interleaveHeads},
	{"bias dropped", dropBias},
	{"scales one group off", shiftScales},
	{"matrix transposed", transpose},
	{"rope theta", changeBase},
	{"norm epsilon", changeEpsilon},
	{"norms exchanged", exchangeNorms},
	{"position off by one", slipPosition},
	{"window truncated", truncateWindow},
	{"kv cache entry reused", reuseEntry},
	{"block skipped", skipBlock},
	{"shared block run once", skipRepeat},
	{"token ids shifted", shiftIDs},
	{"nibble flipped", flipNibble},
}

// A specimen is a model that faults are made in. It is not written to: what an
// injection changes is copied, the rest shared.
type specimen struct {
	m     *model.Model
	ids   []int // a text, the longest of those that are scored
	block int   // in which faults of one block are made: away from the ends
	loud  int   // the column of that block's down whose inputs are largest, over ids
}

func newSpecimen(ctx context.Context, m *model.Model, ids []int) (*specimen, error) {
	s := &specimen{m: m, ids: ids, block: m.Spec.Blocks / 2}
	d, err := transformer.New(m)
	if err != nil {
		return nil, err
	}
	trace, err := d.NewTrace([][]int{ids})
	if err != nil {
		return nil, err
	}
	for {
		g := trace.Next()
		if g.Block == s.block && g.Kinds[0] == model.Down {
			s.loud = loudest(g, trace.Len())
			return s, nil
		}
		if err := trace.Run(ctx); err != nil {
			return nil, err
		}
	}
}

// loudest returns the column whose inputs have the largest sum of magnitudes.
func loudest(g *transformer.Group, positions int) (at int) {
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

// An injected fault is what a specimen was made into.
type injected struct {
	model *model.Model
	base  *model.Model // model without the fault; nil is the specimen
	slip  slip         // a mistake in running model, which is base then
	want  Place
	every []string // operations that all have the fault, want's being the first; nil for want alone
	note  string   // what else the reader must know
}

// A Place is where two models part. What is not known or does not matter is -1
// or empty.
type Place struct {
	Step      int    `json:"step"`
	Block     int    `json:"block"`
	Operation string `json:"operation"`
	Tensor    string `json:"tensor"`
	Token     int    `json:"token"`   // position in the text
	Channel   int    `json:"channel"` // of the operation's output
}

// at is the place of a block's tensor in the first step that runs the block.
func (s *specimen) at(block int, kind string) Place {
	return Place{Step: s.firstStep(block), Block: block, Tensor: model.Name(block, kind), Token: -1, Channel: -1}
}

// firstStep returns the first step that runs block.
func (s *specimen) firstStep(block int) int {
	return slices.Index(s.m.Spec.Schedule, block)
}

// matches reports whether got is in the place that want names. Where want leaves
// something open, any will do.
func (want Place) matches(got Place) bool {
	number := func(want, got int) bool { return want < 0 || want == got }
	text := func(want, got string) bool { return want == "" || want == got }
	return number(want.Step, got.Step) && number(want.Block, got.Block) && number(want.Token, got.Token) &&
		number(want.Channel, got.Channel) && text(want.Operation, got.Operation) && text(want.Tensor, got.Tensor)
}

// roughly is matches for a comparison that takes a bias for part of its layer.
func (want Place) roughly(got Place) bool {
	want.Tensor = strings.TrimSuffix(want.Tensor, model.BiasSuffix)
	return want.matches(got)
}

// String names the tensor, and its row where that is known; without one, the
// operation and its step.
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

// seen is got with as much detail as want has: of an error that is everywhere, the
// row and the position where it is largest say nothing.
func (want Place) seen(got Place) Place {
	if want.Channel < 0 {
		got.Channel = -1
	}
	if want.Token < 0 {
		got.Token = -1
	}
	return got
}
