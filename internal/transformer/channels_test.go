package transformer_test

import (
	"math"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"testing"

	"thimble/convert"
	"thimble/internal/transformer"
)

// Every architecture computes the same with the channels of its residual stream in another order.
func TestReordered(t *testing.T) {
	reordered := 0
	for _, c := range slices.Concat(checkpoints, families(t)) {
		t.Run(c.dir, func(t *testing.T) {
			m, err := convert.Open(filepath.Join(fixtures, c.dir), convert.Options{Set: c.set})
			if err != nil {
				t.Fatal(err)
			}
			defer m.Close()
			if !m.Spec.Reorders() {
				t.Skip("its streams have an order")
			}
			var order []int32
			for _, c := range rand.New(rand.NewPCG(1, 2)).Perm(m.Spec.Hidden) {
				order = append(order, int32(c))
			}
			ids := make([]int, 12)
			for i := range ids {
				ids[i] = (7*i + 3) % m.Spec.Vocab
			}
			want := run(t, m, transformer.Arithmetic{}, ids, len(ids), 1)
			got := run(t, m.Reordered(order), transformer.Arithmetic{}, ids, len(ids), 1)
			var diff, square float64
			for i, x := range want {
				diff = max(diff, math.Abs(float64(got[i]-x)))
				square += float64(x) * float64(x)
			}
			if spread := math.Sqrt(square / float64(len(want))); !(diff <= 1e-4*spread) {
				t.Errorf("logits differ by %.2g of their magnitude", diff/spread)
			}
			reordered++
		})
	}
	if reordered < 50 {
		t.Errorf("only %d models were compared", reordered)
	}
}
