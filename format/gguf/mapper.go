package gguf

import (
	"encoding/hex"
	"fmt"
	"strconv"

	"thimble/format/gguf/ggml"
	"thimble/format/gguf/names"
	"thimble/internal/defect"
	"thimble/internal/model"
)

// A mapper copies features between a Spec and the keys, so that one list of features
// serves both directions. It keeps the first failure.
type mapper struct {
	m       *metadata
	reading bool
	err     error
}

// fail records that the value of the key at a place in metadata is not supported.
func (w *mapper) fail(place any, format string, args ...any) {
	if w.err == nil {
		w.err = defect.Unsupported(w.m.nameOf(place), format, args...)
	}
}

// count copies a whole number. def is the meaning of an absent key; if def is 0, the key
// must be present.
func (w *mapper) count(key **uint32, v *int, def int) {
	switch {
	case !w.reading:
		*key = ptr(uint32(*v))
	case *key != nil:
		*v = int(**key)
	case def != 0:
		*v = def
	case w.err == nil:
		w.err = fmt.Errorf("%s: the key is missing", w.m.nameOf(key))
	}
}

// float copies a float32 likewise.
func (w *mapper) float(key **float32, v *float64, def float64) {
	switch {
	case !w.reading:
		*key = ptr(float32(*v))
	case *key != nil:
		*v = shortest(**key)
	case def != 0:
		*v = def
	case w.err == nil:
		w.err = fmt.Errorf("%s: the key is missing", w.m.nameOf(key))
	}
}

// shortest returns the shortest decimal number that rounds to f, so that 1e-5 is read back
// as 1e-5.
func shortest(f float32) float64 {
	x, _ := strconv.ParseFloat(strconv.FormatFloat(float64(f), 'g', -1, 32), 64)
	return x
}

func ptr[T any](v T) *T { return &v }

// describe returns the keys of a file that computes s, which must be in the form of
// asGGUF.
func (a *architecture) describe(s *model.Spec) *metadata {
	w := &mapper{m: &metadata{architecture: a.name}}
	t := *s
	a.mapFeatures(w, &t)
	return w.m
}

// spec returns the Spec of a file with these keys; has reports whether a tensor exists. It
// does not set BOS and EOS, and does not check the result.
func (a *architecture) spec(m *metadata, has func(tensor string) bool) (model.Spec, error) {
	var s model.Spec
	w := &mapper{m: m, reading: true}
	a.mapFeatures(w, &s)
	s.Tied = !has("output.weight")
	q := "blk.0.attn_q.bias"
	if a.joinsQKV {
		q = "blk.0.attn_qkv.bias"
	}
	s.Bias = model.Bias{
		QKV: a.optionalBias.QKV && has(q), O: a.optionalBias.O && has("blk.0.attn_output.bias"),
		FFN: a.optionalBias.FFN && has("blk.0.ffn_up.bias"), Head: a.optionalBias.Head && has("output.bias"),
	}
	if a.graph != nil {
		a.graph(&s)
	}
	if a.present != nil {
		a.present(&s, has)
	}
	if a.experts != nil && a.experts.sigmoid {
		s.Experts.Selects = s.Blocks > 0 && has(names.Block(s.Blocks-1)+names.ProbsBias)
	}
	return s, w.err
}

// mapFeatures maps every feature to its key. It is the only list of them.
func (a *architecture) mapFeatures(w *mapper, s *model.Spec) {
	m := w.m
	w.count(&m.blocks, &s.Blocks, 0)
	if next := m.nextBlocks; next != nil && int64(*next) >= int64(s.Blocks) {
		w.fail(&m.nextBlocks, "%d of %d blocks", *next, s.Blocks)
	} else if next != nil {
		s.Blocks -= int(*next)
	}
	if w.reading && s.Blocks > 0 && s.Blocks <= model.MaxBlocks {
		s.Schedule = model.InOrder(s.Blocks, 1)
	}
	w.count(&m.context, &s.Context, 0)
	w.count(&m.hidden, &s.Hidden, 0)
	w.mapFFN(s)
	w.count(&m.vocab, &s.Vocab, len(m.tokens))
	w.count(&m.heads, &s.Heads, 0)
	w.count(&m.kvHeads, &s.KVHeads, s.Heads)
	if quotient := s.Hidden / max(s.Heads, 1); !a.square {
		w.count(&m.keyLength, &s.HeadDim, quotient)
		width := s.HeadDim
		if w.count(&m.valueLength, &width, quotient); width != s.HeadDim {
			w.fail(&m.valueLength, "%d with keys of %d", width, s.HeadDim)
		}
	} else if w.reading {
		s.HeadDim = quotient
	}
	var graph model.Spec
	if a.graph != nil {
		a.graph(&graph)
	}
	if graph.Centers() {
		w.float(&m.layerEps, &s.NormEps, 0)
	} else {
		w.float(&m.eps, &s.NormEps, 0)
	}
	a.mapRope(w, s)
	if a.extra != nil {
		a.extra(w, s)
	}
	if a.delta != nil {
		a.delta.keys(w, s)
	}
	if a.experts != nil {
		a.experts.keys(w, s)
	} else if a.extra == nil && m.experts != nil && *m.experts > 0 {
		w.fail(&m.experts, "%d", *m.experts)
	}
}

// mapFFN maps the width inside the feed-forward layers, which files without any may leave out.
func (w *mapper) mapFFN(s *model.Spec) {
	m, def := w.m, 0
	switch {
	case m.ffn == nil && len(m.ffnOfBlocks) > 0 && len(m.ffnOfBlocks) != s.Blocks:
		w.fail(&m.ffnOfBlocks, "%d entries for %d blocks", len(m.ffnOfBlocks), s.Blocks)
		return
	case m.ffn == nil && len(m.ffnOfBlocks) > 0:
		for _, n := range m.ffnOfBlocks {
			s.FFNs = append(s.FFNs, int(n))
		}
		s.FFN = s.FFNs[0]
		return
	case m.expertFFN != nil:
		def = int(*m.expertFFN)
	}
	w.count(&m.ffn, &s.FFN, def)
}

// putProvenance adds the keys that describe where the model came from.
func (m *metadata) putProvenance(p *model.Provenance) {
	m.madeBy, m.origin, m.recipe, m.overrides, m.channels = p.Tool, p.Architecture, p.Recipe, p.Overrides, p.Channels
	for _, source := range p.Sources {
		m.sources = append(m.sources, source.Name)
		m.sourceBytes = append(m.sourceBytes, uint64(source.Bytes))
		m.sourceSums = append(m.sourceSums, hex.EncodeToString(source.SHA256))
	}
}

// fileType returns general.file_type for the type that stores most weights.
func fileType(weights map[string]int64) *uint32 {
	best := ggml.F32
	for _, t := range ggml.Types {
		if weights[t.Name] > weights[best.Name] {
			best = t
		}
	}
	return ptr(best.FileType)
}
