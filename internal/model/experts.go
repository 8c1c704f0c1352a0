package model

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"thimble/internal/defect"
)

// Experts describes the mixture of experts that takes the place of the feed-forward layer
// in all blocks except Dense (Switch Transformer, arXiv 2101.03961, section 2; Mixtral,
// arXiv 2401.04088, section 2.1). The router gives each position a logit for each expert.
// The zero value means that there are no experts.
type Experts struct {
	Count int `cbor:"count" json:"count"` // experts of a block
	Used  int `cbor:"used" json:"used"`   // experts that compute at a position: those with the largest scores
	FFN   int `cbor:"ffn" json:"ffn"`     // width inside an expert

	// Sigmoid makes scores of the logits by a sigmoid each, instead of one softmax. Selects
	// adds a bias to the scores that decides which experts compute, and nothing else
	// (DeepSeek-V3, arXiv 2412.19437, section 2.1.2). An expert's weight is its score.
	Sigmoid bool `cbor:"sigmoid,omitempty" json:"sigmoid,omitempty"`
	Selects bool `cbor:"selects,omitempty" json:"selects,omitempty"`
	// Biases means that the router and the layers of experts add biases (gpt-oss).
	Biases bool `cbor:"biases,omitempty" json:"biases,omitempty"`
	// Groups, if not 0, divides the experts into so many groups of equal size. Only experts of
	// UsedGroups of them compute: those in which the GroupBest largest scores, with the bias, have
	// the largest sum (DeepSeek-V2, arXiv 2405.04434, section 2.1.3; DeepSeek-V3, section 2.1.2).
	Groups     int `cbor:"groups,omitempty" json:"groups,omitempty"`
	UsedGroups int `cbor:"usedgroups,omitempty" json:"usedgroups,omitempty"`
	GroupBest  int `cbor:"groupbest,omitempty" json:"groupbest,omitempty"`
	// Normalized divides the weights of these experts by their sum. Scale multiplies them;
	// 0 means 1.
	Normalized bool    `cbor:"normalized,omitempty" json:"normalized,omitempty"`
	Scale      float64 `cbor:"scale,omitempty" json:"scale,omitempty"`

	// Shared is the width of an expert that computes at all positions; 0 means that there
	// is none. SharedGate multiplies its output by the sigmoid of a logit of its own
	// (Qwen1.5-MoE).
	Shared     int  `cbor:"shared,omitempty" json:"shared,omitempty"`
	SharedGate bool `cbor:"sharedgate,omitempty" json:"sharedgate,omitempty"`

	Dense []int `cbor:"dense,omitempty" json:"dense,omitempty"` // blocks without experts, ascending
}

// MaxExperts is the largest number of experts of a block.
const MaxExperts = 1024

// Kinds of tensors of a block with experts. Those of an expert are named by Expert.
const (
	Router     = "router"      // (Count, Hidden), not quantized: its errors decide which experts compute
	RouterBias = "router_bias" // (1, Count), if Selects
	SharedGate = "shared_gate" // (1, Hidden), if SharedGate
	SharedIn   = "shared"      // the prefix of the shared expert's Gate, Up and Down

	// Activations that are not the output of one tensor.
	Routing = "routing" // (Count), the weight of each expert, 0 if it does not compute
	Mixed   = "experts" // (Hidden), the weighted sum of the experts' outputs
	Input   = "in"      // of an expert, (Hidden): its part of the input
)

// Expert returns the kind of a tensor or an activation of expert e: "experts.3.up".
func Expert(e int, kind string) string { return "experts." + strconv.Itoa(e) + "." + kind }

// SplitExpert returns the expert and the kind of a name that Expert made.
func SplitExpert(name string) (e int, kind string, ok bool) {
	rest, ok := strings.CutPrefix(name, "experts.")
	number, kind, dot := strings.Cut(rest, ".")
	e, err := strconv.Atoi(number)
	return e, kind, ok && dot && err == nil && e >= 0
}

