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
	mixed  bool     // the rows of parts alternate
	turned bool     // the tensor is (experts, columns, rows)
	values bool     // the tensor is (experts, values), of vectors
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
	dims, at := 3, 1
	switch {
	case s.values:
		dims = 2
	case s.turned:
		at = 2
	}
	if len(t.Shape) != dims || t.Shape[0] > model.MaxExperts || t.Shape[at]%len(s.parts) != 0 {
		return nil
	}
	_, numbers := Generalize(name)
	rows := t.Shape[at] / len(s.parts)
	for e := range t.Shape[0] {
		whole := expertOf(t, e)
		for i, pattern := range s.parts {
			part := filled(pattern, append(numbers[:1:1], strconv.Itoa(e)))
			if tensors[part] != nil {
				return twice(t, name, part)
			}
			from := func(r int) int { return i*rows + r }
			if s.mixed {
				from = func(r int) int { return r*len(s.parts) + i }
			}
			tensors[part] = s.partOf(whole, rows, from)
		}
	}
	delete(tensors, name)
	return nil
}

// expertOf returns the part of a stack t that is of expert e.
func expertOf(t *checkpoint.Tensor, e int) *checkpoint.Tensor {
	one := *t
	one.Shape = t.Shape[1:]
	switch {
	case t.Source == nil:
		size := len(t.Data) / t.Shape[0]
		one.Data = t.Data[e*size:][:size]
	case len(one.Shape) == 1:
		one.Data, one.Source = t.Row(make([]byte, t.RowBytes()), e), nil
	default:
		one.Source = &picked{t, func(r int) int { return e*one.Shape[0] + r }}
	}
	return &one
}

// partOf returns the part of an expert's tensor of which row r is row from(r).
func (s *stack) partOf(whole *checkpoint.Tensor, rows int, from func(r int) int) *checkpoint.Tensor {
	one := *whole
	switch {
	case s.values:
		one.Shape, one.Data = []int{rows}, pickValues(whole, rows, from)
	case s.turned:
		one.Shape, one.Data, one.Source = []int{rows, whole.Shape[0]}, nil, &columns{whole, from}
	case whole.Source == nil && !s.mixed:
		one.Shape = []int{rows, whole.Shape[1]}
		size := len(whole.Data) / whole.Shape[0]
		one.Data = whole.Data[from(0)*size:][:rows*size]
	default:
		one.Shape, one.Data, one.Source = []int{rows, whole.Shape[1]}, nil, &picked{whole, from}
	}
	return &one
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
