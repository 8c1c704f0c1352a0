// Package names assigns the tensors of a checkpoint to the slots of a model's Spec. It has
// the form of an architecture's table of names, takes off what programs put around names,
// and makes a canonical tensor of the stored ones without copying them.
package names

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"maps"
	"math"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"thimble/internal/checkpoint"
	"thimble/internal/defect"
	"thimble/internal/model"
	"thimble/internal/qtensor"
	"thimble/internal/spell"
)

// A Table maps canonical tensor names to those of a checkpoint. In a pattern, * stands for
// the number of a block, written without leading zeros.
type Table struct {
	Stored  map[string]string // from canonical patterns to the checkpoint's
	Ignored []string          // patterns of the checkpoint's tensors that follow from the config
	Pairs   bool              // the rotary embedding rotates rows 2i and 2i+1 of each head of q and k together
	Ones    []string          // canonical patterns of gains that the class lacks: they are 1
	apart   string            // see LeavingOut
	parts   map[string]Part   // by canonical pattern, how a stored tensor that holds several becomes one
	others  []string          // see Renaming
	joined  []string          // see Joining
	stacks  []stack
}

// Of returns the checkpoint's name for a canonical tensor.
func (n *Table) Of(canonical string) string {
	pattern, numbers := Generalize(canonical)
	return filled(n.Stored[pattern], numbers)
}

// Generalize returns the pattern of a canonical name, which has a * for each number of a
// block or an expert, and the numbers.
func Generalize(canonical string) (pattern string, numbers []string) {
	parts := strings.Split(canonical, ".")
	for i, p := range parts {
		if isNumber(p) {
			parts[i], numbers = "*", append(numbers, p)
		}
	}
	return strings.Join(parts, "."), numbers
}

// isNumber reports whether text is a whole number written without leading zeros.
func isNumber(text string) bool {
	n, err := strconv.Atoi(text)
	return err == nil && n >= 0 && text == strconv.Itoa(n)
}

// Matches reports whether name is pattern with numbers in place of each *.
func Matches(pattern, name string) bool {
	before, after, numbered := strings.Cut(pattern, "*")
	if !numbered {
		return name == pattern
	}
	rest, ok := strings.CutPrefix(name, before)
	end := strings.IndexFunc(rest, func(r rune) bool { return r < '0' || r > '9' })
	if end < 0 {
		end = len(rest)
	}
	return ok && isNumber(rest[:end]) && Matches(after, rest[end:])
}

// Kinds lists the stored types that Thimble computes with.
var Kinds = map[checkpoint.DType]qtensor.Kind{
	checkpoint.F32: qtensor.F32, checkpoint.F16: qtensor.F16, checkpoint.BF16: qtensor.BF16,
}

// Stored is what a checkpoint stores.
type Stored struct {
	Path, Config string // of the checkpoint and of its config, for errors
	Blocks       string // the key of the config that says how many blocks the model has, for errors
	Tensors      map[string]*checkpoint.Tensor
	Kept         map[*checkpoint.Tensor]*qtensor.Matrix // the integers of the tensors that were packed
	Scaling      *Scaling                               // of 8-bit floats; nil if the config declares none
	Next         int                                    // blocks after the model's that predict further tokens
}

// Bind returns the stored tensor for every slot of spec, by canonical name and without
// copying, and notes on the tensors that it converted or dropped. A stored tensor that
// spec does not use must be one that cannot change the results.
func (n *Table) Bind(spec *model.Spec, from *Stored) (map[string]*qtensor.Matrix, []string, error) {
	b := &binding{Table: n, headDim: spec.HeadDim, blocks: spec.Blocks, blocksKey: from.Blocks, next: from.Next, file: from.Config, scaling: from.Scaling, kept: from.Kept, unused: maps.Clone(from.Tensors), count: map[string]int{}}
	if spec.Tied {
		delete(b.unused, n.Of(model.Head)) // it equals the embedding
	}
	slots := spec.Slots()
	for _, s := range slots {
		delete(b.unused, n.Of(s.Name))
	}
	b.rows = n.sharedRows(slots)
	b.storedBlocks = n.blocksIn(from.Tensors, slots)
	out := make(map[string]*qtensor.Matrix, len(slots))
	for _, s := range slots {
		if pattern, _ := Generalize(s.Name); slices.Contains(n.Ones, pattern) {
			out[s.Name] = ones(s.Cols)
			continue
		}
		name := n.Of(s.Name)
		t := from.Tensors[name]
		if t == nil {
			return nil, nil, defect.Corrupt(from.Path, name, "tensor is missing, want shape %v%s", b.shape(s), cmp.Or(b.tooManyBlocks(s), b.packed(name), nearest(name, b.unused)))
		}
		t, err := b.part(t, s, spec)
		if err != nil {
			return nil, nil, err
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

// ones returns n gains of 1.
func ones(n int) *qtensor.Matrix {
	m := &qtensor.Matrix{Scheme: qtensor.Scheme{Kind: qtensor.F32}, Rows: 1, Cols: n}
	for range n {
		m.Codes = binary.LittleEndian.AppendUint32(m.Codes, math.Float32bits(1))
	}
	return m
}

// packed says that the weight called name is stored in packed words, or returns "".
func (b *binding) packed(name string) string {
	module, ok := strings.CutSuffix(name, "weight")
	for _, suffix := range []string{"qweight", "weight_packed"} {
		if ok && b.unused[module+suffix] != nil {
			return fmt.Sprintf("; the weights are packed integers, as %s, but %s has no quantization_config that says how: copy the one that was saved with them there",
				defect.Printable(module+suffix), filepath.Base(b.file))
		}
	}
	return ""
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
	if s.Rows == 1 && s.Role == model.Vector {
		return []int{s.Cols}
	}
	return []int{s.Rows, s.Cols}
}