// Shared returns the kind of a tensor or an activation of the shared expert: "shared.up".
func Shared(kind string) string { return SharedIn + "." + kind }

// Class returns kind with a * for the number of an expert: the layers of one class have the
// same place in their blocks.
func Class(kind string) string {
	if _, of, ok := SplitExpert(kind); ok {
		return "experts.*." + of
	}
	return kind
}

// Classes returns the classes of linear layers that the blocks of s may have, in the order
// of their use. It begins with LinearKinds.
func (s *Spec) Classes() []string {
	all := slices.Clone(LinearKinds)
	for _, slot := range s.Slots() {
		if _, kind, ok := SplitName(slot.Name); ok && slot.Role == Linear && !slices.Contains(all, Class(kind)) {
			all = append(all, Class(kind))
		}
	}
	return all
}

// HasExperts reports whether a block has experts.
func (s *Spec) HasExperts(block int) bool {
	_, dense := slices.BinarySearch(s.Experts.Dense, block)
	return s.Experts.Count > 0 && !dense
}

// HasFFN reports whether some block has a feed-forward layer without experts.
func (s *Spec) HasFFN() bool { return s.Experts.Count == 0 || len(s.Experts.Dense) > 0 }

func (s *Spec) checkExperts() error {
	e := &s.Experts
	if e.Count == 0 {
		if e.Used+e.FFN+e.Shared+len(e.Dense) != 0 || e.Groups != 0 || e.Sigmoid || e.Selects || e.Normalized || e.SharedGate || e.Biases || e.Scale != 0 {
			return fmt.Errorf("there are no experts, but a description of them")
		}
		return nil
	}
	switch {
	case e.Count < 1 || e.Count > MaxExperts:
		return fmt.Errorf("%d experts, want 1 to %d", e.Count, MaxExperts)
	case e.Used < 1 || e.Used > e.Count:
		return fmt.Errorf("%d of %d experts compute, want at least one and at most all", e.Used, e.Count)
	case e.checkGroups() != nil:
		return e.checkGroups()
	case e.FFN < 1 || e.FFN > MaxWidth || e.Shared < 0 || e.Shared > MaxWidth:
		return fmt.Errorf("widths inside experts are %d and %d, want up to %d", e.FFN, e.Shared, MaxWidth)
	case e.SharedGate && e.Shared == 0:
		return fmt.Errorf("a gate of the shared expert, but no shared expert")
	case !(e.Scale >= 0 && e.Scale < 1e30):
		return fmt.Errorf("the weights of experts are scaled by %g, want a positive number", e.Scale)
	case len(e.Dense) > s.Blocks || !slices.IsSorted(e.Dense):
		return fmt.Errorf("blocks without experts are not in order")
	case s.Ungated:
		return defect.Unsupported("experts", "without a gate")
	case e.Biases && e.Shared > 0:
		return defect.Unsupported("experts", "with biases beside a shared expert")
	case s.Bias.FFN:
		return defect.Unsupported("experts", "with biases")
	}
	for i, b := range e.Dense {
		if b < 0 || b >= s.Blocks || i > 0 && b == e.Dense[i-1] {
			return fmt.Errorf("block %d is listed as one without experts, want each of %d at most once", b, s.Blocks)
		}
	}
	return nil
}

// checkGroups returns an error for groups of experts that are inconsistent.
func (e *Experts) checkGroups() error {
	switch {
	case e.Groups == 0 && e.UsedGroups == 0 && e.GroupBest == 0:
		return nil
	case e.Groups < 1 || e.Count%e.Groups != 0:
		return fmt.Errorf("%d experts are not divisible by %d groups", e.Count, e.Groups)
	case e.UsedGroups < 1 || e.UsedGroups > e.Groups || e.Used > e.UsedGroups*(e.Count/e.Groups):
		return fmt.Errorf("%d experts compute, of %d of %d groups of %d", e.Used, e.UsedGroups, e.Groups, e.Count/e.Groups)
	case e.GroupBest < 1 || e.GroupBest > e.Count/e.Groups:
		return fmt.Errorf("groups of %d experts are compared by their %d best", e.Count/e.Groups, e.GroupBest)
	}
	return nil
}

