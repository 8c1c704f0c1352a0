package quantize

import (
	"maps"
	"strings"

	"thimble/internal/model"
	"thimble/quantize/rounding"
)

// Between the value projection V and the output projection O of an attention head there
// are only sums over positions, so for any rotation R of the head's channels, R V and O
// R^T compute the same as V and O. A Hadamard matrix with random signs makes the channels
// similar, so that one scale fits a whole group (QuaRot, arXiv 2404.00456, section 4,
// which also uses it for activations). It costs nothing at inference. Gates of the outputs of
// attention (Spec.AttnGate) do not allow it: they scale each channel apart.

// rotated returns m with the value and output projections of each block rotated, if p
// rounds both with a method that rotates, and no block has heads of another width or the
// values of another block. It computes their rows on demand and does not
// change m.
func rotated(m *Model, p *Plan) *Model {
	s := &m.Spec
	n := s.ValueDim() & -s.ValueDim() // the largest power of two that divides it: 16 for 80
	if !p.method.Rotates() || s.AttnGate || s.Varies() || n < 8 {
		return m
	}
	rounds := map[string]bool{}
	for i := range p.Tensors {
		rounds[p.Tensors[i].Name] = p.Tensors[i].rounds()
	}
	out := *m
	out.Tensors = maps.Clone(m.Tensors)
	turn := rounding.NewRotation(n)
	for b := range s.Blocks {
		v, o, bias := model.Name(b, model.V), model.Name(b, model.O), model.Name(b, model.V+model.BiasSuffix)
		if !rounds[v] || !rounds[o] { // a block without V has its keys for values
			continue
		}
		out.Tensors[v] = turn.Columns(m.Tensors[v])
		out.Tensors[o] = turn.Rows(m.Tensors[o])
		if t := m.Tensors[bias]; t != nil {
			out.Tensors[bias] = turn.Rows(t)
		}
	}
	return &out
}

// Rotated returns those tensors of m that the calibrated runs of recipes, from a model
// like m, rotated before they rounded them, as these runs rotated them. recipes is the
// record in Provenance.Recipe: one YAML document for each run. Rotated makes the rows on
// demand.
//
// The record does not say which matrices were stored in integers before the first run;
// none of those was rotated. Rotated returns nothing for a record that it cannot read:
// files of other versions and other programs may have one.
func Rotated(m *Model, recipes string) map[string]*Matrix {
	const maxRuns = 64
	if strings.Count(recipes, "\n---\n") >= maxRuns {
		return nil
	}
	now := map[string]Scheme{} // of each tensor, after the runs so far
	turned := m
	for text := range strings.SplitSeq(recipes, "\n---\n") {
		r, err := ParseRecipe([]byte(text))
		if err != nil {
			return nil
		}
		full, err := r.resolve()
		if err != nil {
			return nil
		}
		p := &Plan{method: full.method}
		for _, slot := range m.Spec.Slots() {
			e := Entry{Slot: slot, From: now[slot.Name], To: now[slot.Name]}
			if s := full.storage(slot, make([]bool, len(full.rules))); !s.keep {
				e.To = s.scheme
			}
			now[slot.Name] = e.To
			p.Tensors = append(p.Tensors, e)
		}
		turned = rotated(turned, p) // a matrix is rounded once, so rotated at most once
	}
	out := map[string]*Matrix{}
	for name, t := range turned.Tensors {
		if t != m.Tensors[name] {
			out[name] = t
		}
	}
	return out
}
