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

// ParseArithmetic reads how activations are rounded, "f32", "int8" (a scale for
// each group of the weights), "int8/row" or "int8/gN"; and how a cache keeps keys
// and values, "int8", "k8v4", a scheme for both, or two with a comma between
// them. Nothing is float32.
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
		return Activations{}, fmt.Errorf("activations %q: want f32, int8 (a scale for each group of the weights), int8/row, or int8/g32 and the like", text)
	}
	return a, nil
}

// cacheNames are the short names of caches: keys, and values where they differ.
var cacheNames = map[string]string{"int8": "int8/row", "k8v4": "int8/row,int4/g32"}

func parseCache(text string) (keys, values qtensor.Scheme, err error) {
	k, v, two := strings.Cut(cmp.Or(cacheNames[text], text), ",")
	if !two {
		v = k
	}
	keys, err1 := qtensor.ParseScheme(k)
	values, err2 := qtensor.ParseScheme(v)
	if err1 != nil || err2 != nil {
		err = fmt.Errorf("kv %q: want f32, f16, int8, k8v4, a scheme such as int8/g32, or two for keys and values such as int8/row,int4/g32", text)
	}
	return keys, values, err
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
