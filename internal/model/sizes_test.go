package model

import (
	"strings"
	"testing"
)

// Blocks may have sizes of their own, and keys of an earlier block of the same kind.
func TestBlocks(t *testing.T) {
	s := tiny()
	s.Blocks, s.Schedule = 3, InOrder(3, 1)
	s.Attention = []Attention{{}, {HeadDim: 2 * s.HeadDim, Rope: 1}, {Back: 2}}
	s.Ropes, s.FFNs = []Rope{{Base: 1e6}}, []int{8, 16, 24}
	if err := s.Check(); err != nil {
		t.Fatal(err)
	}
	shapes := map[string]int{}
	for _, slot := range s.Slots() {
		shapes[slot.Name] = slot.Rows
	}
	if _, ok := shapes["blocks.2.k"]; ok || shapes["blocks.1.q"] != 2*shapes["blocks.0.q"] || shapes["blocks.2.up"] != 24 {
		t.Errorf("shapes are %v", shapes)
	}
	for want, change := range map[string]func(s *Spec){
		"feed-forward widths are given for 2 of 3 blocks":                         func(s *Spec) { s.FFNs = s.FFNs[:2] },
		"ffn of block 1 is 0":                                                     func(s *Spec) { s.FFNs[1] = 0 },
		"block 0 has the keys of block -1":                                        func(s *Spec) { s.Attention[0].Back = 1 },
		"block 2 cannot have the keys of block 1, which are not of the same kind": func(s *Spec) { s.Attention[2].Back = 1 },
		"block 1 has a negative size":                                             func(s *Spec) { s.Attention[1].HeadDim = -2 },
		"block 1: head dim 3 is odd":                                              func(s *Spec) { s.Attention[1].HeadDim = 3 },
		"one rotary embedding of heads":                                           func(s *Spec) { s.Attention[1].Rope = 0 },
		"the input of each layer is -1 wide":                                      func(s *Spec) { s.Layer.Width = -1 },
		"the embedding of each layer has -1 rows":                                 func(s *Spec) { s.Layer = LayerInput{4, -1} },
		"an input of each layer, in a model with shared blocks, norms with biases, or another order": func(s *Spec) { s.Layer.Width, s.NoPreNorm = 4, true },
	} {
		bad := s
		bad.Attention, bad.FFNs = append([]Attention{}, s.Attention...), append([]int{}, s.FFNs...)
		change(&bad)
		if err := bad.Check(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}
