// Package target joins plans with formats: what the file is that a plan becomes, how large it is,
// which of another program's types it uses, and which schemes a budget for it may choose from.
package target

import (
	"crypto/sha256"
	"path/filepath"
	"slices"
	"strings"

	"thimble/format"
	"thimble/format/export"
	container "thimble/format/thimble"
	"thimble/internal/digest"
	"thimble/internal/model"
	"thimble/internal/qtensor"
	"thimble/quantize"
)

// A File is the file that plans of a model become.
type File struct {
	Model    *model.Model
	Exporter format.Exporter // writes the file; nil for a container
	Tool     string          // name and version of this program, which files record

	ShardSize int64 // see export.Options

	// Container is the name of the container that the file is exported from, which it
	// records; "" if it is made without one.
	Container string
}

// Size returns the size in bytes of the file that plan becomes.
func (f *File) Size(plan *quantize.Plan) (int64, error) {
	if f.Exporter == nil {
		contents, err := f.planned(plan)
		if err != nil {
			return 0, err
		}
		return contents.Size()
	}
	p, err := f.exported(plan)
	if err != nil {
		return 0, err
	}
	return p.Bytes, nil
}

// AsStored returns plan with the types and bytes that the vectors have in the file that Exporter
// writes, which may have wider ones than the plan asks for, and the size of the file.
func (f *File) AsStored(plan *quantize.Plan) (*quantize.Plan, int64, error) {
	p, err := f.exported(plan)
	if err != nil {
		return nil, 0, err
	}
	to := map[string]qtensor.Scheme{}
	for _, t := range p.Tensors {
		to[t.Source] = t.To
	}
	stored := *plan
	stored.Tensors = slices.Clone(plan.Tensors)
	for i := range stored.Tensors {
		e := &stored.Tensors[i]
		wide, ok := to[e.Name]
		if !ok || e.Role != model.Vector || !wide.Float() {
			continue
		}
		bytes, err := wide.Size(e.Rows, e.Cols)
		if err != nil {
			return nil, 0, err
		}
		stored.Bytes += bytes - e.Bytes
		e.To, e.Bytes = wide, bytes
	}
	return &stored, p.Bytes, nil
}

// exported returns the plan of the file that plan becomes, which must not be written.
func (f *File) exported(plan *quantize.Plan) (*export.Plan, error) {
	contents, err := f.planned(plan)
	if err != nil {
		return nil, err
	}
	context, _, err := f.Exporter.Check(f.Model)
	if err != nil {
		return nil, err
	}
	stored := *f.Model
	stored.Provenance = contents.Provenance
	if f.Container != "" {
		stored.Provenance.Sources = append(stored.Provenance.Sources, model.Source{Name: filepath.Base(f.Container), SHA256: make([]byte, sha256.Size)})
	}
	schemes := make(map[string]qtensor.Scheme, len(plan.Tensors))
	for _, e := range plan.Tensors {
		schemes[e.Name] = e.To
	}
	return f.Exporter.Plan(&stored, export.Options{Context: context, ShardSize: f.ShardSize, Schemes: schemes})
}

// planned returns the contents of the container that plan makes, with digests of the sources
// that are zero.
func (f *File) planned(plan *quantize.Plan) (*container.Contents, error) {
	sources, err := digest.Sized(f.Model.Files)
	if err != nil {
		return nil, err
	}
	return f.Contents(sources, plan)
}

// Contents returns the contents of the container that plan makes from the model, which was
// read from sources.
func (f *File) Contents(sources []model.Source, plan *quantize.Plan) (*container.Contents, error) {
	contents, err := container.Describe(f.Model)
	if err != nil {
		return nil, err
	}
	for i, e := range plan.Tensors {
		c := &contents.Tensors[i]
		c.Scheme = e.To.InMemory()
		if e.To.Rate > 0 || plan.Coded && e.To.Kind == qtensor.Int {
			c.Coded, c.CodedBytes = true, e.Bytes
		}
	}
	p := &contents.Provenance
	p.Sources = append(slices.Clone(p.Sources), sources...)
	if p.Recipe != "" {
		p.Recipe = strings.TrimSpace(p.Recipe) + nextRecipe
	}
	p.Recipe += strings.TrimSpace(plan.Recipe)
	p.Tool = f.Tool
	return contents, nil
}

// nextRecipe separates the recipes of a model that was quantized several times, each of
// which is a YAML document.
const nextRecipe = "\n---\n"

// Recipes returns the recipe of each time that m was quantized, in order; none if it was not.
func Recipes(m *model.Model) []string {
	if m.Provenance.Recipe == "" {
		return nil
	}
	return strings.Split(strings.TrimSpace(m.Provenance.Recipe), nextRecipe)
}

// Predicted returns the divergence from its sources, in nats per token, that the last recipe of
// m predicts; 0 if it does not.
func Predicted(m *model.Model) float64 {
	all := strings.Split(m.Provenance.Recipe, nextRecipe)
	if r, err := quantize.ParseRecipe([]byte(all[len(all)-1])); err == nil {
		return r.PredictedKL
	}
	return 0
}

// Together returns by name the tensor of the file that holds a matrix of the model and others;
// it returns nil if the file has none.
func (f *File) Together() (func(name string) string, error) {
	if f.Exporter == nil {
		return nil, nil
	}
	p, err := f.floats()
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

// copies returns how many times the file stores each tensor: a format that cannot share blocks
// stores a block once for each of its steps.
func (f *File) copies() (map[string]int, error) {
	p, err := f.floats()
	if err != nil {
		return nil, err
	}
	copies := make(map[string]int, len(f.Model.Tensors))
	for _, t := range p.Tensors {
		copies[t.Source]++
	}
	return copies, nil
}

// floats plans the exporter's file with all tensors in float32.
func (f *File) floats() (*export.Plan, error) {
	context, _, err := f.Exporter.Check(f.Model)
	if err != nil {
		return nil, err
	}
	schemes := make(map[string]qtensor.Scheme, len(f.Model.Tensors))
	for name := range f.Model.Tensors {
		schemes[name] = qtensor.Scheme{Kind: qtensor.F32}
	}
	return f.Exporter.Plan(f.Model, export.Options{Context: context, ShardSize: f.ShardSize, Schemes: schemes})
}
