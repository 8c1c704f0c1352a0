package convert

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"thimble/internal/checkpoint"
	"thimble/internal/defect"
	"thimble/internal/model"
	"thimble/internal/qtensor"
	"thimble/internal/spell"
)

// names maps canonical tensor names to those of a checkpoint. In a pattern, * stands for
// the number of a block, written without leading zeros.
type names struct {
	stored  map[string]string // from canonical patterns to the checkpoint's
	ignored []string          // patterns of the checkpoint's tensors that follow from the config
	fused   []fused           // matrices that hold several of the model's
	pairs   bool              // the rotary embedding rotates rows 2i and 2i+1 of each head of q and k together
}

// of returns the checkpoint's name for a canonical tensor.
func (n *names) of(canonical string) string {
	if name, ok := n.stored[canonical]; ok {
		return name
	}
	part := strings.SplitN(canonical, ".", 3) // "blocks", number, kind
	return strings.Replace(n.stored[part[0]+".*."+part[2]], "*", part[1], 1)
}

// atBlock returns a pattern's name in a block.
func atBlock(pattern string, block int) string {
	return strings.Replace(pattern, "*", strconv.Itoa(block), 1)
}

// matches reports whether name is pattern with a block number in place of the *.
func matches(pattern, name string) bool {
	before, after, numbered := strings.Cut(pattern, "*")
	if !numbered {
		return name == pattern
	}
	name, ok := strings.CutPrefix(name, before)
	number, ok2 := strings.CutSuffix(name, after)
	n, err := strconv.Atoi(number)
	return ok && ok2 && err == nil && number == strconv.Itoa(n) && n >= 0
}

// kinds lists the stored types that Thimble computes with.
var kinds = map[checkpoint.DType]qtensor.Kind{
	checkpoint.F32: qtensor.F32, checkpoint.F16: qtensor.F16, checkpoint.BF16: qtensor.BF16,
}

// tensors returns the stored tensor for every slot of spec, by canonical name and without
// copying, and notes on the tensors that it converted or dropped. A stored tensor that
// spec does not use must be one that cannot change the results. kept has the integers of
// the tensors that were packed.
func (n *names) tensors(spec *model.Spec, stored map[string]*checkpoint.Tensor, kept map[*checkpoint.Tensor]*qtensor.Matrix, cfg *config, path string) (map[string]*qtensor.Matrix, []string, error) {
	b := &binding{names: n, headDim: spec.HeadDim, blocks: spec.Blocks, file: cfg.file, scaling: cfg.shared.scaling, kept: kept, unused: maps.Clone(stored), count: map[string]int{}}
	if spec.Tied {
		delete(b.unused, n.of(model.Head)) // it equals the embedding: see tie
	}
	slots := spec.Slots()
	for _, s := range slots {
		delete(b.unused, n.of(s.Name))
	}
	out := make(map[string]*qtensor.Matrix, len(slots))
	for _, s := range slots {
		name := n.of(s.Name)
		t := stored[name]
		if t == nil {
			return nil, nil, defect.Corrupt(path, name, "tensor is missing, want shape %v%s", shape(s), nearest(name, b.unused))
		}
		m, err := b.matrix(t, s)
		if err != nil {
			return nil, nil, err
		}
		out[s.Name] = m
	}
	notes, err := b.drop()
	return out, notes, err
}

// nearest returns a hint that names the unused tensor with the name most similar to
// name, or "".
func nearest(name string, unused map[string]*checkpoint.Tensor) string {
	near := slices.DeleteFunc(slices.Sorted(maps.Keys(unused)), func(k string) bool {
		return max(len(k), len(name))-min(len(k), len(name)) > len(name)/3 // too different to compare
	})
	if found := spell.Nearest(name, near); found != "" {
		return fmt.Sprintf("; the checkpoint has %s, which is unused", defect.Printable(found))
	}
	return ""
}

// shape returns the shape that slot s has in a checkpoint.
func shape(s model.Slot) []int {
	if s.Role == model.Vector {
		return []int{s.Cols}
	}
	return []int{s.Rows, s.Cols}
}
