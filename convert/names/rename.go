package names

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"thimble/internal/checkpoint"
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

// OwnNames returns the tensors by the names that n.Stored has for them.
func (n *Table) OwnNames(tensors map[string]*checkpoint.Tensor) map[string]*checkpoint.Tensor {
	if len(n.others)+len(n.joined) == 0 {
		return tensors
	}
	out := maps.Clone(tensors)
	for name, t := range tensors {
		for i := 0; i < len(n.others); i += 2 {
			for _, suffix := range []string{".weight", ".bias"} {
				if Matches(n.others[i]+suffix, name) {
					_, numbers := Generalize(name)
					delete(out, name)
					out[filled(n.others[i+1]+suffix, numbers)] = t
				}
			}
		}
	}
	for _, pattern := range n.joined {
		join(out, pattern)
	}
	return out
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
