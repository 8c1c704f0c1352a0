// Package hf writes models as folders in the layout of Hugging Face: config.json, the files
// of the tokenizer, and model.safetensors. Its exporters differ in how they store matrices.
package hf

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"thimble/format/export"
	"thimble/internal/defect"
	"thimble/internal/model"
	"thimble/internal/qtensor"
	"thimble/internal/safetensors"
	"thimble/internal/tokenizer"
)

// An Exporter writes one form of folder.
type Exporter struct{ form *form }

// Exporters lists the exporters of this package.
func Exporters() []export.Exporter {
	return []export.Exporter{Exporter{&plain}, Exporter{&mlx}, Exporter{&compressed}}
}

// A form is a way to store the matrices of a model.
type form struct {
	format export.Format
	// nearest is Exporter.Nearest for integers.
	nearest func(s qtensor.Scheme, cols int, role model.Role) qtensor.Scheme
	// dtype returns the type of all values if the form stores values; otherwise it is nil.
	dtype func(schemes []qtensor.Scheme) qtensor.Kind
	// entries returns the tensors of the file for a matrix of integers of the module, and write
	// writes them, in order.
	entries func(module string, t *export.Tensor) []safetensors.Tensor
	write   func(w io.Writer, x *qtensor.Matrix) error
	// describe adds the keys about the integers to a config, and returns notes.
	describe func(keys map[string]any, placed []tensor) []string
	pt       string // format in the file's metadata
}

// files lists the files of every form.
var files = []string{
	"config.json", "generation_config.json", "model-*-of-*.safetensors", weightsFile, indexFile, export.TokenizerFile, export.TokenizerConfigFile,
}

// Format implements export.Exporter.
func (e Exporter) Format() export.Format { return e.form.format }

// Check implements export.Exporter.
func (e Exporter) Check(m *model.Model) (context int, notes []string, err error) {
	s := m.Spec.Unrolled()
	if _, _, err := choose(m.Path, e.form.format.Name, m.Provenance.Architecture, &s); err != nil {
		return 0, nil, err
	}
	_, notes, err = tokens(m)
	return 0, notes, err
}

// Nearest returns s if it is a float type or the form has it.
func (e Exporter) Nearest(s qtensor.Scheme, cols int, role model.Role) qtensor.Scheme {
	switch {
	case s.Float() || e.form.nearest == nil:
		return s.WideScales()
	case s.Kind == qtensor.Foreign:
		s, _ = s.Native()
	}
	return e.form.nearest(s, cols, role)
}

// dtypes names the float types as safetensors does.
var dtypes = map[qtensor.Kind]string{qtensor.F32: "F32", qtensor.F16: "F16", qtensor.BF16: "BF16"}

// torch names them as PyTorch does.
var torch = map[qtensor.Kind]string{qtensor.F32: "float32", qtensor.F16: "float16", qtensor.BF16: "bfloat16"}

// Kernel implements export.Exporter. The type of integers is their scheme.
func (e Exporter) Kernel(s qtensor.Scheme, _ int) (typ string, fast bool) {
	switch {
	case s.Float():
		return dtypes[s.Kind], true
	case e.form.nearest == nil:
		return dtypes[qtensor.F32], false
	}
	return strings.TrimSuffix(s.String(), "/sym"), true
}

// A tensor is a tensor of the model and those that store it.
type tensor struct {
	export.Tensor
	module  string // the name in the checkpoint without the last part
	entries []safetensors.Tensor
}

// A plan is an export in progress.
type plan struct {
	exporter Exporter
	m        *model.Model
	values   *model.Model // m, in the form plain with its channels in the source's order
	spec     model.Spec   // unrolled
	names    map[string]string
	keys     map[string]any
	tensors  []tensor
	notes    []string
	options  export.Options
}

