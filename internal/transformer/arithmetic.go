package transformer

import (
	"errors"
	"fmt"
	"math"
	"strings"

	"thimble/internal/model"
	"thimble/internal/qtensor"
)

// Arithmetic is what a run rounds on its way, as integer kernels do. The zero
// value is float32 throughout.
type Arithmetic struct {
	Activations Activations
	// Keys and Values are how the cache keeps the vectors of each head, which are
	// rows of HeadDim columns: any scheme of no program but ours.
	Keys, Values qtensor.Scheme
}

// Activations says how the inputs of a linear layer are rounded whose weights
// are stored as integers. Other layers read float32.
type Activations struct {
	Int8 bool // to integers of 8 bits with a scale of their own, position by position
	// Group is how many columns share a scale; 0 is as many as share one in the
	// weights, WholeRow all.
	Group int
}

// WholeRow is an Activations' Group that is wider than any row.
const WholeRow = math.MaxInt32

// floatName spells what is not rounded.
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

// String names what is not float32, "float32" if nothing is.
func (a Arithmetic) String() string {
	var parts []string
	if a.Activations.Int8 {
		parts = append(parts, "activations "+a.Activations.String())
	}
	if a.Keys.Kind != qtensor.F32 {
		parts = append(parts, "keys "+a.Keys.String())
	}
	if a.Values.Kind != qtensor.F32 {
		parts = append(parts, "values "+a.Values.String())
	}
	if parts == nil {
		return "float32"
	}
	return strings.Join(parts, ", ")
}

// ParseActivations reads "f32", "int8" (a scale for each group of the weights'),
// "int8/row" or "int8/gN".
func ParseActivations(text string) (Activations, error) {
	switch text {
	case floatName:
		return Activations{}, nil
	case "int8":
		return Activations{Int8: true}, nil
	case "int8/row":
		return Activations{true, WholeRow}, nil
	}
	s, err := qtensor.ParseScheme(text)
	if err != nil || s.Kind != qtensor.Int || s.Bits != 8 || s.Group == 0 || text != fmt.Sprintf("int8/g%d", s.Group) {
		return Activations{}, fmt.Errorf("%q is none of f32, int8 (a scale for each group of the weights), int8/row and int8/g32 and the like", text)
	}
	return Activations{true, s.Group}, nil
}

// cacheNames are the short names of caches: keys, and values where they differ.
var cacheNames = map[string]string{"int8": "int8/row", "k8v4": "int8/row,int4/g32"}

// ParseCache reads how a cache keeps keys and values: "int8", "k8v4", a scheme
// for both, or two with a comma between them.
func ParseCache(text string) (keys, values qtensor.Scheme, err error) {
	full, ok := cacheNames[text]
	if !ok {
		full = text
	}
	k, v, two := strings.Cut(full, ",")
	if !two {
		v = k
	}
	keys, err1 := qtensor.ParseScheme(k)
	values, err2 := qtensor.ParseScheme(v)
	if err := errors.Join(err1, err2); err != nil {
		return keys, values, fmt.Errorf("%q is none of f32, f16, int8, k8v4, a scheme such as int8/g32, or two for keys and values such as int8/row,int4/g32", text)
	}
	return keys, values, nil
}

// checkFor reports a field out of range, or one that makes no difference to m.
func (a Arithmetic) checkFor(m *model.Model) error {
	if a.Activations.Group < 0 || a.Activations != (Activations{}) && !a.Activations.Int8 {
		return fmt.Errorf("activations %+v are not a type", a.Activations)
	}
	for _, s := range []qtensor.Scheme{a.Keys, a.Values} {
		if s.Kind == qtensor.Foreign {
			return fmt.Errorf("a cache cannot hold %v", s)
		}
		if err := s.Check(); err != nil {
			return err
		}
	}
	if !a.Activations.Int8 {
		return nil
	}
	for _, slot := range m.Spec.Slots() {
		if layer := slot.Role == model.Linear || slot.Name == m.HeadName(); layer && !m.Tensors[slot.Name].Scheme.Float() {
			return nil
		}
	}
	return errors.New("no layer is stored as integers, so rounding activations changes nothing; quantize the model first")
}
