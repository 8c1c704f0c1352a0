package names

import (
	"maps"
	"testing"

	"thimble/internal/checkpoint"
)

// A tensor that a checkpoint has under two names, in a stack of experts and as one of its
// matrices or after a renaming, is an error that names both. Without either, the other is taken.
func TestTwoNamesForOneTensor(t *testing.T) {
	one := func(shape ...int) *checkpoint.Tensor {
		n := 2
		for _, d := range shape {
			n *= d
		}
		return &checkpoint.Tensor{File: "a.safetensors", DType: checkpoint.BF16, Shape: shape, Data: make([]byte, n)}
	}
	table := Table{Stored: map[string]string{}}.Experts("layers.*.", "layers.*.gate.weight", "gate", "up", "down").Renaming("layers.*.old", "layers.*.new")
	for _, c := range []struct{ first, second, own, want string }{
		{"layers.0.experts.gate_up_proj", "layers.0.experts.1.up.weight", "layers.0.experts.1.up.weight",
			"a.safetensors: layers.0.experts.gate_up_proj: has what layers.0.experts.1.up.weight has, too; leave out the one that is not the model's with --drop layers.0.experts.1.up.weight or --drop layers.0.experts.gate_up_proj"},
		{"layers.3.old.bias", "layers.3.new.bias", "layers.3.new.bias",
			"a.safetensors: layers.3.old.bias: has what layers.3.new.bias has, too; leave out the one that is not the model's with --drop layers.3.new.bias or --drop layers.3.old.bias"},
	} {
		tensors := map[string]*checkpoint.Tensor{c.first: one(2, 4, 3), c.second: one(2, 3)}
		if _, err := table.OwnNames(tensors); err == nil || err.Error() != c.want {
			t.Errorf("%v, want %s", err, c.want)
		}
		for name := range tensors {
			rest := maps.Clone(tensors)
			delete(rest, name)
			got, err := table.OwnNames(rest)
			if err != nil || got[c.own] == nil {
				t.Errorf("without %s: %v, %v", name, got, err)
			}
		}
	}
}
