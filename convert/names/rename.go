package names

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"thimble/internal/checkpoint"
	"thimble/internal/defect"
	"thimble/internal/model"
)

// Renaming returns n that also reads tensors by other names: pairs of a pattern of the
// checkpoint and the one that stands for it, both without ".weight" or ".bias".
func (n Table) Renaming(pairs ...string) Table {
	n.others = slices.Concat(n.others, pairs)
	return n
}

// Joining returns n for checkpoints that store a vector in pieces, one for each head: of a
// pattern such as "layers.*.q_norm.norms.*.weight", "layers.*.q_norm.weight" consists of
// all pieces in order.
func (n Table) Joining(patterns ...string) Table {
	n.joined = slices.Concat(n.joined, patterns)
	return n
}

// A stack is a tensor of all experts of a block, (experts, rows, columns), which some versions
// of transformers write in place of one matrix for each expert. The rows of an expert are those
// of parts, in order.
type stack struct {
	stored string   // its pattern
	parts  []string // patterns of what one expert has
}

// OwnNames returns the tensors by the names that n.Stored has for them. Two tensors that would
// get one name are an error: nothing says which of them is the model's.
func (n *Table) OwnNames(tensors map[string]*checkpoint.Tensor) (map[string]*checkpoint.Tensor, error) {
	if len(n.others)+len(n.joined)+len(n.stacks) == 0 {
		return tensors, nil
	}
	out, names := maps.Clone(tensors), slices.Sorted(maps.Keys(tensors))
	for _, name := range names {
		for i := 0; i < len(n.others); i += 2 {
			for _, suffix := range []string{".weight", ".bias"} {
				if !Matches(n.others[i]+suffix, name) {
					continue
				}
				_, numbers := Generalize(name)
				own := filled(n.others[i+1]+suffix, numbers)
				if out[own] != nil {
					return nil, twice(tensors[name], name, own)
				}
				delete(out, name)
				out[own] = tensors[name]
			}
		}
	}
	for _, pattern := range n.joined {
		join(out, pattern)
	}
	for _, s := range n.stacks {
		for _, name := range names {
			if !Matches(s.stored, name) {
				continue
			}
			if err := s.split(out, name, tensors[name]); err != nil {
				return nil, err
			}
		}
	}
	return out, nil
}

// twice returns the error for a tensor t whose contents other has, too.
func twice(t *checkpoint.Tensor, name, other string) error {
	return defect.Corrupt(t.File, name, "has what %s has, too; leave out the one that is not the model's with --drop %[1]s or --drop %[2]s",
		defect.Printable(other), defect.Printable(name))
}

// split replaces t in tensors by its parts. A tensor of another shape stays as it is, so that
// binding fails.
func (s *stack) split(tensors map[string]*checkpoint.Tensor, name string, t *checkpoint.Tensor) error {
	if len(t.Shape) != 3 || t.Shape[0] > model.MaxExperts || t.Shape[1]%len(s.parts) != 0 {
		return nil
	}
	_, numbers := Generalize(name)
	experts, rows := t.Shape[0], t.Shape[1]/len(s.parts)
	for i := range experts * len(s.parts) {
		one := *t
		one.Shape = []int{rows, t.Shape[2]}
		if t.Source == nil {
			size := len(t.Data) / (experts * len(s.parts))
			one.Data = t.Data[i*size:][:size]
		} else {
			one.Source = &picked{t, func(r int) int { return i*rows + r }}
		}
		part := filled(s.parts[i%len(s.parts)], append(numbers[:1:1], strconv.Itoa(i/len(s.parts))))
		if tensors[part] != nil {
			return twice(t, name, part)
		}
		tensors[part] = &one
	}
	delete(tensors, name)
	return nil
}

// filled returns pattern with numbers in place of its stars.
func filled(pattern string, numbers []string) string {
	for _, number := range numbers {
		pattern = strings.Replace(pattern, "*", number, 1)
	}
	return pattern
}

// join replaces the pieces of vectors in tensors by the vectors. Pieces that do not belong
// together stay as they are, so that binding them fails.
func join(tensors map[string]*checkpoint.Tensor, pattern string) {
	whole := pattern[:strings.LastIndex(pattern, ".norms.*")] + ".weight"
	pieces := map[string]int{} // by whole name
	for name := range tensors {
		if Matches(pattern, name) {
			_, numbers := Generalize(name)
			pieces[filled(whole, numbers[:1])]++
		}
	}
	for name, count := range pieces {
		_, numbers := Generalize(name)
		v := &checkpoint.Tensor{Name: name}
		var used []string
		for i := range count {
			piece := filled(pattern, []string{numbers[0], strconv.Itoa(i)})
			t := tensors[piece]
			if t == nil || len(t.Shape) != 1 || i > 0 && t.DType != v.DType {
				used = nil
				break
			}
			v.File, v.DType = t.File, t.DType
			v.Data = append(v.Data, t.Row(make([]byte, t.RowBytes()), 0)...)
			used = append(used, piece)
			v.Shape = []int{t.Shape[0] * (i + 1)}
		}
		if used == nil || tensors[name] != nil {
			continue
		}
		for _, piece := range used {
			delete(tensors, piece)
		}
		tensors[name] = v
	}
}
