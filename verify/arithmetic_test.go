package verify

import (
	"strings"
	"testing"
)

// Describe spells whatever ParseArithmetic accepts so that it parses to the same again.
func FuzzParseArithmetic(f *testing.F) {
	for _, c := range [][2]string{{"", ""}, {"int8", "k8v4"}, {"int8/row", "int8,f16"}, {"f32", "int4/g32/asym"}, {"int9", "k"}} {
		f.Add(c[0], c[1])
	}
	f.Fuzz(func(t *testing.T, activations, kv string) {
		a, err := ParseArithmetic(activations, kv)
		if err != nil {
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("not one line: %q", err)
			}
			return
		}
		d := Describe(a)
		if again, err := ParseArithmetic(d.Activations, d.Keys+","+d.Values); err != nil || again != a {
			t.Errorf("%+v reads back as %+v, %v", d, again, err)
		}
	})
}
