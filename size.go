package thimble

import (
	"crypto/sha256"
	"path/filepath"

	"thimble/format"
	"thimble/format/export"
	container "thimble/format/thimble"
	"thimble/internal/digest"
	"thimble/internal/model"
	"thimble/internal/qtensor"
	"thimble/quantize"
)

// An ExportSize is the size of the file that Export makes from a container.
type ExportSize struct {
	Format  string `json:"format"`
	Program string `json:"program"`
	Bytes   int64  `json:"bytes"`
}

// limitedFile describes the file whose size b limits: the container that a plan makes
// from m or, if target is not nil, the file that target makes from that container.
// path is the container's, see exportSize.
func limitedFile(b *Budget, m *model.Model, target format.Exporter, path string) (quantize.File, error) {
	if b.File == 0 {
		return quantize.File{}, nil
	}
	if target == nil {
		return quantize.File{Size: func(plan *quantize.Plan) (int64, error) { return containerSize(m, plan) }}, nil
	}
	copies, err := copiesIn(m, target)
	return quantize.File{
		Copies: func(name string) int { return copies[name] },
		Size: func(plan *quantize.Plan) (int64, error) {
			if _, _, err := typesFor(target, m, plan); err != nil {
				return 0, err
			}
			return exportSize(m, plan, target, path)
		},
	}, err
}

// plannedContents returns the contents of the container that plan makes from m, with
// digests of the sources that are zero.
func plannedContents(m *model.Model, plan *quantize.Plan) (*container.Contents, error) {
	sources, err := digest.Sized(m.Files)
	if err != nil {
		return nil, err
	}
	return contentsOf(m, sources, plan)
}

// containerSize returns the size in bytes of the container that plan makes from m.
func containerSize(m *model.Model, plan *quantize.Plan) (int64, error) {
	contents, err := plannedContents(m, plan)
	if err != nil {
		return 0, err
	}
	return contents.Size()
}

// exportSize returns the size in bytes of the file that target makes from the container
// that plan makes from m. The file records the container's name. path is the container's,
// or "" for a file that is made without one.
func exportSize(m *model.Model, plan *quantize.Plan, target format.Exporter, path string) (int64, error) {
	contents, err := plannedContents(m, plan)
	if err != nil {
		return 0, err
	}
	context, _, err := target.Check(m)
	if err != nil {
		return 0, err
	}
	stored := *m
	stored.Provenance = contents.Provenance
	if path != "" {
		stored.Provenance.Sources = append(stored.Provenance.Sources, model.Source{Name: filepath.Base(path), SHA256: make([]byte, sha256.Size)})
	}
	schemes := make(map[string]qtensor.Scheme, len(plan.Tensors))
	for _, e := range plan.Tensors {
		schemes[e.Name] = e.To
	}
	p, err := target.Plan(&stored, export.Options{Context: context, Schemes: schemes})
	if err != nil {
		return 0, err
	}
	return p.Bytes, nil
}

// copiesIn returns how many times a file of target stores each tensor of m: a format
// that cannot share blocks stores a block once for each of its steps.
func copiesIn(m *model.Model, target format.Exporter) (map[string]int, error) {
	p, err := floatsIn(m, target)
	if err != nil {
		return nil, err
	}
	copies := make(map[string]int, len(m.Tensors))
	for _, t := range p.Tensors {
		copies[t.Source]++
	}
	return copies, nil
}

// togetherIn returns by name the tensor of a file of target that holds a matrix of m and
// others; a target of nil has none.
func togetherIn(m *model.Model, target format.Exporter) (func(name string) string, error) {
	if target == nil {
		return nil, nil
	}
	p, err := floatsIn(m, target)
	if err != nil {
		return nil, err
	}
	count, holder := map[string]int{}, map[string]string{}
	for _, t := range p.Tensors {
		count[t.Name]++
	}
	for _, t := range p.Tensors {
		if count[t.Name] > 1 && holder[t.Source] == "" {
			holder[t.Source] = t.Name
		}
	}
	return func(name string) string { return holder[name] }, nil
}

// floatsIn plans the file of target for m with all tensors in float32.
func floatsIn(m *model.Model, target format.Exporter) (*export.Plan, error) {
	context, _, err := target.Check(m)
	if err != nil {
		return nil, err
	}
	schemes := make(map[string]qtensor.Scheme, len(m.Tensors))
	for name := range m.Tensors {
		schemes[name] = qtensor.Scheme{Kind: qtensor.F32}
	}
	return target.Plan(m, export.Options{Context: context, Schemes: schemes})
}