// expertSlots calls vector and linear for the tensors of the experts of a block. rows and
// cols are the shape.
func (s *Spec) expertSlots(matrix func(kind string, rows, cols int, role Role)) {
	e := &s.Experts
	biased := func(kind string, rows, cols int, role Role) {
		matrix(kind, rows, cols, role)
		if s.Biased(kind) {
			matrix(kind+BiasSuffix, 1, rows, Vector)
		}
	}
	biased(Router, e.Count, s.Hidden, Vector)
	if e.Selects {
		matrix(RouterBias, 1, e.Count, Vector)
	}
	for i := range e.Count {
		biased(Expert(i, Gate), e.FFN, s.Hidden, Linear)
		biased(Expert(i, Up), e.FFN, s.Hidden, Linear)
		biased(Expert(i, Down), s.Hidden, e.FFN, Linear)
	}
	if e.Shared == 0 {
		return
	}
	if e.SharedGate {
		matrix(SharedGate, 1, s.Hidden, Vector)
	}
	matrix(Shared(Gate), e.Shared, s.Hidden, Linear)
	matrix(Shared(Up), e.Shared, s.Hidden, Linear)
	matrix(Shared(Down), s.Hidden, e.Shared, Linear)
}

// expertFeatures are the Features of experts, which do not apply to blocks without.
var expertFeatures = []Feature{
	{"experts.count", []string{Routing}, count(func(s *Spec) int { return s.Experts.Count }), func(s *Spec) string {
		e := &s.Experts
		return noteIf(e.Count > 0, fmt.Sprintf("%d experts of width %d, %d at a time (%d of %d blocks)", e.Count, e.FFN, e.Used, s.Blocks-len(e.Dense), s.Blocks))
	}},
	{"experts.used", []string{Routing}, count(func(s *Spec) int { return s.Experts.Used }), nil},
	{"experts.ffn", nil, count(func(s *Spec) int { return s.Experts.FFN }), nil},
	{"experts.sigmoid", []string{Routing}, flag(func(s *Spec) bool { return s.Experts.Sigmoid }), nil},
	{"experts.selects", []string{Routing}, flag(func(s *Spec) bool { return s.Experts.Selects }), nil},
	{"experts.biases", nil, flag(func(s *Spec) bool { return s.Experts.Biases }), nil},
	{"experts.groups", []string{Routing}, count(func(s *Spec) int { return s.Experts.Groups }), func(s *Spec) string {
		e := &s.Experts
		return noteIf(e.Groups > 0, fmt.Sprintf("experts of %d of %d groups", e.UsedGroups, e.Groups))
	}},
	{"experts.usedgroups", []string{Routing}, count(func(s *Spec) int { return s.Experts.UsedGroups }), nil},
	{"experts.groupbest", []string{Routing}, count(func(s *Spec) int { return s.Experts.GroupBest }), nil},
	{"experts.normalized", []string{Routing}, flag(func(s *Spec) bool { return s.Experts.Normalized }), nil},
	{"experts.scale", []string{Routing}, number(func(s *Spec) float64 {
		if s.Experts.Scale == 0 {
			return 1
		}
		return s.Experts.Scale
	}), nil},
	{"experts.shared", nil, count(func(s *Spec) int { return s.Experts.Shared }), func(s *Spec) string {
		return noteIf(s.Experts.Shared > 0, fmt.Sprintf("an expert of width %d at all positions", s.Experts.Shared))
	}},
	{"experts.sharedgate", []string{Mixed}, flag(func(s *Spec) bool { return s.Experts.SharedGate }), nil},
	{"experts.dense", everywhere, func(s *Spec, step int) string {
		if !s.inBlocks(step) {
			return ""
		}
		return strconv.FormatBool(!s.HasExperts(s.Schedule[step]))
	}, nil},
}
