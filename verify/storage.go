package verify

import (
	"encoding/hex"

	"thimble/internal/device"
)

// A Provenance records how a model was made.
type Provenance struct {
	Architecture string   `json:"architecture"` // model_type of the checkpoint
	Tool         string   `json:"tool,omitempty"`
	Recipe       string   `json:"recipe,omitempty"`    // canonical YAML
	Overrides    []string `json:"overrides,omitempty"` // KEY=VALUE, as given to --set
	Sources      []Source `json:"sources,omitempty"`   // every file read
}

// A Source is a file that a model was made from.
type Source struct {
	Name   string `json:"name"` // without its folder
	Bytes  int64  `json:"bytes"`
	SHA256 string `json:"sha256"` // hexadecimal
}

// Describe adds to r how m is stored and how it was made. m must have passed Check.
func (r *Report) Describe(m *Model) {
	r.Tensors = m.Stored()
	r.Cost = device.CostOf(m, r.Model.Bytes, Arithmetic{})
	p := &m.Provenance
	r.Provenance = &Provenance{Architecture: p.Architecture, Tool: p.Tool, Recipe: p.Recipe, Overrides: p.Overrides}
	for _, s := range p.Sources {
		r.Provenance.Sources = append(r.Provenance.Sources, Source{s.Name, s.Bytes, hex.EncodeToString(s.SHA256)})
	}
}
