package verify

import (
	"strings"

	"thimble/internal/transformer"
)

// Arithmetic is what a run rounds on its way: activations, keys and values. The
// zero value is float32 throughout.
type Arithmetic = transformer.Arithmetic

// ParseArithmetic reads how activations are rounded, such as "int8", and how the
// cache keeps keys and values, such as "k8v4"; nothing is float32.
func ParseArithmetic(activations, kv string) (Arithmetic, error) {
	return transformer.ParseArithmetic(activations, kv)
}

// ArithmeticInfo spells an Arithmetic: what the inputs of integer layers, keys
// and values were rounded to, "f32" where they were not.
type ArithmeticInfo struct {
	Activations string `json:"activations"`
	Keys        string `json:"keys"`
	Values      string `json:"values"`
}

// Describe spells a.
func Describe(a Arithmetic) ArithmeticInfo {
	return ArithmeticInfo{a.Activations.String(), a.Keys.String(), a.Values.String()}
}

// float32Name is what nothing but float32 is called.
const float32Name = "float32"

// String names what is not float32, "float32" if all is.
func (a ArithmeticInfo) String() string {
	var parts []string
	for _, p := range []struct{ name, value string }{{"activations", a.Activations}, {"keys", a.Keys}, {"values", a.Values}} {
		if p.value != "" && p.value != "f32" {
			parts = append(parts, p.name+" "+p.value)
		}
	}
	if parts == nil {
		return float32Name
	}
	return strings.Join(parts, ", ")
}
