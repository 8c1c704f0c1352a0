package model

import (
	"strings"
	"testing"
)

// The matrices that make and merge streams are those of the first and the last block.
func TestAltUp(t *testing.T) {
	s := tiny()
	s.Blocks, s.Schedule = 3, InOrder(3, 1)
	s.Layer.Width, s.AltUp, s.Laurel, s.Sparsity = 4, AltUp{Streams: 3}, 2, []float64{0.5, 0, 0.95}
	if err := s.Check(); err != nil {
		t.Fatal(err)
	}
	shapes, roles := map[string][2]int{}, map[string]Role{}
	for _, slot := range s.Slots() {
		shapes[slot.Name], roles[slot.Name] = [2]int{slot.Rows, slot.Cols}, slot.Role
	}
	square := [2]int{s.Hidden, s.Hidden}
	for name, want := range map[string][2]int{
		"blocks.0.altup_in1": square, "blocks.0.altup_in2": square, "blocks.0.altup_in3": {}, "blocks.1.altup_in1": {},
		"blocks.2.altup_out2": square, "blocks.0.altup_out1": {}, "blocks.1.altup_router": {3, s.Hidden}, "blocks.1.altup_predict": {9, 3},
		"blocks.1.altup_correct": {3, 3}, "blocks.1.altup_scale": {}, "blocks.1.laurel_left": {2, s.Hidden}, "blocks.1.laurel_right": {s.Hidden, 2},
	} {
		if shapes[name] != want {
			t.Errorf("%s is %v, want %v", name, shapes[name], want)
		}
	}
	if roles["blocks.0.altup_in1"] != Linear || roles["blocks.0.altup_predict"] != Vector {
		t.Error("the matrices between streams are linear layers, the coefficients are not")
	}
	for want, change := range map[string]func(s *Spec){
		"9 streams, want 2 to 8":             func(s *Spec) { s.AltUp.Streams = 9 },
		"1 streams, want 2 to 8":             func(s *Spec) { s.AltUp.Streams = 1 },
		"0 streams, want 2 to 8":             func(s *Spec) { s.AltUp = AltUp{Scaled: true} },
		"altup: without an input":            func(s *Spec) { s.Layer = LayerInput{} },
		"rank of the learned residual is -":  func(s *Spec) { s.Laurel = -1 },
		"laurel: without a norm":             func(s *Spec) { s.AltUp, s.Layer, s.NoPreNorm = AltUp{}, LayerInput{}, true },
		"sparsity is given for 1 of 3":       func(s *Spec) { s.Sparsity = []float64{0.5} },
		"sparsity of block 1 is 1":           func(s *Spec) { s.Sparsity = []float64{0, 1, 0} },
		"sparsity: without a gate":           func(s *Spec) { s.Ungated = true },
		"an input of each layer, in a model": func(s *Spec) { s.Schedule = InOrder(3, 2) },
	} {
		bad := s
		change(&bad)
		if err := bad.Check(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}
