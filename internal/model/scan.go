package model

import (
	"cmp"
	"fmt"
	"math"
	"strings"

	"thimble/internal/defect"
)

// Kinds of the tensors of a block with a state space layer (Mamba2; Dao and Gu, arXiv 2405.21060,
// section 7) in place of attention or beside it. Each head h keeps a state S, (HeadDim, State),
// and has the b and c of its group, h/(Heads/Groups). At each position
//
//	x, b, c = SiLU(conv(ScanIn u))
//	t = softplus(ScanStep u + ScanDT), at least MinStep and at most MaxStep
//	S = exp(-exp(ScanDecay) t) S + t x b^T
//	y = S c + ScanSkip x
//	output = ScanOut (norm(y * SiLU(ScanGate u)) * ScanNorm)
//
// where the norm is RMSNorm of the outputs of each group.
const (
	ScanGate  = "scan_gate"  // (Heads*HeadDim, Hidden)
	ScanIn    = "scan_in"    // (Scan.Mixed(), Hidden): x, then b, then c of each group
	ScanStep  = "scan_step"  // (Heads, Hidden)
	ScanConv  = "scan_conv"  // (1, Scan.Mixed()*Attention.Scan), as DeltaConv; its bias, (1, Scan.Mixed()), if ConvBias
	ScanDecay = "scan_decay" // (1, Heads)
	ScanSkip  = "scan_skip"  // (1, Heads)
	ScanDT    = "scan_dt"    // (1, Heads)
	ScanNorm  = "scan_norm"  // (1, Heads*HeadDim), unless Norm is ScanUnnormed
	ScanOut   = "scan_out"   // (Hidden, Heads*HeadDim)

	ScanMixed = "scan"     // (Heads*HeadDim), the input of ScanOut
	ScanSum   = "scan_sum" // (Hidden), the sum of O and ScanOut, in blocks with Attention.Beside
)

// Scan has the sizes of the state space layers, and what they compute besides.
type Scan struct {
	Heads   int `cbor:"heads" json:"heads"`
	HeadDim int `cbor:"headdim" json:"headdim"`
	State   int `cbor:"state" json:"state"`   // numbers in a row of a state
	Groups  int `cbor:"groups" json:"groups"` // of heads with the same b and c; divides Heads

	Norm     GateNorm `cbor:"norm,omitempty" json:"norm,omitempty"`
	ConvBias bool     `cbor:"convbias,omitempty" json:"convbias,omitempty"`

	// MinStep and MaxStep bound t; 0 means no bound.
	MinStep float64 `cbor:"minstep,omitempty" json:"minstep,omitempty"`
	MaxStep float64 `cbor:"maxstep,omitempty" json:"maxstep,omitempty"`
}

// GateNorm is what a state space layer does with its outputs y, the gates z and the gains g.
type GateNorm string

const (
	ScanGated    GateNorm = ""      // norm(y * SiLU(z)) * g
	ScanNormed   GateNorm = "first" // norm(y) * g * SiLU(z)
	ScanUnnormed GateNorm = "none"  // y * SiLU(z)
)

// Values returns the width of the outputs of all heads.
func (c Scan) Values() int { return c.Heads * c.HeadDim }

// Mixed returns the number of channels of the convolution: those of x, b and c.
func (c Scan) Mixed() int { return c.Values() + 2*c.Groups*c.State }

// Inputs returns what later positions need of one: the channels of the convolution before it, and
// ScanStep.
func (c Scan) Inputs() int { return c.Mixed() + c.Heads }

// Scales has factors of the outputs of linear layers (muP, arXiv 2203.03466); 0 means 1.
type Scales struct {
	O        float64 `cbor:"o,omitempty" json:"o,omitempty"`
	Gate     float64 `cbor:"gate,omitempty" json:"gate,omitempty"`
	Down     float64 `cbor:"down,omitempty" json:"down,omitempty"`
	ScanGate float64 `cbor:"scangate,omitempty" json:"scangate,omitempty"`
	ScanX    float64 `cbor:"scanx,omitempty" json:"scanx,omitempty"` // of the three parts of ScanIn
	ScanB    float64 `cbor:"scanb,omitempty" json:"scanb,omitempty"`
	ScanC    float64 `cbor:"scanc,omitempty" json:"scanc,omitempty"`
	ScanStep float64 `cbor:"scanstep,omitempty" json:"scanstep,omitempty"`
	ScanOut  float64 `cbor:"scanout,omitempty" json:"scanout,omitempty"`
}

