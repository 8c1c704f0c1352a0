package quantize

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"thimble/internal/model"
)

// Health describes how well texts serve calibration: how much of the vocabulary they cover,
// and how well they sample the input of each layer. Its JSON form is part of the report of
// "thimble quantize".
type Health struct {
	Tokens  int `json:"tokens"`
	Pieces  int `json:"pieces"`
	Context int `json:"context"` // of the longest piece

	// Available is the largest number of tokens that the texts could give, 0 if unknown.
	Available int `json:"available_tokens,omitempty"`

	Vocabulary     int     `json:"vocabulary"`
	IDsSeen        int     `json:"ids_seen"`
	MostFrequent   int     `json:"most_frequent_id"`
	FrequencyShare float64 `json:"most_frequent_share"` // of all tokens
	SpecialsSeen   int     `json:"special_ids_seen"`
	SpecialTokens  int     `json:"special_tokens"` // number of occurrences

	// Widest is the name of the tensor with the most columns among those to be rounded.
	Widest  string `json:"widest"`
	Columns int    `json:"widest_columns"`

	// Inputs has, after a run, one element for each kind of input, in the order of
	// the block.
	Inputs   []*InputHealth `json:"inputs,omitempty"`
	Warnings []string       `json:"warnings,omitempty"`
}

// InputHealth describes the input that some kinds of layers share, over all blocks in which
// the run rounded a layer of these kinds.
type InputHealth struct {
	Kinds  []string `json:"kinds"`
	Blocks int      `json:"blocks"`
	Width  int      `json:"width"`
	// Dead is the number of channels that were never active, in DeadBlock, which has
	// most of them.
	Dead      int `json:"dead_channels"`
	DeadBlock int `json:"dead_block"`
	// The smallest, median and largest effective rank of the input over the blocks.
	RankLeast  float64 `json:"effective_rank_least"`
	RankMedian float64 `json:"effective_rank_median"`
	RankMost   float64 `json:"effective_rank_most"`
	// Capped is the square of the loudest position, in CappedBlock, as a multiple of the
	// bound on its weighted square; 1 if no position exceeded the bound.
	Capped      float64 `json:"loudest_capped"`
	CappedBlock int     `json:"loudest_block"`

	ranks []float64
	most  int // the block of RankMost
}

const (
	tokensPerColumn = 8    // with fewer, rounding overfits the text
	tokensPerRank   = 8    // with fewer, the text underestimates the spread
	dominant        = 0.25 // fraction of all tokens that a single token should not exceed
)

// NewHealth returns a description of the texts of c for calibrating m by plan p. special
// reports whether a token is special. A run adds its inputs to Calibration.Health.
func NewHealth(c *Calibration, m *Model, p *Plan, special func(id int) bool) *Health {
	h := &Health{Tokens: c.Tokens(), Pieces: len(c.Texts), Vocabulary: m.Spec.Vocab, Available: c.Available}
	count := make([]int, m.Spec.Vocab)
	for _, t := range c.Texts {
		h.Context = max(h.Context, len(t))
		for _, id := range t {
			if id >= 0 && id < len(count) {
				count[id]++
			}
		}
	}
	for id, n := range count {
		if n == 0 {
			continue
		}
		h.IDsSeen++
		if n > count[h.MostFrequent] {
			h.MostFrequent = id
		}
		if special(id) {
			h.SpecialsSeen++
			h.SpecialTokens += n
		}
	}
	h.FrequencyShare = float64(count[h.MostFrequent]) / float64(h.Tokens)
	for _, e := range p.Tensors {
		if e.rounds() && e.Role == model.Linear && e.Cols > h.Columns {
			h.Widest, h.Columns = e.Name, e.Cols
		}
	}
	if h.Tokens < tokensPerColumn*h.Columns {
		h.warn("%d tokens are fewer than %d for each of the %d input columns of %s, so rounding overfits the text; %s",
			h.Tokens, tokensPerColumn, h.Columns, h.Widest, h.moreTokens(tokensPerColumn*h.Columns))
	}
	if least := driftPositions * m.Spec.Hidden; p.method.ComparesStreams() && h.Tokens < least {
		h.warn("%d tokens are too few to correct for rounding upstream, so the correction is omitted; %s", h.Tokens, h.moreTokens(least))
	}
	if h.FrequencyShare > dominant {
		h.warn("token %d makes up %.0f%% of the text, so rounding favors it; remove padding and repeated passages from the text", h.MostFrequent, 100*h.FrequencyShare)
	}
	return h
}

