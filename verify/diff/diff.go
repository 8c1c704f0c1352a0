// Package diff compares two models, in any formats: their specs, their tokenizers,
// and the values and schemes of each tensor.
package diff

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"

	"thimble/internal/defect"
	"thimble/internal/model"
	"thimble/internal/qtensor"
	"thimble/verify/metric"
)

// A Report lists the differences between two models.
type Report struct {
	Same       bool     `json:"same"` // regardless of Provenance
	A          Side     `json:"a"`
	B          Side     `json:"b"`
	Metadata   []Field  `json:"metadata"`   // of spec and tokenizer
	Provenance []Field  `json:"provenance"` // ignored by Same
	NMSE       Value    `json:"nmse"`       // over the tensors that both have; null if A is zero there
	Tensors    []Tensor `json:"tensors"`    // the most different first
	Notes      []string `json:"notes,omitempty"`
}

// A Value is a figure; an unknown one is NaN, and null in JSON.
type Value = metric.Value

// A Side is one of the two models.
type Side struct {
	Path          string  `json:"path"`
	Format        string  `json:"format"` // set by the caller, who opened the model
	Weights       int64   `json:"weights"`
	Bytes         int64   `json:"tensor_bytes"`
	BitsPerWeight float64 `json:"bits_per_weight"`
}

// A Field is a field whose values differ between the two models. Values other than
// strings are JSON; a model that lacks the field has an empty value.
type Field struct {
	Field string `json:"field"`
	A     string `json:"a"`
	B     string `json:"b"`
}

// Options specify what counts as a difference.
type Options struct {
	Values bool // ignore differences in scheme alone

	// OrderedB has B's tensors with the channels of the residual stream in A's order, whose
	// values are compared; nil if they are B's own.
	OrderedB map[string]*qtensor.Matrix

	// RotatedA and RotatedB have tensors of A and of B as the recipe of the other model
	// rotated them. A recipe may rotate the values of a head, and its output projection back
	// (quantize.Rotated): the model computes the same with other weights. A tensor in one of
	// the maps is compared both as it is and rotated, and the smaller difference counts.
	RotatedA, RotatedB map[string]*qtensor.Matrix

	Progress func(done, total int64) // receives the number of A's weights compared so far; may be nil
}

// Models compares a with b. Both must have passed Check.
func Models(ctx context.Context, a, b *model.Model, o Options) (*Report, error) {
	r := &Report{A: sideOf(a), B: sideOf(b)}
	var err error
	if r.Metadata, r.Provenance, err = Fields(a, b); err != nil {
		return nil, err
	}
	if err := r.compareTensors(ctx, a, b, &o); err != nil {
		return nil, err
	}
	r.Same = len(r.Metadata) == 0 && !slices.ContainsFunc(r.Tensors, func(d Tensor) bool {
		return d.differs() && !(o.Values && d.Changed == 0 && !d.incomparable())
	})
	return r, nil
}

// Fields returns the fields of spec, tokenizer and provenance that differ between a and b.
func Fields(a, b *model.Model) (ofModel, ofOrigin []Field, err error) {
	var meta, from [2]map[string]string
	for i, m := range []*model.Model{a, b} {
		if meta[i], err = metadata(m); err != nil {
			return nil, nil, err
		}
		if from[i], err = provenance(m); err != nil {
			return nil, nil, err
		}
	}
	return differing(meta[0], meta[1]), differing(from[0], from[1]), nil
}

func sideOf(m *model.Model) Side {
	weights, bytes := m.Size()
	return Side{Path: m.Path, Weights: weights, Bytes: bytes, BitsPerWeight: 8 * float64(bytes) / float64(weights)}
}

// metadata returns the fields of m's Spec, and digests of its tokenizer and of its
// chat template, which may change independently.
func metadata(m *model.Model) (map[string]string, error) {
	all, err := fields(m.Spec)
	if err != nil {
		return nil, err
	}
	data, err := m.Tokenizer()
	if err != nil { // the rest of the model can still be compared
		all["tokenizer"] = defect.OneLine(err.Error())
		return all, nil
	}
	if data == nil {
		return all, nil
	}
	plain := *data
	plain.ChatTemplate, plain.ToolTemplate = "", ""
	text, err := json.Marshal(plain)
	if err != nil {
		return nil, err
	}
	all["tokenizer"] = fmt.Sprintf("%d tokens, %s", len(data.Tokens), digest(text))
	for name, text := range map[string]string{"chat_template": data.ChatTemplate, "tool_template": data.ToolTemplate} {
		if text != "" {
			all[name] = digest([]byte(text))
		}
	}
	return all, nil
}

