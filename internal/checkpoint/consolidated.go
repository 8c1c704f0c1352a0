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

// Meta publishes Llama as consolidated.00.pth. A model that runs on n GPUs comes as n
// such files, each with one part of every matrix.
// https://github.com/meta-llama/llama-models/blob/main/models/llama3/model.py
const (
	consolidatedName    = "consolidated.00.pth"
	consolidatedPattern = "consolidated.%02d.pth"
	maxParallel         = 100
	maxVector           = 1 << 20 // elements; a view can have more elements than its file has bytes
)

// openConsolidated opens the consolidated.NN.pth files of a directory and joins their
// tensors.
func (c *Checkpoint) openConsolidated(d *Dir) error {
	var parts []map[string]*Tensor
	for n := 0; n < maxParallel && d.Has(fmt.Sprintf(consolidatedPattern, n)); n++ {
		if err := c.openIn(d, fmt.Sprintf(consolidatedPattern, n)); err != nil {
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
			return defect.Corrupt(filepath.Join(d.Path, name), "", "%s is missing", fmt.Sprintf(consolidatedPattern, len(parts)))
		}
	}
	if len(parts) == 1 {
		c.Tensors = parts[0]
		return nil
	}
	c.Notes = append(c.Notes, fmt.Sprintf("%d model-parallel files; the parts of each matrix are joined", len(parts)))
	return c.join(parts)
}

// join sets the tensors of c to the joined tensors of parts. All parts must have
// tensors of the same names.
func (c *Checkpoint) join(parts []map[string]*Tensor) error {
	width := 0
	if norm := parts[0]["norm.weight"]; norm != nil && len(norm.Shape) == 1 {
		width = norm.Shape[0]
	}
	for i, part := range parts {
		for name, t := range part {
			if parts[0][name] == nil {
				return defect.Corrupt(t.File, name, "tensor is stored in %s but not in the first file", fmt.Sprintf(consolidatedPattern, i))
			}
		}
	}
	c.Tensors = parts[0]
	for _, name := range c.Names() {
		all := make([]*Tensor, len(parts))
		for i, part := range parts {
			if all[i] = part[name]; all[i] == nil {
				return defect.Corrupt(c.Tensors[name].File, name, "tensor is stored here but not in %s", fmt.Sprintf(consolidatedPattern, i))
			}
		}
		t, err := joinTensor(all, width)
		if err != nil {
			return err
		}
		c.Tensors[name] = t
	}
	return nil
}

// joinTensor joins the parts of one tensor. Every part of a vector is the whole vector;
// a matrix is split into equal parts along one dimension. width is the width of the
// model's residual stream.
func joinTensor(parts []*Tensor, width int) (*Tensor, error) {
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
					return bad(other, "differs from the first file, but a vector must be the same in all")
				}
			}
			return nil
		})
	case 2:
		t.Data, t.Shape = nil, slices.Clone(first.Shape)
		dim := splitDim(first, len(parts), width)
		t.Shape[dim] *= len(parts)
		t.Source = []Source{stacked(parts), sideBySide(parts)}[dim]
		return &t, nil
	}
	return nil, bad(first, "shape is %v, want a vector or a matrix", first.Shape)
}

// splitDim returns the dimension along which a matrix is split over n GPUs. A layer
// whose input is split over the GPUs is split by columns (1), any other by rows (0).
// The embedding is split by rows since Llama 3 and by columns in Llama 1 and 2.
func splitDim(t *Tensor, n, width int) int {
	embedding := t.Name == "tok_embeddings.weight" && t.Shape[1]*n == width
	if embedding || strings.HasSuffix(t.Name, ".attention.wo.weight") || strings.HasSuffix(t.Name, ".feed_forward.w2.weight") {
		return 1
	}
	return 0
}
