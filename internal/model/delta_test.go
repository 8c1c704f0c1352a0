package model

import (
	"strings"
	"testing"
)

func TestCheckDelta(t *testing.T) {
	for _, c := range []struct {
		change func(s *Spec)
		want   string
	}{
		{func(*Spec) {}, ""},
		{func(s *Spec) { s.Delta = Delta{} }, "key heads of the delta rule is 0, want 1 to"},
		{func(s *Spec) { s.Attention[0].Delta = 0 }, "no block has the delta rule, but there are sizes of it"},
		{func(s *Spec) { s.Attention[0].Conv = 3 }, "block 0 has a convolution and the delta rule"},
		{func(s *Spec) { s.Parallel = true }, "delta: the combination with parallel or postnorm is not supported"},
		{func(s *Spec) { s.Delta.ValueHeads = 3 }, "3 value heads of the delta rule are not divisible by 2 key heads"},
		{func(s *Spec) { s.Delta = Delta{2, 4096, 8, 1024} }, "the delta rule is wider than"},
	} {
		s := tiny()
		s.Attention, s.Delta = []Attention{{Delta: 4, Rope: NoRope}, {}}, Delta{KeyHeads: 2, ValueHeads: 4, KeyDim: 8, ValueDim: 6}
		c.change(&s)
		if err := s.Check(); (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v, want %q", err, c.want)
		}
	}
}
