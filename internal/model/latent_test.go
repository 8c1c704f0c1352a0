package model

import (
	"strings"
	"testing"
)

func TestLatent(t *testing.T) {
	good := func() Spec {
		s := tiny()
		s.Heads, s.KVHeads, s.HeadDim, s.Rope.Dims = 3, 3, 10, 4
		s.Latent = Latent{Query: 5, KeyValue: 7, Value: 9, Eps: 1e-6}
		return s
	}
	s := good()
	if err := s.Check(); err != nil {
		t.Fatal(err)
	}
	shapes := map[string][2]int{}
	for _, slot := range s.Slots() {
		shapes[slot.Name] = [2]int{slot.Rows, slot.Cols}
	}
	for kind, want := range map[string][2]int{
		LatentQ: {5, s.Hidden}, LatentQNorm: {1, 5}, Q: {30, 5}, LatentKV: {11, s.Hidden}, LatentKVNorm: {1, 7}, K: {18, 7}, V: {27, 7}, O: {s.Hidden, 27},
	} {
		if got := shapes[Name(0, kind)]; got != want {
			t.Errorf("%s is %v, want %v", kind, got, want)
		}
	}
	for kind, want := range map[string]Rotary{Q: {10, 6, 4}, LatentKV: {11, 7, 4}, K: {}, V: {}} {
		if got := s.RotaryRows(0, kind); got != want {
			t.Errorf("%s rotates %v, want %v", kind, got, want)
		}
	}
	for want, edit := range map[string]func(*Spec){
		"the latent vector of keys and values is 0 wide": func(s *Spec) { s.Latent.KeyValue = 0 },
		"the latent vector of queries is -1 wide":        func(s *Spec) { s.Latent.Query = -1 },
		"the head of the values is 0 wide":               func(s *Spec) { s.Latent.Value = 0 },
		"3 heads of values of 1000000 are wider":         func(s *Spec) { s.Latent.Value = 1000000 },
		"1 key heads for 3 heads":                        func(s *Spec) { s.KVHeads = 1 },
		"10 of the 10 dimensions of a head":              func(s *Spec) { s.Rope.Dims = 10 },
		"0 of the 10 dimensions of a head":               func(s *Spec) { s.Rope.Dims = 0 },
		"epsilon of the norms of latents is 2":           func(s *Spec) { s.Latent.Eps = 2 },
		"with other norms":                               func(s *Spec) { s.AttnGate = true },
		"with blocks of other attention":                 func(s *Spec) { s.Attention = make([]Attention, s.Blocks); s.Attention[0].Rope = NoRope },
	} {
		s := good()
		edit(&s)
		if err := s.Check(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

func TestGroupsOfExperts(t *testing.T) {
	for want, e := range map[string]Experts{
		"8 experts are not divisible by 3 groups":          {Count: 8, Used: 2, FFN: 4, Groups: 3, UsedGroups: 1, GroupBest: 1},
		"5 experts compute, of 2 of 4 groups of 2":         {Count: 8, Used: 5, FFN: 4, Groups: 4, UsedGroups: 2, GroupBest: 1},
		"groups of 2 experts are compared by their 3 best": {Count: 8, Used: 2, FFN: 4, Groups: 4, UsedGroups: 2, GroupBest: 3},
		"": {Count: 8, Used: 4, FFN: 4, Groups: 4, UsedGroups: 2, GroupBest: 2},
	} {
		s := tiny()
		s.Experts = e
		if err := s.Check(); want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}
