package transformer

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"strings"

	"thimble/internal/model"
	"thimble/internal/qtensor"
)

// Arithmetic selects what a forward pass rounds, to simulate integer kernels. The
// zero value computes everything in float32.
type Arithmetic struct {
	Activations Activations
	// Keys and Values are the schemes of the cache, in which each head's vector is a
	// row of HeadDim columns. They must not be Foreign.
	Keys, Values qtensor.Scheme
}

// Activations selects how the inputs of linear layers are rounded. It applies
// only to layers whose weights are stored as integers; others read float32.
type Activations struct {
	Int8 bool // round to 8-bit integers, with separate scales for each position
	// Group is the number of columns that share a scale. 0 means the same groups as
	// the weights, WholeRow a single group.
	Group int
}

// WholeRow, as the Group of Activations, is wider than any row.
const WholeRow = math.MaxInt32

// floatName is the name of activations that are not rounded.
const floatName = "f32"

func (a Activations) String() string {
	switch {
	case !a.Int8:
		return floatName
	case a.Group == 0:
		return "int8"
	case a.Group == WholeRow:
		return "int8/row"
	}
	return fmt.Sprintf("int8/g%d", a.Group)
}

// ParseArithmetic parses how activations are rounded and how a cache stores keys
// and values. activations is "f32", "int8" (a scale for each group of the
// weights), "int8/row" or "int8/gN". kv is "int8", "k8v4", a scheme for both, or
// a scheme for each, separated by a comma. An empty string means float32.
func ParseArithmetic(activations, kv string) (a Arithmetic, err error) {
	if activations != "" {
		if a.Activations, err = parseActivations(activations); err != nil {
			return a, err
		}
	}
	if kv != "" {
		a.Keys, a.Values, err = parseCache(kv)
	}
	return a, err
}

func parseActivations(text string) (Activations, error) {
	switch text {
	case floatName:
		return Activations{}, nil
	case "int8":
		return Activations{Int8: true}, nil
	case "int8/row":
		return Activations{true, WholeRow}, nil
	}
	s, err := qtensor.ParseScheme(text)
	a := Activations{true, s.Group}
	if err != nil || s.Group == 0 || text != a.String() {
		return Activations{}, fmt.Errorf("activations %q: want f32, int8 (a scale for each group of the weights), int8/row, or a group size such as int8/g32", text)
	}
	return a, nil
}

// cacheNames are the short names of cache schemes: one for both keys and values,
// or one for each.
var cacheNames = map[string]string{"int8": "int8/row", "k8v4": "int8/row,int4/g32"}

func parseCache(text string) (keys, values qtensor.Scheme, err error) {
	k, v, two := strings.Cut(cmp.Or(cacheNames[text], text), ",")
	if !two {
		v = k
	}
	keys, err1 := qtensor.ParseScheme(k)
	values, err2 := qtensor.ParseScheme(v)
	if err1 != nil || err2 != nil || keys.Short || values.Short || keys.Uneven || values.Uneven { // nothing searches for their scales
		err = fmt.Errorf("kv %q: want f32, f16, int8, k8v4, a scheme such as int8/g32, or two for keys and values such as int8/row,int4/g32", text)
	}
	return keys, values, err
}

// HasIntegers reports whether a linear layer or the head of m is stored as integers.
func HasIntegers(m *model.Model) bool {
	return len(integerLayers(m)) > 0
}

// integerLayers returns the linear layers of m, head included, that are stored as
// integers.
func integerLayers(m *model.Model) (layers []model.Slot) {
	for _, slot := range m.Spec.Slots() {
		if layer := slot.Role == model.Linear || slot.Name == m.HeadName(); layer && !m.Tensors[slot.Name].Scheme.Float() {
			layers = append(layers, slot)
		}
	}
	return layers
}

// checkFor reports an error if a field is out of range or has no effect on m.
func (a Arithmetic) checkFor(m *model.Model) error {
	if a.Activations.Group < 0 || a.Activations != (Activations{}) && !a.Activations.Int8 {
		return fmt.Errorf("activations %+v are not valid: want a Group of at least 0, and one of 0 unless Int8 is set", a.Activations)
	}
	for _, s := range []qtensor.Scheme{a.Keys, a.Values} {
		if s.Kind == qtensor.Foreign {
			return fmt.Errorf("a cache cannot store %v, want f32, f16, bf16 or integers", s)
		}
		if s.Rate > 0 {
			return fmt.Errorf("a cache cannot store %v: only files are entropy coded", s)
		}
		if err := s.Check(); err != nil {
			return err
		}
	}
	if !a.Activations.Int8 {
		return nil
	}
	layers := integerLayers(m)
	if len(layers) == 0 {
		return errors.New("no layer is stored as integers, so rounding activations changes nothing; quantize the model first")
	}
	for _, slot := range layers {
		if w := m.Tensors[slot.Name]; min(w.Cols, w.Scheme.Columns(w.Cols)) > widestSegment {
			return fmt.Errorf("%s: the sums of %d columns that share a scale might not fit an int32, want groups of at most %d", slot.Name, w.Cols, widestSegment)
		}
	}
	return nil
}
