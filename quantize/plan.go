package quantize

import (
	"fmt"
	"slices"
	"strings"

	"thimble/internal/model"
	"thimble/internal/qtensor"
	"thimble/internal/spell"
	"thimble/quantize/rounding"
)

// A Plan is a recipe applied to one model: the scheme that each tensor will have.
type Plan struct {
	Recipe  string                     `json:"recipe"` // canonical YAML
	Tensors []Entry                    `json:"tensors"`
	Weights int64                      `json:"weights"`
	Bytes   int64                      `json:"bytes"`                   // tensor data, without header, tokenizer and alignment
	Coded   bool                       `json:"entropy_coded,omitempty"` // integers are stored in about their entropy; Bytes is before that
	Guessed map[string]*rounding.Input `json:"-"`                       // inputs, for a run without texts; nil calls power.Inputs

	method rounding.Variant
	notes  []string      // about the recipe
	small  []smallScales // found by Run
}

// An Entry is the plan for one tensor.
type Entry struct {
	Slot
	From, To Scheme
	Bytes    int64
}

// moved reports whether e's values stay exactly the same: stored as before, or codes of
// another program's layout in the equivalent scheme.
func (e *Entry) moved() bool {
	own, ok := e.From.Native()
	return ok && own == e.To
}

// resident returns the bytes that e takes once the file is loaded.
func (e *Entry) resident() int64 {
	n, _ := e.To.InMemory().Size(e.Rows, e.Cols) // newEntry has returned its error
	return n
}

// Resident returns the bytes of all tensors once the file is loaded. Of a file without coded
// tensors, which is mapped, they are Bytes.
func (p *Plan) Resident() (n int64) {
	for i := range p.Tensors {
		n += p.Tensors[i].resident()
	}
	return n
}

// CodedUnknown reports whether p has coded tensors whose size is known only once they are
// written, because their scheme has no rate.
func (p *Plan) CodedUnknown() bool {
	return p.Coded && slices.ContainsFunc(p.Tensors, func(e Entry) bool { return e.To.Kind == qtensor.Int && e.To.Rate == 0 })
}

// Codes reports whether p has coded tensors.
func (p *Plan) Codes() bool {
	return slices.ContainsFunc(p.Tensors, func(e Entry) bool { return e.To.Kind == qtensor.Int && (p.Coded || e.To.Rate > 0) })
}

// rated reports whether p has linear layers with a rate.
func (p *Plan) rated() bool {
	return slices.ContainsFunc(p.Tensors, func(e Entry) bool { return e.Role == model.Linear && e.rounds() && e.To.Rate > 0 })
}

// rounds reports whether the plan rounds e's values to integers.
func (e *Entry) rounds() bool { return !e.moved() && e.To.Kind == qtensor.Int }

// NewPlan applies r to m, which must have passed Check. It reads no weights. A rule that
// matches no tensor is an error, and so is a scheme that a tensor cannot have; NewPlan
// never falls back to another scheme.
func NewPlan(m *Model, r *Recipe) (*Plan, error) {
	full, err := r.resolve()
	if err != nil {
		return nil, err
	}
	p := &Plan{method: full.method, notes: r.notes(), Coded: r.EntropyCoded}
	if p.Recipe, err = full.yaml(); err != nil {
		return nil, err
	}
	used := make([]bool, len(full.rules))
	for _, slot := range m.Spec.Slots() {
		stored := full.storage(slot, used)
		if stored.keep && p.method.Rotates() && !m.Spec.AttnGate && strings.HasSuffix(slot.Name, "."+model.V+model.BiasSuffix) {
			stored = storage{scheme: Scheme{Kind: qtensor.F32}} // turned with its heads, it is no bfloat16 any more
		}
		e, err := newEntry(slot, m.Tensors[slot.Name].Scheme, stored)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", slot.Name, err)
		}
		p.Tensors = append(p.Tensors, e)
		p.Weights += int64(slot.Rows) * int64(slot.Cols)
		p.Bytes += e.Bytes
	}
	if i := slices.Index(used, false); i >= 0 {
		return nil, p.unmatched(full.canonical.Rules[i].Tensors)
	}
	return p, nil
}

// unmatched returns the error for a rule whose pattern matches no tensor.
func (p *Plan) unmatched(pattern string) error {
	var kinds []string
	for _, e := range p.Tensors {
		kinds = append(kinds, e.Kind())
	}
	return fmt.Errorf("rule %q matches no tensor%s; names look like %q and %q", pattern,
		spell.Suggest(pattern[strings.LastIndex(pattern, ".")+1:], kinds), model.Name(0, model.Q), model.Embed)
}

// newEntry plans one tensor, which the source stores as from.
func newEntry(slot Slot, from Scheme, s storage) (Entry, error) {
	to, ok := from.Native()
	if !s.keep {
		to = s.scheme
	} else if !ok {
		return Entry{}, fmt.Errorf("it is stored as %v, for which containers have no equivalent scheme; store it as f32, f16 or bf16 (convert --dtype), or quantize it", from)
	}
	if slot.Role == model.Vector && !to.Float() {
		return Entry{}, fmt.Errorf("a vector cannot be stored as %v; use f32, f16 or bf16", to)
	}
	if from.Kind == qtensor.Int && to != from {
		return Entry{}, fmt.Errorf("it is already quantized as %v; quantize from the original checkpoint instead", from)
	}
	size, err := to.Size(slot.Rows, slot.Cols)
	return Entry{slot, from, to, size}, err
}

// BitsPerWeight returns the stored bits of all tensors, divided by their weights.
func (p *Plan) BitsPerWeight() float64 { return 8 * float64(p.Bytes) / float64(p.Weights) }

// quantizes reports whether p rounds any tensor to integers.
func (p *Plan) quantizes() bool {
	return slices.ContainsFunc(p.Tensors, func(e Entry) bool { return e.rounds() })
}