// ScaleOf returns the factor of the outputs of the linear layers of a kind. That of ScanIn differs
// by part.
func (s *Spec) ScaleOf(kind string) float64 {
	c := &s.Scales
	return cmp.Or(map[string]float64{O: c.O, Gate: c.Gate, Down: c.Down, ScanGate: c.ScanGate, ScanStep: c.ScanStep, ScanOut: c.ScanOut}[kind], 1)
}

// scanSlots calls vector and linear for the tensors of a state space layer.
func (s *Spec) scanSlots(length int, vector func(kind string, n int), linear func(kind string, rows, cols int)) {
	c := s.Scan
	linear(ScanGate, c.Values(), s.Hidden)
	linear(ScanIn, c.Mixed(), s.Hidden)
	linear(ScanStep, c.Heads, s.Hidden)
	vector(ScanConv, c.Mixed()*length)
	if c.ConvBias {
		vector(ScanConv+BiasSuffix, c.Mixed())
	}
	vector(ScanDecay, c.Heads)
	vector(ScanSkip, c.Heads)
	vector(ScanDT, c.Heads)
	if c.Norm != ScanUnnormed {
		vector(ScanNorm, c.Values())
	}
	linear(ScanOut, s.Hidden, c.Values())
}

// MaxState bounds HeadDim and State.
const MaxState = 1 << 10

// checkScan checks the state space layers, whose sizes must be 0 in a model without any.
func (s *Spec) checkScan() error {
	c, used, beside := &s.Scan, 0, 0
	for b, a := range s.Attention {
		switch {
		case a.Scan < 0 || a.Scan > MaxConv:
			return fmt.Errorf("state space of block %d has a convolution of %d positions, want 0 to %d", b, a.Scan, MaxConv)
		case a.Scan > 0 && (a.Conv > 0 || a.Delta > 0):
			return fmt.Errorf("block %d has a state space and a convolution or the delta rule, want one of them", b)
		case a.Beside && a.Scan == 0:
			return fmt.Errorf("block %d has attention beside a state space, but no state space", b)
		case a.Scan > 0 && (s.Parallel || s.PostNorm):
			return defect.Unsupported("scan", "the combination with parallel or postnorm")
		}
		if a.Scan > 0 {
			used++
		}
		if a.Beside {
			beside++
		}
	}
	switch {
	case used == 0 && *c != (Scan{}):
		return fmt.Errorf("no block has a state space, but there are sizes of it")
	case used == 0:
		return nil
	case beside > 0 && beside < used:
		return defect.Unsupported("beside", "attention beside some of the state spaces")
	}
	return c.check()
}

// check checks the sizes, and what the layers compute besides.
func (c *Scan) check() error {
	if err := within(" of the state space", []bounded{{"heads", c.Heads, MaxHeads}, {"head dim", c.HeadDim, MaxState}, {"width", c.State, MaxState}, {"groups", c.Groups, MaxHeads}}); err != nil {
		return err
	}
	switch {
	case c.Heads%c.Groups != 0:
		return fmt.Errorf("%d heads of the state space are not divisible by %d groups", c.Heads, c.Groups)
	case c.Mixed() > MaxWidth:
		return fmt.Errorf("the state space is wider than %d", MaxWidth)
	case c.Norm != ScanGated && c.Norm != ScanNormed && c.Norm != ScanUnnormed:
		return defect.Unsupported("scan.norm", "%q", string(c.Norm))
	case !(c.MinStep >= 0 && c.MinStep < 1e30 && c.MaxStep >= 0 && c.MaxStep < 1e30) || c.MaxStep > 0 && c.MinStep > c.MaxStep:
		return fmt.Errorf("steps of the state space are from %g to %g, want positive numbers, the first of which is smaller", c.MinStep, c.MaxStep)
	}
	return nil
}

