package model

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"thimble/internal/defect"
	"thimble/internal/qtensor"
	"thimble/internal/tokenizer"
)

// A Model is an opened model: its Spec and its tensors. Tensors usually alias a
// mapped file and are valid until Close.
type Model struct {
	Path    string // as the user wrote it
	Spec    Spec
	Tensors map[string]*qtensor.Matrix // by canonical name

	// Tokenizer returns the definition of the tokenizer, which it decodes at the
	// first call. It returns nil, nil if the model has no tokenizer.
	Tokenizer func() (*tokenizer.Data, error)

	// Generation is how the model's authors sample from it; zero if they do not say.
	Generation Generation

	Provenance Provenance
	Stated     []string // facts that the file states by itself, each "general.name=text", in the order of Facts
	Files      []string // paths of the files read; writing the model adds their hashes to Provenance
	Notes      []string // for the user: decisions made and tensors dropped while opening

	// Origin returns the file that holds a tensor, and the tensor's name there, for errors. nil
	// if a file has the canonical names.
	Origin func(canonical string) (file, stored string)

	// Partial is set if parts were left out that write into the residual stream, such as those
	// for images: the channels of the stream must stay where they are.
	Partial bool

	// Verify compares every tensor with the checksums that the files contain; nil if they
	// contain none. It reads each byte once and keeps none of them resident.
	// Opening a model does not call it: whoever uses the tensors' values calls it before.
	// progress, which may be nil, receives bytes; a checkpoint's Verify does not call it.
	Verify func(ctx context.Context, progress func(done, total int64)) error
	// Scan is Verify in less time, by checksums that find damage but not intent, and what it
	// reads stays resident; nil if there are no such checksums.
	Scan  func(ctx context.Context, progress func(done, total int64)) error
	Close func() error
}

// Ready finds damage in the tensors, in the shortest time, before they compute. The files may
// have no checksums.
func (m *Model) Ready(ctx context.Context, progress func(done, total int64)) error {
	switch {
	case m.Scan != nil:
		return m.Scan(ctx, progress)
	case m.Verify != nil:
		return m.Verify(ctx, progress)
	}
	return nil
}

// Provenance records the origin of a model. Containers store it. It contains neither
// paths nor times, so that the same inputs give the same bytes.
type Provenance struct {
	Architecture string   `cbor:"architecture"` // model_type of the checkpoint
	Overrides    []string `cbor:"overrides"`    // --set key=value, sorted
	Sources      []Source `cbor:"sources"`      // every file read, in reading order
	Recipe       string   `cbor:"recipe"`       // YAML, empty for a plain conversion
	Tool         string   `cbor:"tool"`         // "thimble 0.1.0"

	// Channels lists, for each channel of the residual stream, that of the source; empty if none
	// has changed its place.
	Channels []int32 `cbor:"channels,omitempty"`
}

// Tuned reports whether a recipe of p tunes, so that norm gains, biases and scales are not
// those of rounding alone.
func (p *Provenance) Tuned() bool {
	return strings.HasPrefix(p.Recipe, "tune: ") || strings.Contains(p.Recipe, "\ntune: ")
}

// Calibrated reports whether a recipe of p has calibration texts, so that weights may compensate
// for errors of their inputs.
func (p *Provenance) Calibrated() bool { return strings.Contains(p.Recipe, "\ncalibration:") }

// A Source is a file that a model was made from.
type Source struct {
	Name   string `cbor:"name"` // base name
	Bytes  int64  `cbor:"bytes"`
	SHA256 []byte `cbor:"sha256"`
}

// Check verifies that m has exactly the tensors that its Spec requires, each of the
// right shape. The error names the first tensor at fault and both shapes.
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
			return defect.Corrupt(m.Path, s.Name, "shape is (%d, %d), the config requires (%d, %d)", t.Rows, t.Cols, s.Rows, s.Cols)
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
			return defect.Corrupt(m.Path, name, "unexpected tensor, the config does not require it")
		}
	}
	return nil
}

// HeadName returns the name of the tensor that serves as output head. In a tied model
// that is the embedding.
func (m *Model) HeadName() string {
	if m.Spec.Tied {
		return Embed
	}
	return Head
}

// Size returns the number of weights and the number of bytes that store them.
func (m *Model) Size() (weights, bytes int64) {
	for _, t := range m.Tensors {
		weights += int64(t.Rows) * int64(t.Cols)
		bytes += t.Bytes()
	}
	return weights, bytes
}
