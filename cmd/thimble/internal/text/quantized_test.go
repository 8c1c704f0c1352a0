package text

import (
	"strings"
	"testing"

	"thimble"
)

func TestKLText(t *testing.T) {
	for kl, want := range map[float64]string{0.02812: "0.0281", 0.5: "0.5000", 1e-8: "1.0e-8", 0.00123: "0.0012", 0.000999: "1.0e-3", 3.3e-13: "3.3e-13", 0: "0.0000"} {
		if got := klText(kl); got != want {
			t.Errorf("%g: %s, want %s", kl, got, want)
		}
	}
}

// A speed is told once, however many types have it.
func TestTypesText(t *testing.T) {
	text := typesText([]thimble.TargetType{
		{Target: "llama.cpp", Type: "Q4_0", Tensors: 1, Weights: 1, Speed: "fast"},
		{Target: "llama.cpp", Type: "Q5_0", Tensors: 1, Weights: 1, Speed: "slow"},
		{Target: "llama.cpp", Type: "Q5_1", Tensors: 1, Weights: 2, Speed: "slow"},
	})
	if !strings.Contains(text, "weights: slow\n") || !strings.HasSuffix(text, " 50.0% of their weights: as Q5_0\n") {
		t.Error(text)
	}
}
