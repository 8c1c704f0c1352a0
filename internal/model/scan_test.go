package model

import (
	"math"
	"strings"
	"testing"
)

func TestCheckScan(t *testing.T) {
	for _, c := range []struct {
		change func(s *Spec)
		want   string
	}{
		{func(*Spec) {}, ""},
		{func(s *Spec) { s.Scan = Scan{} }, "heads of the state space is 0, want 1 to"},
		{func(s *Spec) { s.Attention[0].Scan = 0 }, "no block has a state space, but there are sizes of it"},
		{func(s *Spec) { s.Attention[0].Conv = 3 }, "block 0 has a state space and a convolution or the delta rule"},
		{func(s *Spec) { s.Attention[1].Beside = true }, "block 1 has attention beside a state space, but no state space"},
		{func(s *Spec) { s.Attention[1] = Attention{Scan: 4, Beside: true} }, "beside: attention beside some of the state spaces is not supported"},
		{func(s *Spec) {
			s.Attention = []Attention{{Scan: 4, Rope: NoRope, Alone: true}, {Rope: NoRope, Absent: true}}
		}, ""},
		{func(s *Spec) { s.Attention[1] = Attention{Absent: true, Window: 3} }, "block 1 has only a feed-forward layer, but a description of its attention"},
		{func(s *Spec) { s.Attention[0].Absent = true }, "block 0 has only a feed-forward layer, but a description of its attention"},
		{func(s *Spec) { s.Attention[0].Alone, s.NoPreNorm = true, true }, "alone: a block with one layer, in combination with"},
		{func(s *Spec) { s.Attention[0].KVHeads = 1 }, "block 0 has no attention, but a description of its heads"},
		{func(s *Spec) { s.Parallel = true }, "scan: the combination with parallel or postnorm is not supported"},
		{func(s *Spec) { s.Scan.Groups = 3 }, "4 heads of the state space are not divisible by 3 groups"},
		{func(s *Spec) { s.Scan.Heads, s.Scan.HeadDim = 4096, 1024 }, "the state space is wider than"},
		{func(s *Spec) { s.Scan.Norm = "both" }, `scan.norm: "both" is not supported`},
		{func(s *Spec) { s.Scan.MinStep, s.Scan.MaxStep = 2, 1 }, "steps of the state space are from 2 to 1"},
		{func(s *Spec) { s.Scales.ScanX = math.Inf(1) }, "scale of scanx is +Inf, want a finite number"},
		{func(s *Spec) { s.Scales.Gate, s.Ungated = 2, true }, "scales.gate: in a model without such a layer, or with experts, is not supported"},
	} {
		s := tiny()
		s.Attention, s.Scan = []Attention{{Scan: 4, Rope: NoRope}, {}}, Scan{Heads: 4, HeadDim: 6, State: 8, Groups: 2}
		c.change(&s)
		if err := s.Check(); (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v, want %q", err, c.want)
		}
	}
}
