package quantize

import (
	"fmt"
	"strings"

	"thimble/internal/model"
	"thimble/internal/qtensor"
	"thimble/internal/spell"
)

// A Plan is a recipe applied to one model: what every tensor will become.
type Plan struct {
	Recipe  string  `json:"recipe"` // canonical YAML
	Tensors []Entry `json:"tensors"`
	Weights int64   `json:"weights"`
	Bytes   int64   `json:"bytes"` // tensor data, without header, tokenizer and alignment
	method  Method
	without skips
}

// An Entry is the plan for one tensor.
type Entry struct {
	model.Slot
	From, To qtensor.Scheme
	Bytes    int64
}

// moved reports that e's values stay what they are.
func (e *Entry) moved() bool {
	own, ok := e.From.Native()
	return ok && own == e.To
}

// NewPlan applies r to m, which must have passed Check. It reads no weights.
// A rule that matches nothing is an error, as is a scheme that a tensor cannot
// take; nothing is ever replaced by another scheme.
func NewPlan(m *model.Model, r *Recipe) (*Plan, error) {
	full, err := r.full()
	if err != nil {
		return nil, err
	}
	p := &Plan{}
	if p.Recipe, err = full.YAML(); err != nil {
		return nil, err
	}
	p.without = full.Without
	if p.method, err = methodNamed(full.Method, full.Without); err != nil {
		return nil, err
	}
	used := make([]bool, len(full.Rules))
	for _, slot := range m.Spec.Slots() {
		e, err := newEntry(slot, m.Tensors[slot.Name].Scheme, full.scheme(slot, used))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", slot.Name, err)
		}
		p.Tensors = append(p.Tensors, e)
		p.Weights += int64(slot.Rows) * int64(slot.Cols)
		p.Bytes += e.Bytes
	}
	for i, ok := range used {
		if !ok {
			pattern := full.Rules[i].Tensors
			var kinds []string
			for _, e := range p.Tensors {
				kinds = append(kinds, kindOf(e.Slot))
			}
			return nil, fmt.Errorf("rule %q matches no tensor%s; names look like %q and %q", pattern,
				spell.Suggest(pattern[strings.LastIndex(pattern, ".")+1:], kinds), model.Name(0, model.Q), model.Embed)
		}
	}
	return p, nil
}

// newEntry plans one tensor, whose scheme is to be the one that text names.
func newEntry(slot model.Slot, from qtensor.Scheme, text string) (Entry, error) {
	to, ok := from.Native()
	if text != Keep {
		var err error
		if to, err = qtensor.ParseScheme(text); err != nil {
			return Entry{}, err
		}
	} else if !ok {
		return Entry{}, fmt.Errorf("it is stored as %v, which no scheme of a container equals; store it as f32, f16 or bf16 (convert --dtype), or quantize it", from)
	}
	if slot.Role == model.Vector && !to.Float() {
		return Entry{}, fmt.Errorf("a vector cannot be stored as %v; use f32, f16 or bf16", to)
	}
	if from.Kind == qtensor.Int && to != from {
		return Entry{}, fmt.Errorf("it is already quantized as %v; quantize from the original checkpoint instead", from)
	}
	codes, scales, mins, err := to.Sizes(slot.Rows, slot.Cols)
	return Entry{slot, from, to, codes + scales + mins}, err
}

// BitsPerWeight is the stored bits of all tensors over their weights.
func (p *Plan) BitsPerWeight() float64 { return 8 * float64(p.Bytes) / float64(p.Weights) }
