package verify

import (
	"encoding/hex"

	"thimble/internal/model"
)

// A StoredTensor is how the model keeps one tensor.
type StoredTensor struct {
	Name   string `json:"name"`
	Role   string `json:"role"` // "vector", "linear", "embedding" or "output"
	Scheme string `json:"scheme"`
	Rows   int    `json:"rows"`
	Cols   int    `json:"cols"`
	Bytes  int64  `json:"bytes"` // scales included
}

// A Provenance is what the model says of how it was made.
type Provenance struct {
	Architecture string   `json:"architecture"` // model_type of the checkpoint
	Tool         string   `json:"tool,omitempty"`
	Recipe       string   `json:"recipe,omitempty"`    // canonical YAML
	Overrides    []string `json:"overrides,omitempty"` // KEY=VALUE, as --set has them
	Sources      []Source `json:"sources,omitempty"`   // every file read
}

// A Source is a file that went into the model.
type Source struct {
	Name   string `json:"name"` // less its folder
	Bytes  int64  `json:"bytes"`
	SHA256 string `json:"sha256"` // hexadecimal
}

// Describe adds how m, which has passed Check, is stored and made.
func (r *Report) Describe(m *model.Model) {
	r.Tensors = nil
	for _, s := range m.Spec.Slots() {
		t := m.Tensors[s.Name]
		r.Tensors = append(r.Tensors, StoredTensor{s.Name, s.Role.String(), t.Scheme.String(), t.Rows, t.Cols, t.Bytes()})
	}
	p := &m.Provenance
	r.Provenance = &Provenance{Architecture: p.Architecture, Tool: p.Tool, Recipe: p.Recipe, Overrides: p.Overrides}
	for _, s := range p.Sources {
		r.Provenance.Sources = append(r.Provenance.Sources, Source{s.Name, s.Bytes, hex.EncodeToString(s.SHA256)})
	}
}

// A storedKind is the tensors of one role and scheme.
type storedKind struct {
	Role, Scheme   string
	Count          int
	Weights, Bytes int64
}

// kinds sums the tensors up by role and scheme, in the order of the first of each.
func (r *Report) kinds() (kinds []storedKind) {
	type key struct{ role, scheme string }
	at := map[key]int{}
	for _, t := range r.Tensors {
		k := key{t.Role, t.Scheme}
		i, ok := at[k]
		if !ok {
			i = len(kinds)
			at[k] = i
			kinds = append(kinds, storedKind{Role: t.Role, Scheme: t.Scheme})
		}
		kinds[i].Count++
		kinds[i].Weights += int64(t.Rows) * int64(t.Cols)
		kinds[i].Bytes += t.Bytes
	}
	return kinds
}
