package model

// A StoredTensor describes how a model stores one tensor.
type StoredTensor struct {
	Name   string `json:"name"`
	Role   string `json:"role"` // "vector", "linear", "embedding" or "output"
	Scheme string `json:"scheme"`
	Rows   int    `json:"rows"`
	Cols   int    `json:"cols"`
	Bytes  int64  `json:"bytes"` // including scales and minimums
}

// Stored lists the tensors of m in the order of their first use. m must have passed
// Check.
func (m *Model) Stored() (all []StoredTensor) {
	for _, s := range m.Spec.Slots() {
		t := m.Tensors[s.Name]
		all = append(all, StoredTensor{s.Name, s.Role.String(), t.Scheme.String(), t.Rows, t.Cols, t.Bytes()})
	}
	return all
}
