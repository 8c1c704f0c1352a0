package thimble_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"thimble"
)

// Quantize a checkpoint and verify the container.
func Example() {
	ctx, src, out := context.Background(), "fixtures/trained", filepath.Join(os.TempDir(), "trained.thimble")
	defer os.Remove(out)
	recipe := thimble.Recipe{Scheme: "int4/g32", Embedding: "int8/g32"}
	q, err := thimble.Quantize(ctx, thimble.QuantizeOptions{Model: src, Output: out, Recipe: recipe, Overwrite: true})
	if err != nil {
		log.Fatal(err)
	}
	r, err := thimble.Verify(ctx, thimble.VerifyOptions{Model: out, Reference: src + "/reference.safetensors"})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%.2f bits per weight, KL %.3f, pass %v\n", q.BitsPerWeight, float64(r.Metrics.KLMean), r.Pass)
	// Output: 4.83 bits per weight, KL 0.015, pass true
}