func (h *Health) warn(format string, args ...any) {
	if text := fmt.Sprintf(format, args...); !slices.Contains(h.Warnings, text) {
		h.Warnings = append(h.Warnings, text)
	}
}

// moreTokens returns the remedy for fewer tokens than least: the number of whole pieces that
// has them, or a longer text.
func (h *Health) moreTokens(least int) string {
	piece := max(1, h.Context)
	least = (least + piece - 1) / piece * piece
	if h.Available > 0 && least > h.Available {
		return fmt.Sprintf("use a longer text (this one gives %d) and --calib-tokens %d or more", h.Available, least)
	}
	return fmt.Sprintf("use --calib-tokens %d or more", least)
}

// An observation summarizes one input of one block.
type observation struct {
	Kinds  []string `cbor:"kinds"`
	Width  int      `cbor:"width"`
	Dead   int      `cbor:"dead"`
	Rank   float64  `cbor:"rank"`
	Excess float64  `cbor:"excess"`
}

// observed returns an observation of v's input from its closed moments.
func (v *visit) observed() observation {
	rank, dead := v.moments.Spread()
	kinds := make([]string, len(v.kinds))
	for i, kind := range v.kinds {
		kinds[i] = model.Class(kind)
	}
	return observation{kinds, v.moments.Width, dead, rank, v.moments.Excess()}
}

// silent warns that the input of v was not seen once, because no text reached the expert.
// h may be nil.
func (h *Health) silent(v *visit) {
	if h != nil {
		h.warn("no token of the texts reaches %s in block %d, so it is rounded without calibration; use longer or more varied text", strings.Join(v.kinds, ", "), v.block)
	}
}

// add adds an observation of a block's input. h may be nil.
func (h *Health) add(block int, seen observation) {
	if h == nil {
		return
	}
	i := slices.IndexFunc(h.Inputs, func(in *InputHealth) bool { return slices.Equal(in.Kinds, seen.Kinds) && in.Width == seen.Width })
	if i < 0 {
		i = len(h.Inputs)
		h.Inputs = append(h.Inputs, &InputHealth{Kinds: slices.Clone(seen.Kinds), Width: seen.Width, Capped: 1})
	}
	in := h.Inputs[i]
	in.Blocks++
	in.ranks = append(in.ranks, seen.Rank)
	slices.Sort(in.ranks)
	if seen.Rank >= in.ranks[len(in.ranks)-1] {
		in.most = block
	}
	in.RankLeast, in.RankMedian, in.RankMost = in.ranks[0], in.ranks[len(in.ranks)/2], in.ranks[len(in.ranks)-1]
	if seen.Dead > in.Dead {
		in.Dead, in.DeadBlock = seen.Dead, block
	}
	if seen.Excess > in.Capped {
		in.Capped, in.CappedBlock = seen.Excess, block
	}
}

// warnOfInputs adds the warnings that depend on a finished run. h may be nil.
func (h *Health) warnOfInputs() {
	if h == nil {
		return
	}
	for _, in := range h.Inputs {
		kinds := strings.Join(in.Kinds, ", ")
		if in.Dead > 0 {
			h.warn("%d of %d input channels of %s in block %d were never active, so their columns are rounded blindly; use longer or more varied text", in.Dead, in.Width, kinds, in.DeadBlock)
		}
		if in.RankMost*tokensPerRank > float64(h.Tokens) {
			h.warn("the input of %s in block %d spreads over %.0f directions, too many for %d tokens to sample; %s",
				kinds, in.most, in.RankMost, h.Tokens, h.moreTokens(int(math.Ceil(in.RankMost*tokensPerRank))))
		}
	}
}

// String returns a line about the texts, and a line for each warning. Figures that call
// for no action are only in the JSON.
func (h *Health) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "calibration: %d tokens in %d pieces of %d\n", h.Tokens, h.Pieces, h.Context)
	for _, w := range h.Warnings {
		b.WriteString("warning: " + w + "\n")
	}
	return b.String()
}
