package quantize_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"thimble/convert"
	"thimble/format"
	"thimble/format/thimble"
	"thimble/quantize"
	"thimble/verify"
	"thimble/verify/reference"
)

// From a checkpoint to a verified container.
func Example() {
	ctx, dir := context.Background(), "../fixtures/trained"
	m, err := convert.Open(dir, convert.Options{})
	check(err)
	defer m.Close()
	plan, err := quantize.NewPlan(m, &quantize.Recipe{Scheme: "int4/g32", Embedding: "int8/g32"})
	check(err)

	contents, err := thimble.Describe(m)
	check(err)
	for i, e := range plan.Tensors {
		contents.Tensors[i].Scheme = e.To
	}
	tmp, err := os.MkdirTemp("", "")
	check(err)
	defer os.RemoveAll(tmp)
	out := filepath.Join(tmp, "trained.thimble")
	w, err := thimble.Create(out, contents, thimble.Options{})
	check(err)
	defer w.Abort()
	check(quantize.Run(ctx, m, plan, nil, w, nil))
	check(w.Close())

	q, err := format.Open(out)
	check(err)
	defer q.Close()
	ref, err := reference.Open(filepath.Join(dir, "reference.safetensors"))
	check(err)
	defer ref.Close()
	scorer, err := reference.NewScorer(q, verify.Arithmetic{}, 0)
	check(err)
	report, err := verify.Run(ctx, ref, scorer, ref.Prompts(), verify.Options{Gates: verify.DefaultGates(q)})
	check(err)
	fmt.Printf("%.2f bits per weight, KL %.3f, pass %v\n", plan.BitsPerWeight(), float64(report.Metrics.KLMean), report.Pass)
	// Output: 4.83 bits per weight, KL 0.016, pass true
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
