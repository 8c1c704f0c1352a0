package convert

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"thimble/internal/checkpoint"
)

// merged returns a with the entries of b added or replaced.
func merged(a, b map[string]string) map[string]string {
	out := maps.Clone(a)
	maps.Copy(out, b)
	return out
}

// renaming returns n that also reads tensors by other names: pairs of a pattern of the
// checkpoint and the one that stands for it, both without ".weight" or ".bias".
func (n names) renaming(pairs ...string) names {
	n.others = slices.Concat(n.others, pairs)
	return n
}

// joining returns n for checkpoints that store a vector in pieces, one for each head: of a
// pattern such as "layers.*.q_norm.norms.*.weight", "layers.*.q_norm.weight" consists of
// all pieces in order.
func (n names) joining(patterns ...string) names {
	n.joined = slices.Concat(n.joined, patterns)
	return n
}

// ownNames returns the tensors by the names that n.stored has for them.
func (n *names) ownNames(tensors map[string]*checkpoint.Tensor) map[string]*checkpoint.Tensor {
	if len(n.others)+len(n.joined) == 0 {
		return tensors
	}
	out := maps.Clone(tensors)
	for name, t := range tensors {
		for i := 0; i < len(n.others); i += 2 {
			for _, suffix := range []string{".weight", ".bias"} {
				if matches(n.others[i]+suffix, name) {
					_, numbers := generalize(name)
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
		if matches(pattern, name) {
			_, numbers := generalize(name)
			pieces[filled(whole, numbers[:1])]++
		}
	}
	for name, count := range pieces {
		_, numbers := generalize(name)
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