// Plan implements export.Exporter. Blocks that share weights are written once for each step.
func (e Exporter) Plan(m *model.Model, o export.Options) (*export.Plan, error) {
	s, err := o.Spec(m)
	if err != nil {
		return nil, err
	}
	p := &plan{exporter: e, m: m, values: m, spec: s.Unrolled(), options: o}
	a, keys, err := choose(m.Path, e.form.format.Name, m.Provenance.Architecture, &p.spec)
	if err != nil {
		return nil, err
	}
	p.names, p.keys = a.stored(), keys
	if e.form.dtype != nil {
		p.values = m.InOrderOf(new(model.Provenance))
	} else if c := m.Provenance.Channels; len(c) > 0 {
		p.keys[model.ChannelsKey] = c
	}
	if s.Shared() {
		p.notes = append(p.notes, fmt.Sprintf("%s cannot share blocks: each of the %d blocks is written once for each of its steps, %d in all", a.modelType, s.Blocks, len(s.Schedule)))
	}
	if err := p.place(&s); err != nil {
		return nil, err
	}
	parts, err := p.parts()
	if err != nil {
		return nil, err
	}
	out := &export.Plan{Bytes: export.Bytes(parts), Write: export.Folder(e.form.format, &p.options, parts)}
	for _, t := range p.tensors {
		out.Tensors = append(out.Tensors, t.Tensor)
	}
	out.Notes = append(p.notes, export.RoundingNotes(out.Tensors)...)
	return out, nil
}

// place decides how each tensor is stored. s is the Spec before it was unrolled.
func (p *plan) place(s *model.Spec) error {
	f := p.exporter.form
	slots := p.spec.Slots()
	var all []qtensor.Scheme
	for _, slot := range slots {
		all = append(all, p.options.Scheme(p.m, s.StoredName(slot.Name)))
	}
	typeOf := f.dtype
	if typeOf == nil {
		typeOf = activationsType
	}
	kind := typeOf(all)
	if p.options.DType != "" {
		chosen, err := qtensor.ParseScheme(p.options.DType)
		if err != nil || !chosen.Float() || f.dtype == nil {
			return fmt.Errorf("type %q: want f32, f16 or bf16, and a format of floats", p.options.DType)
		}
		kind = chosen.Kind
	}
	p.keys["torch_dtype"] = torch[kind]
	for i, slot := range slots {
		t, source := tensor{}, s.StoredName(slot.Name)
		if f.dtype != nil {
			to := qtensor.Scheme{Kind: kind}
			t.Tensor = export.Tensor{Source: source, Type: dtypes[kind], Rows: slot.Rows, Cols: slot.Cols, From: all[i], To: to}
		} else {
			want := p.options.Exact(p.m, source)
			var err error
			if t.Tensor, err = export.Place(p.exporter, p.m, source, slot.Role, want, &p.options); err != nil {
				return err
			}
		}
		if err := p.lay(&t, slot); err != nil {
			return err
		}
		p.tensors = append(p.tensors, t)
	}
	if f.describe != nil {
		p.notes = append(p.notes, f.describe(p.keys, p.tensors)...)
	}
	return nil
}

// activationsType returns the type that a program computes in by default: float16, that of the
// scales, unless every float of the model is of another type.
func activationsType(schemes []qtensor.Scheme) qtensor.Kind {
	floats := slices.DeleteFunc(slices.Clone(schemes), func(s qtensor.Scheme) bool { return !s.Float() })
	if len(floats) == len(schemes) && len(floats) > 0 {
		return commonType(floats)
	}
	return qtensor.F16
}

// lay names the tensors of the file that store t.
func (p *plan) lay(t *tensor, slot model.Slot) error {
	stored, ok := nameOf(p.names, slot.Name)
	if !ok {
		return defect.Unsupported(p.m.Path, "tensor %s in %s", slot.Name, p.exporter.form.format.Name)
	}
	t.Name = stored
	t.module = stored[:max(strings.LastIndexByte(stored, '.'), 0)]
	if t.To.Float() {
		shape := []int{t.Rows, t.Cols}
		if slot.Role == model.Vector && t.Rows == 1 {
			shape = shape[1:]
		}
		n, err := t.To.Size(t.Rows, t.Cols)
		if err != nil {
			return err
		}
		t.entries = []safetensors.Tensor{{Name: stored, DType: dtypes[t.To.Kind], Shape: shape, Bytes: n}}
	} else {
		t.entries = p.exporter.form.entries(t.module, &t.Tensor)
	}
	for _, e := range t.entries {
		t.Bytes += e.Bytes
	}
	return nil
}

