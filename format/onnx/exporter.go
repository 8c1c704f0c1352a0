// Package onnx exports models to ONNX for onnxruntime and onnxruntime-genai: a graph of
// onnxruntime's operators for decoders, with the codes and scales of the model in a file
// beside it.
package onnx

import (
	"fmt"
	"slices"

	"thimble/format/export"
	"thimble/internal/defect"
	"thimble/internal/model"
)

// Names of the files of an export.
const (
	GraphFile  = "model.onnx"
	DataFile   = "model.onnx.data"
	ConfigFile = "genai_config.json"
)

// accuracyLevel is that of MatMulNBits: onnxruntime rounds activations to 8-bit integers in
// blocks and multiplies integers, as it does in files of its own tools. Otherwise it would
// widen matrices of 8 bits for each product.
const accuracyLevel = 4

// Exporter exports models to ONNX for onnxruntime.
type Exporter struct{}

var _ export.Exporter = Exporter{}

// Format implements export.Exporter.
func (Exporter) Format() export.Format {
	return export.Format{
		Name: "onnx", Program: "onnxruntime", Files: []string{ConfigFile, GraphFile, DataFile, export.TokenizerFile, export.TokenizerConfigFile},
		Fast: "integers multiplied as they are",
		Slow: "widened to float32, when the file is loaded (floats) or for each product (2 bits)",
	}
}

// Check returns an error if the graph cannot compute m.
func (Exporter) Check(m *model.Model) (context int, notes []string, err error) {
	spec := m.Spec
	if context = usableContext(&spec); context > 0 {
		notes = append(notes, fmt.Sprintf("thimble export will require --context %d: the graph does not compute this model in its full context of %d", context, spec.Context))
		spec.Context = context
	}
	return context, notes, supported(m.Path, &spec)
}

// supported returns an error that names the first feature of s that the graph lacks.
func supported(path string, s *model.Spec) error {
	if missing := missing(s); len(missing) > 0 {
		err := defect.Unsupported(path, "%s in ONNX", model.NoteOf(s, missing[0].Name))
		if n := usableContext(s); n > 0 {
			err = fmt.Errorf("%w; with --context %d the files support texts of up to %d tokens and compute them exactly", err, n, n)
		}
		return err
	}
	if s.HeadDim%headMultiple != 0 {
		return defect.Unsupported(path, "heads %d wide in ONNX (onnxruntime's attention wants a multiple of %d)", s.HeadDim, headMultiple)
	}
	return nil
}

// headMultiple must divide the width of a head (group_query_attention_helper.h).
const headMultiple = 8

// missing lists the features of s that the graph lacks.
func missing(s *model.Spec) []*model.Feature {
	t := *s
	t.Alibi, t.Temperature, t.Experts, t.Delta, t.AttnGate = 0, model.Temperature{}, model.Experts{}, model.Delta{}, false
	if t.Activation == model.XIELU || t.Activation == model.Clamped {
		t.Activation = model.SiLU
	}
	t.Scan, t.Scales = model.Scan{}, model.Scales{}
	t.VNorm, t.FFNs, t.Layer, t.OutScale = false, nil, model.LayerInput{}, false
	t.AltUp, t.Laurel, t.Sparsity, t.Latent = model.AltUp{}, 0, nil, model.Latent{}
	t.Sinks, t.Clamp = false, model.Clamp{}
	t.Attention = slices.Clone(s.Attention)
	for i := range t.Attention {
		a := &t.Attention[i]
		a.Chunk, a.Conv, a.Delta, a.Scan, a.HeadDim, a.KVHeads, a.Back, a.KeyValues, a.Beside, a.Alone, a.Absent = 0, 0, 0, 0, 0, 0, 0, false, false, false, false
	}
	return model.Differences(s, &t)
}

// usableContext returns the longest context with which the graph computes s, or 0 if there is
// none or it needs none.
func usableContext(s *model.Spec) int {
	if len(missing(s)) == 0 {
		return 0
	}
	best := 0
	consider := func(n int) {
		t := *s
		if t.Context = n; n > best && n < s.Context && len(missing(&t)) == 0 {
			best = n
		}
	}
	for _, a := range s.Attention {
		consider(a.Chunk)
	}
	consider(s.Temperature.Length - s.Temperature.Shift)
	return best
}

// Plan implements export.Exporter.
func (e Exporter) Plan(m *model.Model, o export.Options) (*export.Plan, error) {
	s, err := o.Spec(m)
	if err != nil {
		return nil, err
	}
	if err := supported(m.Path, &s); err != nil {
		return nil, err
	}
	b := &builder{spec: &s, weights: weights{model: m, options: &o}, roles: map[string]model.Role{}, matrices: map[string]*stored{}, graph: graph{constants: map[string]bool{}}}
	for _, slot := range s.Slots() {
		b.roles[slot.Name] = slot.Role
	}
	if err := b.decoder(); err != nil {
		return nil, err
	}
	d, missing, err := export.Tokenizer(m, "onnxruntime-genai can run these files on token ids alone")
	if err != nil {
		return nil, err
	}
	config, err := b.config(d)
	if err != nil {
		return nil, err
	}
	parts := []export.Part{
		export.Text(GraphFile, b.encode("thimble", m.Provenance.Tool)),
		{Name: DataFile, Bytes: b.end, Body: b.write},
		export.Text(ConfigFile, config),
	}
	tokens, notes, err := export.TokenizerFiles(m, d, &s)
	if err != nil {
		return nil, err
	}
	parts = append(parts, tokens...)
	return &export.Plan{
		Tensors: b.tensors, Notes: slices.Concat(b.notes(), missing, notes), Bytes: export.Bytes(parts), Write: export.Folder(e.Format(), b.options, parts),
	}, nil
}

// notes returns notes on how the files differ from the model.
func (b *builder) notes() (notes []string) {
	if n := b.model.Spec.Context; b.spec.Context < n {
		notes = append(notes, fmt.Sprintf("the files support texts of up to %d tokens, the model %d", b.spec.Context, n))
	}
	return append(notes, export.RoundingNotes(b.tensors)...)
}
