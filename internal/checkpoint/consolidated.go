package checkpoint

import (
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strings"

	"thimble/internal/defect"
	"thimble/internal/parallel"
)

// Meta publishes Llama as consolidated.00.pth, and where the model runs on n
// GPUs as n such files, each with a part of every matrix.
// https://github.com/meta-llama/llama-models/blob/main/models/llama3/model.py
const (
	consolidatedName = "consolidated.00.pth"
	consolidatedForm = "consolidated.%02d.pth"
	maxParallel      = 100
	maxVector        = 1 << 20 // elements; a view may claim more than its file holds
)

// openConsolidated opens the directory's consolidated.NN.pth and joins what
// they hold.
func (c *Checkpoint) openConsolidated(d *Dir) error {
	var parts []map[string]*Tensor
	for n := 0; n < maxParallel && d.Has(fmt.Sprintf(consolidatedForm, n)); n++ {
		if err := c.openIn(d, fmt.Sprintf(consolidatedForm, n)); err != nil {
			return err
		}
		parts = append(parts, c.Tensors)
		c.Tensors = map[string]*Tensor{}
	}
	names, err := d.Names()
	if err != nil {
		return err
	}
	for _, name := range names {
		if strings.HasPrefix(name, "consolidated.") && filepath.Ext(name) == ".pth" &&
			!slices.Contains(c.Files, filepath.Join(d.Path, name)) {
			return defect.Corrupt(filepath.Join(d.Path, name), "", "%s is missing", fmt.Sprintf(consolidatedForm, len(parts)))
		}
	}
	if len(parts) == 1 {
		c.Tensors = parts[0]
		return nil
	}
	c.Notes = append(c.Notes, fmt.Sprintf("%d model-parallel files, the parts of each matrix joined", len(parts)))
	return c.join(parts)
}

// join makes the tensors of c of those of parts, all of which have the same
// names.
func (c *Checkpoint) join(parts []map[string]*Tensor) error {
	width := 0
	if norm := parts[0]["norm.weight"]; norm != nil && len(norm.Shape) == 1 {
		width = norm.Shape[0]
	}
	for i, part := range parts {
		for name, t := range part {
			if parts[0][name] == nil {
				return defect.Corrupt(t.File, name, "tensor is stored in %s and not in the first", fmt.Sprintf(consolidatedForm, i))
			}
		}
	}
	c.Tensors = parts[0]
	for _, name := range c.Names() {
		all := make([]*Tensor, len(parts))
		for i, part := range parts {
			if all[i] = part[name]; all[i] == nil {
				return defect.Corrupt(c.Tensors[name].File, name, "tensor is stored here and not in %s", fmt.Sprintf(consolidatedForm, i))
			}
		}
		t, err := joined(all, width)
		if err != nil {
			return err
		}
		c.Tensors[name] = t
	}
	return nil
}

// joined is one tensor made of its parts: vectors are equal in all, matrices are
// cut along one dimension into equal parts. width is that of the model.
func joined(parts []*Tensor, width int) (*Tensor, error) {
	first := parts[0]
	bad := func(t *Tensor, format string, args ...any) error {
		return defect.Corrupt(t.File, t.Name, format, args...)
	}
	for _, t := range parts {
		switch {
		case t.DType != first.DType || !slices.Equal(t.Shape, first.Shape):
			return nil, bad(t, "%s %v, the first file has %s %v", t.DType, t.Shape, first.DType, first.Shape)
		case slices.ContainsFunc(t.Shape, func(n int) bool { return n > math.MaxInt32/maxParallel }) || len(t.Shape) == 1 && t.Shape[0] > maxVector:
			return nil, bad(t, "shape %v is out of range", t.Shape)
		}
	}
	t := *first
	switch len(first.Shape) {
	case 0, 1:
		return first, parallel.Guard(func() error {
			for _, other := range parts[1:] {
				if !Same(first, other) {
					return bad(other, "differs from that of the first file, and a vector is the same in all")
				}
			}
			return nil
		})
	case 2:
		t.Data, t.Shape = nil, slices.Clone(first.Shape)
		along := cut(first, len(parts), width)
		t.Shape[along] *= len(parts)
		t.Source = []Source{stack(parts), beside(parts)}[along]
		return &t, nil
	}
	return nil, bad(first, "shape is %v, want a vector or a matrix", first.Shape)
}

// cut is the dimension along which n GPUs share a matrix. Those that read what
// the GPUs hold apart are cut by columns, the others by rows; so was the
// embedding since Llama 3, while Llama 1 and 2 cut its columns.
func cut(t *Tensor, n, width int) int {
	embedding := t.Name == "tok_embeddings.weight" && t.Shape[1]*n == width
	if embedding || strings.HasSuffix(t.Name, ".attention.wo.weight") || strings.HasSuffix(t.Name, ".feed_forward.w2.weight") {
		return 1
	}
	return 0
}