// nameOf returns the name in a checkpoint of a canonical tensor.
func nameOf(names map[string]string, canonical string) (string, bool) {
	block, kind, ok := model.SplitName(canonical)
	if !ok {
		name := names[canonical]
		return name, name != ""
	}
	name := names["blocks.*."+kind]
	return strings.Replace(name, "*", fmt.Sprint(block), 1), name != ""
}

// parts returns the files of the folder.
func (p *plan) parts() ([]export.Part, error) {
	d, notes, err := tokens(p.m)
	if err != nil {
		return nil, err
	}
	tokenizer, more, err := export.TokenizerFiles(p.m, d, &p.spec)
	if err != nil {
		return nil, err
	}
	p.notes = slices.Concat(p.notes, notes, more)
	if pad := export.Pad(d, &p.spec); pad >= 0 {
		p.keys["pad_token_id"] = pad
	}
	config, err := encode(p.keys)
	if err != nil {
		return nil, err
	}
	generation, err := encode(p.generation())
	if err != nil {
		return nil, err
	}
	parts := []export.Part{export.Text("config.json", config), export.Text("generation_config.json", generation)}
	weights, err := p.weights()
	if err != nil {
		return nil, err
	}
	return slices.Concat(parts, weights, tokenizer), nil
}

// tokens returns the tokenizer of m, nil and a note if it has none.
func tokens(m *model.Model) (d *tokenizer.Data, notes []string, err error) {
	return export.Tokenizer(m, "other programs can run this model on token ids alone")
}

// generation returns the contents of generation_config.json.
func (p *plan) generation() map[string]any {
	g := map[string]any{"_from_model_config": false, "do_sample": p.m.Generation.Temperature > 0}
	for _, key := range []string{"bos_token_id", "eos_token_id", "pad_token_id"} {
		if v := p.keys[key]; v != nil {
			g[key] = v
		}
	}
	s := p.m.Generation
	for _, x := range []struct {
		key   string
		value float64
	}{{"temperature", s.Temperature}, {"top_p", s.TopP}, {"min_p", s.MinP}, {"repetition_penalty", s.RepetitionPenalty}} {
		if x.value != 0 {
			g[x.key] = x.value
		}
	}
	if s.TopK != 0 {
		g["top_k"] = s.TopK
	}
	return g
}

// quantized returns the tensors that are integers.
func quantized(all []tensor) []tensor {
	return slices.DeleteFunc(slices.Clone(all), func(t tensor) bool { return t.To.Float() })
}

// commonest returns the scheme that most weights have.
func commonest(all []tensor) qtensor.Scheme {
	count := map[qtensor.Scheme]int64{}
	for _, t := range all {
		count[t.To] += int64(t.Rows) * int64(t.Cols)
	}
	return slices.MaxFunc(slices.SortedFunc(maps.Keys(count), func(a, b qtensor.Scheme) int { return cmp.Compare(a.String(), b.String()) }),
		func(a, b qtensor.Scheme) int { return cmp.Compare(count[a], count[b]) })
}

// write writes the entries of t.
func (p *plan) write(ctx context.Context, w io.Writer, t *tensor) error {
	return t.Read(ctx, p.values, &p.options, func(x *qtensor.Matrix) error {
		var err error
		if t.To.Float() {
			err = writeFloats(w, x, t.To.Kind)
		} else {
			err = p.exporter.form.write(w, x)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", t.Source, err)
		}
		return nil
	})
}