// A scaled is a factor of Scales: its name, the activation that it changes, and its value.
type scaled struct {
	name, operation string
	of              func(c *Scales) float64
}

var scales = []scaled{
	{"o", O, func(c *Scales) float64 { return c.O }},
	{"gate", Gate, func(c *Scales) float64 { return c.Gate }},
	{"down", Down, func(c *Scales) float64 { return c.Down }},
	{"scangate", ScanGate, func(c *Scales) float64 { return c.ScanGate }},
	{"scanx", ScanMixed, func(c *Scales) float64 { return c.ScanX }},
	{"scanb", ScanMixed, func(c *Scales) float64 { return c.ScanB }},
	{"scanc", ScanMixed, func(c *Scales) float64 { return c.ScanC }},
	{"scanstep", ScanStep, func(c *Scales) float64 { return c.ScanStep }},
	{"scanout", ScanOut, func(c *Scales) float64 { return c.ScanOut }},
}

// checkScaled checks Scales, which must be 0 where there is no such layer.
func (s *Spec) checkScaled() error {
	for _, f := range scales {
		x, has := f.of(&s.Scales), true
		switch f.operation {
		case O:
		case Gate:
			has = !s.Ungated && s.Experts.Count == 0
		case Down:
			has = s.Experts.Count == 0
		default:
			has = s.Scan.Heads > 0
		}
		switch {
		case !(math.Abs(x) < 1e30):
			return fmt.Errorf("scale of %s is %g, want a finite number", f.name, x)
		case x != 0 && !has:
			return defect.Unsupported("scales."+f.name, "in a model without such a layer, or with experts,")
		}
	}
	return nil
}

func scans(s *Spec) string {
	return blockRange(s, "state space (Mamba2) with a convolution", func(a Attention) int { return a.Scan })
}

// scanFeatures are the Features of state space layers.
var scanFeatures = []Feature{
	{"scan", everywhere, attention(func(_ *Spec, a Attention) string { return fmt.Sprint(a.Scan) }), scans},
	{"beside", everywhere, attention(func(_ *Spec, a Attention) string { return fmt.Sprint(a.Beside) }), func(s *Spec) string {
		return noteIf(len(s.Attention) > 0 && s.Attention[0].Beside, "attention beside it")
	}},
	{"scan.heads", []string{ScanMixed}, count(func(s *Spec) int { return s.Scan.Heads }), nil},
	{"scan.headdim", []string{ScanMixed}, count(func(s *Spec) int { return s.Scan.HeadDim }), nil},
	{"scan.state", []string{ScanMixed}, count(func(s *Spec) int { return s.Scan.State }), nil},
	{"scan.groups", []string{ScanMixed}, count(func(s *Spec) int { return s.Scan.Groups }), nil},
	{"scan.norm", []string{ScanMixed}, text(func(s *Spec) string { return cmp.Or(string(s.Scan.Norm), "gated") }), nil},
	{"scan.convbias", []string{ScanMixed}, flag(func(s *Spec) bool { return s.Scan.ConvBias }), nil},
	{"scan.minstep", []string{ScanMixed}, number(func(s *Spec) float64 { return s.Scan.MinStep }), nil},
	{"scan.maxstep", []string{ScanMixed}, number(func(s *Spec) float64 { return cmp.Or(s.Scan.MaxStep, math.Inf(1)) }), nil},
}

// scaleFeatures returns the Features of Scales. The first has the note on all.
func scaleFeatures() (all []Feature) {
	for _, f := range scales {
		all = append(all, Feature{"scales." + f.name, []string{f.operation}, number(func(s *Spec) float64 { return cmp.Or(f.of(&s.Scales), 1) }), nil})
	}
	all[0].Note = func(s *Spec) string {
		var others []string
		for _, f := range scales {
			if x := cmp.Or(f.of(&s.Scales), 1); x != 1 {
				others = append(others, f.name+" "+float(x))
			}
		}
		return noteIf(others != nil, "factors of outputs: "+strings.Join(others, " "))
	}
	return all
}
