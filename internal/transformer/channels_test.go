package transformer_test

import (
	"context"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"thimble/convert"
	"thimble/internal/model"
	"thimble/verify/reference"
)

// Every architecture computes the same with the channels of its residual stream in another order.
func TestReordered(t *testing.T) {
	folders, err := os.ReadDir(filepath.Join(fixtures, "families"))
	if err != nil {
		t.Fatal(err)
	}
	all := checkpoints
	for _, f := range folders {
		all = append(all[:len(all):len(all)], checkpoint{dir: "families/" + f.Name()})
	}
	reordered := 0
	for _, c := range all {
		t.Run(c.dir, func(t *testing.T) {
			m, err := convert.Open(filepath.Join(fixtures, c.dir), convert.Options{Set: c.set})
			if err != nil {
				t.Skip(err)
			}
			defer m.Close()
			if !m.Spec.Reorders() {
				t.Skip("its streams have an order")
			}
			var order []int32
			for _, c := range rand.New(rand.NewPCG(1, 2)).Perm(m.Spec.Hidden) {
				order = append(order, int32(c))
			}
			want, got := logitsOf(t, m), logitsOf(t, m.Reordered(order))
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

func logitsOf(t *testing.T, m *model.Model) []float32 {
	t.Helper()
	s, err := reference.NewScorer(m, reference.Arithmetic{}, 0)
	if err != nil {
		t.Fatal(err)
	}
	ids := make([]int, 12)
	for i := range ids {
		ids[i] = (7*i + 3) % m.Spec.Vocab
	}
	p, err := s.Score(context.Background(), ids)
	if err != nil {
		t.Fatal(err)
	}
	out := make([]float32, len(ids)*m.Spec.Vocab)
	if err := p.Logits(context.Background(), out, 0, len(ids)); err != nil {
		t.Fatal(err)
	}
	return out
}
