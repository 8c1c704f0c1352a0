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

// names says which checkpoint tensor holds each canonical one. In every
// pattern * is the number of a block, written without leading zeros.
type names struct {
	stored  map[string]string // canonical pattern to the checkpoint's
	ignored []string          // the checkpoint's patterns of what can be computed from the config
	pairs   bool              // rows 2i and 2i+1 of each head of q and k turn together
}

// of returns the checkpoint's name of a canonical tensor.
func (n *names) of(canonical string) string {
	if name, ok := n.stored[canonical]; ok {
		return name
	}
	part := strings.SplitN(canonical, ".", 3) // "blocks", number, kind
	return strings.Replace(n.stored[part[0]+".*."+part[2]], "*", part[1], 1)
}

// matches reports whether name is pattern with a block number for its *.
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

// kinds are the types that are computed with as they are stored.
var kinds = map[checkpoint.DType]qtensor.Kind{
	checkpoint.F32: qtensor.F32, checkpoint.F16: qtensor.F16, checkpoint.BF16: qtensor.BF16,
}

// tensors finds the tensor of every slot of spec in c and returns them by
// canonical name, without copying. What is left over must be on the list of
// the ignored; each pattern that dropped something gets a note.
func (n *names) tensors(spec *model.Spec, c *checkpoint.Checkpoint, cfg *config, path string) (map[string]*qtensor.Matrix, []string, error) {
	b := &binding{names: n, headDim: spec.HeadDim, file: cfg.file, scaling: cfg.shared.scaling, left: maps.Clone(c.Tensors), count: map[string]int{}}
	left := b.left
	if spec.Tied {
		delete(left, n.of(model.Head)) // it equals the embedding, see tie
	}
	slots := spec.Slots()
	for _, s := range slots {
		delete(left, n.of(s.Name))
	}
	out := make(map[string]*qtensor.Matrix, len(slots))
	for _, s := range slots {
		name := n.of(s.Name)
		t := c.Tensors[name]
		if t == nil {
			return nil, nil, defect.Corrupt(path, name, "tensor is missing, want shape %v%s", shape(s), nearest(name, left))
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

// nearest names the tensor among left that was perhaps meant by name.
func nearest(name string, left map[string]*checkpoint.Tensor) string {
	near := slices.DeleteFunc(slices.Sorted(maps.Keys(left)), func(k string) bool {
		return max(len(k), len(name))-min(len(k), len(name)) > len(name)/3 // not worth a comparison
	})
	if found := spell.Nearest(name, near); found != "" {
		return fmt.Sprintf("; %s is stored and has no place", defect.Printable(found))
	}
	return ""
}

// shape is the checkpoint's shape of a slot.
func shape(s model.Slot) []int {
	if s.Role == model.Vector {
		return []int{s.Cols}
	}
	return []int{s.Rows, s.Cols}
}
