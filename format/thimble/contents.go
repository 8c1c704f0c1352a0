package thimble

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"thimble/internal/defect"
	"thimble/internal/model"
	"thimble/internal/qtensor"
)

// Contents describes everything in a container except the tensors' values.
type Contents struct {
	Spec       model.Spec
	Provenance model.Provenance
	Tokenizer  []byte  // tokenizer.Data in CBOR, which includes the chat template; may be empty
	Tensors    []Entry // in the order of Spec.Slots
	Generation model.Generation
	Gates      []Gate // gates that the model has passed; may be empty
}

// A Gate is a limit that the model was measured against and passed.
type Gate struct {
	Metric  string  `cbor:"metric" json:"metric"`             // as in the verify report, such as "kl_mean"
	Op      string  `cbor:"op,omitempty" json:"op,omitempty"` // "<=" or ">=", between Value and Limit; older files lack it
	Limit   float64 `cbor:"limit" json:"limit"`
	Value   float64 `cbor:"value" json:"value"`
	Against []byte  `cbor:"against" json:"against"` // SHA-256 of the reference
}

// Direction returns Op. For a gate without Op it returns the comparison that Value
// passes, which must be the gate's because only passed gates are recorded. It returns ""
// if Value equals Limit, which passes both.
func (g *Gate) Direction() string {
	switch {
	case g.Op != "":
		return g.Op
	case g.Value < g.Limit:
		return "<="
	case g.Value > g.Limit:
		return ">="
	}
	return ""
}

// check returns an error about the first rule of the format that g breaks.
func (g *Gate) check(path, field string) error {
	switch {
	case g.Metric == "":
		return defect.Corrupt(path, field, "has no metric")
	case !finite(g.Limit) || !finite(g.Value):
		return defect.Corrupt(path, field, "limit %g or value %g is not finite", g.Limit, g.Value)
	case g.Op != "" && g.Op != "<=" && g.Op != ">=":
		return defect.Corrupt(path, field, "op is %s, want <= or >=", defect.Printable(g.Op))
	case g.Op == "<=" && g.Value > g.Limit || g.Op == ">=" && g.Value < g.Limit:
		return defect.Corrupt(path, field, "value %g is not %s %g: only passed gates are recorded", g.Value, g.Op, g.Limit)
	case len(g.Against) != sha256.Size:
		return defect.Corrupt(path, field, "SHA-256 of its reference has %d bytes, want %d", len(g.Against), sha256.Size)
	}
	return nil
}

// tokenizerName is the name of the tokenizer's bytes in errors.
const tokenizerName = "tokenizer"

// Describe returns the contents of a container for m, without gates.
func Describe(m *model.Model) (*Contents, error) {
	if err := m.Check(); err != nil {
		return nil, err
	}
	c := &Contents{Spec: m.Spec, Provenance: m.Provenance, Generation: m.Generation}
	for _, s := range m.Spec.Slots() {
		c.Tensors = append(c.Tensors, Entry{Name: s.Name, Scheme: m.Tensors[s.Name].Scheme, Rows: s.Rows, Cols: s.Cols})
	}
	if m.Tokenizer == nil {
		return c, nil
	}
	d, err := m.Tokenizer()
	if err != nil || d == nil {
		return c, err
	}
	c.Tokenizer, err = d.MarshalBinary()
	return c, err
}

// check returns an error about the first rule of the format that c breaks. Writer and
// reader call it. tokenizer is the length of the tokenizer in bytes.
func (c *Contents) check(path string, tokenizer int64) error {
	if err := c.Spec.Check(); errors.Is(err, defect.ErrUnsupported) {
		return fmt.Errorf("%s: %w", defect.Printable(path), err)
	} else if err != nil {
		return defect.Corrupt(path, "spec", "%v", err)
	}
	if tokenizer < 0 || tokenizer > maxTokenizer {
		return defect.Corrupt(path, "tokenizer.bytes", "is %d, want 0 to %d", tokenizer, maxTokenizer)
	}
	if err := c.checkTensors(path); err != nil {
		return err
	}
	if err := c.Generation.Check(); err != nil {
		return defect.Corrupt(path, "generation", "%v", err)
	}
	if !slices.IsSorted(c.Provenance.Overrides) {
		return defect.Corrupt(path, "provenance.overrides", "are not sorted")
	}
	if err := c.Spec.CheckChannels(c.Provenance.Channels); err != nil {
		return defect.Corrupt(path, "provenance.channels", "%v", err)
	}
	for i, s := range c.Provenance.Sources {
		field := fmt.Sprintf("provenance.sources[%d]", i)
		switch {
		case s.Name == "" || len(s.Name) > 255 || strings.ContainsFunc(s.Name, func(r rune) bool { return r < ' ' || r == '/' || r == '\\' }):
			return defect.Corrupt(path, field, "name %q is not the base name of a file", defect.Printable(s.Name))
		case s.Bytes < 0:
			return defect.Corrupt(path, field, "has %d bytes", s.Bytes)
		case len(s.SHA256) != sha256.Size:
			return defect.Corrupt(path, field, "SHA-256 has %d bytes, want %d", len(s.SHA256), sha256.Size)
		}
	}
	for i, g := range c.Gates {
		if err := g.check(path, fmt.Sprintf("gates[%d]", i)); err != nil {
			return err
		}
	}
	return nil
}

// checkTensors checks that c has exactly the tensors of its Spec, in order.
func (c *Contents) checkTensors(path string) error {
	slots := c.Spec.Slots()
	for i, s := range slots {
		if i == len(c.Tensors) {
			return defect.Corrupt(path, s.Name, "tensor is missing, want shape (%d, %d)", s.Rows, s.Cols)
		}
		e := c.Tensors[i]
		switch {
		case e.Name != s.Name:
			return defect.Corrupt(path, e.Name, "is tensor %d, want %s there", i, s.Name)
		case e.Rows != s.Rows || e.Cols != s.Cols:
			return defect.Corrupt(path, e.Name, "shape is (%d, %d), the spec requires (%d, %d)", e.Rows, e.Cols, s.Rows, s.Cols)
		case e.Scheme.Kind == qtensor.Foreign:
			return defect.Unsupported(path, "%s: layout %v in a container", e.Name, e.Scheme)
		case s.Role == model.Vector && !e.Scheme.Float():
			return defect.Corrupt(path, e.Name, "scheme is %v, a vector is stored as f32, f16 or bf16", e.Scheme)
		case e.Coded && e.Scheme.Kind != qtensor.Int:
			return defect.Corrupt(path, e.Name, "scheme is %v, only integers are coded", e.Scheme)
		}
		if _, err := e.sizes(); err != nil {
			return defect.Corrupt(path, e.Name, "%v", err)
		}
	}
	if extra := c.Tensors[len(slots):]; len(extra) > 0 {
		return defect.Corrupt(path, extra[0].Name, "the spec describes a model without this tensor")
	}
	return nil
}

func describeBlob(b []byte) blob {
	if len(b) == 0 {
		return blob{}
	}
	return blob{int64(len(b)), sha256.Sum256(b)}
}

func finite(x float64) bool { return !math.IsNaN(x) && !math.IsInf(x, 0) }
