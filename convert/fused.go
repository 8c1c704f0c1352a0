package convert

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"

	"thimble/internal/checkpoint"
	"thimble/internal/defect"
	"thimble/internal/model"
)

// A fused is a linear layer of a checkpoint whose rows are those of several of the model's,
// one after the other.
type fused struct {
	prefix string   // pattern of its name, before "weight" or "bias"
	parts  []string // kinds, such as model.Q
}

// fuse returns n with another fused layer.
func (n names) fuse(prefix string, parts []string) names {
	n.fused = append(slices.Clip(n.fused), fused{prefix, parts})
	return n
}

// split returns the tensors with the fused ones replaced by their parts, under the names that
// n has for these. A checkpoint may also store the parts.
func (n *names) split(spec *model.Spec, tensors map[string]*checkpoint.Tensor, c *config) (map[string]*checkpoint.Tensor, error) {
	if len(n.fused) == 0 {
		return tensors, nil
	}
	rows := map[string]int{}
	for _, s := range spec.Slots() {
		rows[s.Name] = s.Rows
	}
	out := maps.Clone(tensors)
	for _, f := range n.fused {
		for b := range spec.Blocks {
			for _, kind := range []string{"weight", "bias"} {
				name := atBlock(f.prefix, b) + kind
				if t := out[name]; t != nil {
					delete(out, name)
					if err := n.splitInto(out, t, f, b, kind == "bias", rows, c); err != nil {
						return nil, err
					}
				} else if kind == "weight" && out[n.of(model.Name(b, f.parts[0]))] == nil {
					return nil, defect.Corrupt(c.file, name, "tensor is missing in the checkpoint")
				}
			}
		}
	}
	return out, nil
}

// splitInto adds the parts of t, of block b, to out.
func (n *names) splitInto(out map[string]*checkpoint.Tensor, t *checkpoint.Tensor, f fused, b int, bias bool, rows map[string]int, c *config) error {
	total := 0
	for _, kind := range f.parts {
		total += rows[model.Name(b, kind)]
	}
	if len(t.Shape) == 0 || t.Shape[0] != total || bias != (len(t.Shape) == 1) {
		return defect.Corrupt(t.File, t.Name, "shape is %v, %s requires %d rows", t.Shape, filepath.Base(c.file), total)
	}
	if c.shared.scaling != nil && (t.DType == checkpoint.F8E4M3 || t.DType == checkpoint.F8E5M2) {
		return fmt.Errorf("%s: %w; save the checkpoint as bfloat16", defect.Printable(t.File), defect.Unsupported(t.Name, "a matrix of 8-bit floats with scales that holds several of the model's"))
	}
	first := 0
	for _, kind := range f.parts {
		part, name, count := *t, model.Name(b, kind), rows[model.Name(b, kind)]
		part.Shape = slices.Clone(t.Shape)
		part.Shape[0] = count
		if bias {
			name += model.BiasSuffix
		}
		size := len(t.Data) / total // of a row, or of a value of a bias
		if t.Source != nil {
			if bias {
				return defect.Unsupported(t.Name, "a bias that is not stored in one piece")
			}
			part.Source = &rowsFrom{t, first}
		} else {
			part.Data = t.Data[first*size : (first+count)*size]
		}
		if out[n.of(name)] != nil {
			return defect.Corrupt(t.File, t.Name, "the checkpoint also has %s, which is a part of it", n.of(name))
		}
		out[n.of(name)] = &part
		first += count
	}
	return nil
}

// rowsFrom supplies the rows of a tensor from one on.
type rowsFrom struct {
	*checkpoint.Tensor
	first int
}

func (r *rowsFrom) Row(dst []byte, at int) { copy(dst, r.Tensor.Row(dst, r.first+at)) }
