package names

import (
	"testing"
	"time"

	"thimble/internal/checkpoint"
	"thimble/internal/model"
)

// Counting the blocks ends at the first without a tensor, even if a tensor belongs to every block,
// as the one from which Gemma 4 makes the inputs of its layers, or the table lacks a kind.
func TestBlocksIn(t *testing.T) {
	table := Table{Stored: map[string]string{"blocks.*.q": "layers.*.q.weight", "blocks.*.layer_in": "shared.weight"}}
	tensors := map[string]*checkpoint.Tensor{}
	for _, name := range []string{"layers.0.q.weight", "layers.1.q.weight", "layers.3.q.weight", "shared.weight", ""} {
		tensors[name] = &checkpoint.Tensor{Name: name}
	}
	slots := []model.Slot{{Name: "embed"}, {Name: model.Name(0, "q")}, {Name: model.Name(0, "layer_in")}, {Name: model.Name(0, "k")}}
	done := make(chan int, 1)
	go func() { done <- table.blocksIn(tensors, slots) }()
	select {
	case got := <-done:
		if got != 2 {
			t.Errorf("%d blocks, want 2", got)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("counting the blocks does not end")
	}
}