// digest returns the first 8 bytes of text's SHA-256 in hexadecimal, enough to tell
// texts apart.
func digest(text []byte) string {
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:8])
}

// provenance returns the fields that describe where m comes from.
func provenance(m *model.Model) (map[string]string, error) {
	p := m.Provenance
	all, err := fields(struct {
		Architecture string   `json:"architecture"`
		Overrides    []string `json:"overrides,omitempty"`
		Recipe       string   `json:"recipe,omitempty"`
		Tool         string   `json:"tool,omitempty"`
	}{p.Architecture, p.Overrides, p.Recipe, p.Tool})
	if err != nil {
		return nil, err
	}
	for _, s := range p.Sources {
		all["source "+s.Name] = fmt.Sprintf("%d bytes, %x", s.Bytes, s.SHA256[:min(8, len(s.SHA256))])
	}
	return all, nil
}

// fields returns each field of v: a string as it is, anything else as JSON.
func fields(v any) (map[string]string, error) {
	text, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	raw := map[string]json.RawMessage{}
	if err := json.Unmarshal(text, &raw); err != nil {
		return nil, err
	}
	all := make(map[string]string, len(raw))
	for name, value := range raw {
		var plain string
		if json.Unmarshal(value, &plain) != nil {
			plain = string(value)
		}
		all[name] = plain
	}
	return all, nil
}

// differing returns the fields whose values in a and b differ, sorted by name; not nil.
func differing(a, b map[string]string) []Field {
	found := []Field{}
	all := maps.Clone(a)
	maps.Copy(all, b)
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if a[name] != b[name] {
			found = append(found, Field{name, a[name], b[name]})
		}
	}
	return found
}

// compareTensors compares the tensors of a and b by name, in the order of their use.
func (r *Report) compareTensors(ctx context.Context, a, b *model.Model, o *Options) error {
	var names []string
	seen := map[string]bool{}
	for _, s := range slices.Concat(a.Spec.Slots(), b.Spec.Slots()) {
		if !seen[s.Name] {
			names, seen[s.Name] = append(names, s.Name), true
		}
	}
	var done int64
	var sum squares
	for _, name := range names {
		d, err := compareTensor(ctx, name, a.Tensors[name], b.Tensors[name], o.OrderedB[name], o.RotatedA[name], o.RotatedB[name])
		if err != nil {
			return err
		}
		if d.A != nil {
			done += int64(d.A.Rows) * int64(d.A.Cols)
		}
		if o.Progress != nil {
			o.Progress(done, r.A.Weights)
		}
		sum.add(d.squares)
		r.Tensors = append(r.Tensors, d)
	}
	r.NMSE = sum.nmse()
	r.noteRotations(o)
	slices.SortStableFunc(r.Tensors, func(x, y Tensor) int { return cmp.Compare(y.weight(), x.weight()) })
	return nil
}

// noteRotations adds a note on the tensors of each model that were rotated.
func (r *Report) noteRotations(o *Options) {
	for _, side := range []struct {
		turned map[string]*qtensor.Matrix
		a, by  string
	}{{o.RotatedA, "a", "b"}, {o.RotatedB, "b", "a"}} {
		n := 0
		for _, t := range r.Tensors {
			if t.Rotated && side.turned[t.Name] != nil {
				n++
			}
		}
		if n > 0 {
			r.Notes = append(r.Notes, fmt.Sprintf("the recipe of %s rotated heads, which does not change what the model computes: %d tensors of %s are compared after the same rotation", side.by, n, side.a))
		}
	}
}

// squares holds sums of squares: of the differences, and of A's values.
type squares struct{ difference, reference float64 }

func (s *squares) add(t squares) {
	s.difference += t.difference
	s.reference += t.reference
}

// nmse returns the normalized mean squared error: 0 for equal tensors, even if both
// are zero, and NaN if only A is.
func (s squares) nmse() Value {
	if s.difference == 0 {
		return 0
	}
	if s.reference == 0 {
		return Value(math.NaN())
	}
	return Value(s.difference / s.reference)
}
