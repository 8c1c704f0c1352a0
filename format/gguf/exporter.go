package gguf

import (
	"fmt"
	"strconv"
	"strings"

	"thimble/format/export"
	"thimble/format/gguf/ggml"
	"thimble/internal/model"
	"thimble/internal/qtensor"
)

// Exporter exports models to GGUF for llama.cpp.
type Exporter struct{}

var _ export.Exporter = Exporter{}

// Format implements export.Exporter.
func (Exporter) Format() export.Format {
	return export.Format{
		Name: "gguf", Ext: ".gguf", Program: "llama.cpp",
		Fast: "rows interleaved for ARM dot products",
		Slow: "no interleaved ARM kernels: prompts take longer than with int4/g32/nl (IQ4_NL), int4/g32 (Q4_0) or int8/g32 (Q8_0)",
	}
}

// Nearest returns s if GGUF has a type for it, and otherwise a scheme with at least as
// many bits: the narrowest of 4, 5 and 8 bits in groups of 32, with uneven levels or a minimum if
// s has them (8 bits never do), or float16 if 32 does not divide the columns.
func (Exporter) Nearest(s qtensor.Scheme, cols int, _ model.Role) qtensor.Scheme {
	if t, ok := ggml.Of(s); ok {
		if _, _, _, err := t.Scheme.Sizes(1, cols); err == nil {
			return s
		}
	}
	near := qtensor.Scheme{Kind: qtensor.Int, Bits: 8, Group: 32}
	switch {
	case cols%near.Group != 0:
		return qtensor.Scheme{Kind: qtensor.F16}
	case s.Bits <= 4:
		near.Bits, near.Asym, near.Uneven = 4, s.Asym, s.Uneven
	case s.Bits == 5:
		near.Bits, near.Asym = 5, s.Asym
	}
	return near
}

// interleaved lists the types whose rows the CPU backend of llama.cpp interleaves on ARM
// processors with dot products (armv8.2 dotprod, or i8mm) to process prompts fast, and
// the number that must divide the number of rows (ggml-cpu, repack.cpp,
// ggml_repack_get_optimal_repack_type). It multiplies matrices of other types row by row.
var interleaved = map[string]int{"Q4_0": 4, "Q8_0": 4, "Q4_K": 8, "Q5_K": 8, "Q6_K": 8, "IQ4_NL": 4, "MXFP4": 4, "Q1_0": 4}

// Kernel returns the ggml type that stores s, and whether llama.cpp has interleaved ARM
// kernels for a matrix of that type and number of rows.
func (Exporter) Kernel(s qtensor.Scheme, rows int) (typ string, fast bool) {
	t, _ := ggml.Of(s)
	multiple := interleaved[t.Name]
	return t.Name, multiple > 0 && rows%multiple == 0
}

// Check returns an error if no architecture of llama.cpp represents m, or if llama.cpp
// does not support its tokenizer.
func (Exporter) Check(m *model.Model) (context int, notes []string, err error) {
	spec := m.Spec
	if context = usableContext(&spec); context > 0 {
		notes = append(notes, fmt.Sprintf("thimble export will require --context %d: llama.cpp does not compute this model in its full context of %d", context, spec.Context))
		spec.Context = context
	}
	a, err := choose(m.Path, &spec)
	if err != nil {
		return 0, nil, err
	}
	_, _, err = a.metadata(m, &spec)
	return context, notes, err
}

// Plan lays out the file for m. Blocks that share weights are written once for
// each step, and vectors become F32.
func (Exporter) Plan(m *model.Model, o export.Options) (*export.Plan, error) {
	w, err := newWriter(m, o)
	if err != nil {
		return nil, err
	}
	return &export.Plan{Tensors: w.list(), Notes: w.notes, Bytes: w.size, Write: export.File(&w.options, w.size, w.write)}, nil
}

// sizeLabel returns general.size_label as llama.cpp's converter writes it: the number of
// weights, of a mixture with one expert in each block, after the number of experts.
func (w *writer) sizeLabel() string {
	weights, experts := int64(0), uint64(w.spec.Experts.Count)
	for i := range w.tensors {
		t := &w.tensors[i]
		if t.values != nil {
			continue
		}
		n := uint64(1)
		for _, d := range t.dims {
			n *= d
		}
		if len(t.dims) == 3 && experts > 0 {
			n /= experts
		}
		weights += int64(n)
	}
	if experts > 0 {
		return fmt.Sprintf("%dx%s", experts, rounded(weights))
	}
	return rounded(weights)
}

// rounded returns a number of weights as gguf-py writes it: with a unit, and at least two
// digits (model_weight_count_rounded_notation).
func rounded(weights int64) string {
	n, unit := float64(weights)/1e3, "K"
	for _, u := range []struct {
		least float64
		unit  string
	}{{1e6, "M"}, {1e9, "B"}, {1e12, "T"}} {
		if float64(weights) > u.least {
			n, unit = float64(weights)/u.least, u.unit
		}
	}
	decimals := max(0, 2-len(strings.TrimLeft(strconv.FormatFloat(n, 'f', 0, 64), "0")))
	return strconv.FormatFloat(n, 'f', decimals, 64) + unit
}

// metadata returns every key of the file for m except the file type, and notes about the
// tokenizer. s is m's Spec with the context of the file.
func (a *architecture) metadata(m *model.Model, s *model.Spec) (*metadata, []string, error) {
	asGGUF := a.asGGUF(s)
	keys := a.describe(&asGGUF)
	a.putLists(keys, m, s, &asGGUF)
	keys.kind, keys.quantized, keys.alignment = "model", ptr(uint32(2)), ptr(uint32(alignment))
	keys.putProvenance(&m.Provenance)
	keys.facts = m.Provenance.Facts()
	keys.putGeneration(&m.Generation)
	if m.Spec.Rope.Pairs {
		keys.ropePairs = ptr(true)
	}
	d, missing, err := export.Tokenizer(m, "llama.cpp aborts at any text, and only llama-bench runs this file; copy the checkpoint's tokenizer.json next to its weights and write the file again")
	if err != nil {
		return nil, nil, err
	}
	notes, err := keys.putTokenizer(m.Path, d, s)
	if err != nil {
		return nil, nil, err
	}
	if notes = append(notes, missing...); d == nil {
		return keys, notes, keys.checkStrings(m.Path)
	}
	if n := s.Vocab - len(d.Tokens); n > 0 {
		notes = append(notes, fmt.Sprintf("the embedding has %d more rows than the tokenizer has tokens: they are written as unused tokens", n))
	}
	return keys, notes, keys.checkStrings(m.Path)
}
