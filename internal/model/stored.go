package model

// A Stored describes how a model keeps one tensor.
type Stored struct {
	Name   string `json:"name"`
	Role   string `json:"role"` // "vector", "linear", "embedding" or "output"
	Scheme string `json:"scheme"`
	Rows   int    `json:"rows"`
	Cols   int    `json:"cols"`
	Bytes  int64  `json:"bytes"` // scales and minimums included
}

// Stored lists the tensors of m, which has passed Check, in the order of their
// first use.
func (m *Model) Stored() (all []Stored) {
	for _, s := range m.Spec.Slots() {
		t := m.Tensors[s.Name]
		all = append(all, Stored{s.Name, s.Role.String(), t.Scheme.String(), t.Rows, t.Cols, t.Bytes()})
	}
	return all
}
