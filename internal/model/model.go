package model

import (
	"fmt"
	"maps"
	"slices"

	"thimble/internal/defect"
	"thimble/internal/qtensor"
	"thimble/internal/tokenizer"
)

// A Model is an opened model: what it computes and where its tensors lie.
// Tensors usually alias a mapped file and are valid until Close.
type Model struct {
	Path    string // what was opened, as the user named it
	Spec    Spec
	Tensors map[string]*qtensor.Matrix // by canonical name

	// Tokenizer returns the tokenizer's definition, decoded at the first call;
	// nil, nil when the model carries none.
	Tokenizer func() (*tokenizer.Data, error)

	Provenance Provenance
	Files      []string     // paths read; their hashes join Provenance when the model is written
	Notes      []string     // what opening decided or dropped, for the user to read
	Verify     func() error // compares the files with the checksums they carry; nil where there are none
	Close      func() error
}

// Provenance says where a model came from. It is stored in the container and
// holds neither paths nor times.
type Provenance struct {
	Architecture string   `cbor:"architecture"` // model_type of the checkpoint
	Overrides    []string `cbor:"overrides"`    // --set key=value, sorted
	Sources      []Source `cbor:"sources"`      // every file read, in reading order
	Recipe       string   `cbor:"recipe"`       // YAML, empty for a plain conversion
	Tool         string   `cbor:"tool"`         // "thimble 0.1.0"
}

// A Source is one file that went into a model.
type Source struct {
	Name   string `cbor:"name"` // base name
	Bytes  int64  `cbor:"bytes"`
	SHA256 []byte `cbor:"sha256"`
}

// Check verifies that m holds exactly the tensors its Spec requires, each with
// its shape. The first fault is named with the tensor and both shapes.
func (m *Model) Check() error {
	if err := m.Spec.Check(); err != nil {
		return fmt.Errorf("%s: %w", defect.Printable(m.Path), err)
	}
	slots := m.Spec.Slots()
	for _, s := range slots {
		t, ok := m.Tensors[s.Name]
		if !ok {
			return defect.Corrupt(m.Path, s.Name, "tensor is missing, want shape (%d, %d)", s.Rows, s.Cols)
		}
		if t.Rows != s.Rows || t.Cols != s.Cols {
			return defect.Corrupt(m.Path, s.Name, "shape is (%d, %d), the config wants (%d, %d)", t.Rows, t.Cols, s.Rows, s.Cols)
		}
		if s.Role == Vector && !t.Scheme.Float() {
			return defect.Corrupt(m.Path, s.Name, "scheme is %v, a vector is stored as f32, f16 or bf16", t.Scheme)
		}
		if err := t.Check(); err != nil {
			return defect.Corrupt(m.Path, s.Name, "%v", err)
		}
	}
	if len(m.Tensors) == len(slots) {
		return nil
	}
	known := make(map[string]bool, len(slots))
	for _, s := range slots {
		known[s.Name] = true
	}
	for _, name := range slices.Sorted(maps.Keys(m.Tensors)) {
		if !known[name] {
			return defect.Corrupt(m.Path, name, "the config has no place for this tensor")
		}
	}
	return nil
}

// HeadName is the tensor that serves as output head: the embedding where the
// two are tied.
func (m *Model) HeadName() string {
	if m.Spec.Tied {
		return Embed
	}
	return Head
}

// Size returns the number of weights and of bytes stored for them.
func (m *Model) Size() (weights, bytes int64) {
	for _, t := range m.Tensors {
		weights += int64(t.Rows) * int64(t.Cols)
		bytes += t.Bytes()
	}
	return weights, bytes
}
