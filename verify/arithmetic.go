package verify

import (
	"strings"

	"thimble/internal/transformer"
)

// ParseArithmetic parses the type that activations are rounded to, such as "int8", and
// those of the cached keys and values, such as "k8v4". An empty string means float32.
func ParseArithmetic(activations, kv string) (Arithmetic, error) {
	return transformer.ParseArithmetic(activations, kv)
}

// ArithmeticInfo describes an Arithmetic: the types that the inputs of integer layers,
// the keys and the values were rounded to, "f32" if they were not rounded.
type ArithmeticInfo struct {
	Activations string `json:"activations"`
	Keys        string `json:"keys"`
	Values      string `json:"values"`
}

// Describe returns the ArithmeticInfo of a.
func Describe(a Arithmetic) ArithmeticInfo {
	return ArithmeticInfo{a.Activations.String(), a.Keys.String(), a.Values.String()}
}

// Float32 is the String of an ArithmeticInfo that rounds nothing.
const Float32 = "float32"

// String lists the rounded parts, such as "activations int8, keys int8/g32", or
// returns Float32 if there are none.
func (a ArithmeticInfo) String() string {
	var parts []string
	for _, p := range []struct{ name, value string }{{"activations", a.Activations}, {"keys", a.Keys}, {"values", a.Values}} {
		if p.value != "" && p.value != "f32" {
			parts = append(parts, p.name+" "+p.value)
		}
	}
	if parts == nil {
		return Float32
	}
	return strings.Join(parts, ", ")
}
