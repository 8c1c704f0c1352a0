package verify

import (
	"strings"

	"thimble/internal/transformer"
)

// ParseArithmetic reads how activations are rounded, such as "int8", and how the
// cache keeps keys and values, such as "k8v4". Empty texts stand for float32.
func ParseArithmetic(activations, kv string) (Arithmetic, error) {
	return transformer.ParseArithmetic(activations, kv)
}

// ArithmeticInfo spells an Arithmetic: what the inputs of integer layers, keys
// and values were rounded to, "f32" for not at all.
type ArithmeticInfo struct {
	Activations string `json:"activations"`
	Keys        string `json:"keys"`
	Values      string `json:"values"`
}

// Describe spells a.
func Describe(a Arithmetic) ArithmeticInfo {
	return ArithmeticInfo{a.Activations.String(), a.Keys.String(), a.Values.String()}
}

// Float32 is the String of an ArithmeticInfo that rounds nothing.
const Float32 = "float32"

// String lists what is rounded, such as "activations int8, keys int8/g32", and
// returns Float32 for nothing.
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
