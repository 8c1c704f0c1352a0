package model

import (
	"fmt"

	"thimble/internal/defect"
)

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

// InTensor says in err which tensor of m is at fault: the file, the tensor's name there, and
// the canonical name if it differs.
func (m *Model) InTensor(name string, err error) error {
	file, stored := m.Path, name
	if m.Origin != nil {
		file, stored = m.Origin(name)
	}
	if stored = defect.Printable(stored); stored != name {
		stored += " (" + name + ")"
	}
	return fmt.Errorf("%s: %s: %w", defect.Printable(file), stored, err)
}
