package generate

import (
	"math"
	"slices"
	"testing"

	"thimble/internal/model"
)

// Each filter keeps the tokens that its definition names, and a penalty changes the
// logits of the tokens that occurred.
func TestFilters(t *testing.T) {
	// The probabilities are 0.4, 0.3, 0.15, 0.1, 0.05, shuffled.
	shares := []float64{0.1, 0.4, 0.05, 0.3, 0.15}
	for _, tt := range []struct {
		g    model.Generation
		want []int
	}{
		{model.Generation{}, []int{0, 1, 2, 3, 4}},
		{model.Generation{TopK: 2}, []int{1, 3}},
		{model.Generation{TopK: 9}, []int{0, 1, 2, 3, 4}},
		{model.Generation{TopP: 0.5}, []int{1, 3}},
		{model.Generation{TopP: 0.39}, []int{1}},
		{model.Generation{TopP: 1e-9}, []int{1}},
		{model.Generation{MinP: 0.3}, []int{1, 3, 4}},
		{model.Generation{MinP: 1}, []int{1}},
		{model.Generation{TopK: 3, TopP: 0.8}, []int{1, 3}}, // 0.7/0.85 is above 0.8
		{model.Generation{TopK: 3, MinP: 0.5}, []int{1, 3}},
		{model.Generation{TopP: 0.96, MinP: 0.2}, []int{0, 1, 3, 4}},
		{model.Generation{RepetitionPenalty: 100, TopK: 3}, []int{1, 3, 4}},
	} {
		tt.g.Temperature = 1
		s := NewSampler(Sampling{Generation: tt.g, Seed: 3})
		row := make([]float32, len(shares))
		counts := make([]int, len(shares))
		const draws = 2000
		for range draws {
			for id, p := range shares {
				row[id] = float32(math.Log(p))
			}
			counts[s.pick(row)]++
		}
		var got []int
		sum := 0.0
		for id, n := range counts {
			if n > 0 {
				got = append(got, id)
				sum += shares[id]
			}
		}
		if !slices.Equal(got, tt.want) {
			t.Errorf("%+v picks %v, want %v", tt.g, got, tt.want)
		}
		for _, id := range got {
			p := shares[id] / sum
			if f := float64(counts[id]) / draws; math.Abs(f-p) > 5*math.Sqrt(p*(1-p)/draws) {
				t.Errorf("%+v: token %d has frequency %.3f, want %.3f", tt.g, id, f, p)
			}
		}
	}
}

// A penalty lowers tokens of the prompt and those that were picked, whatever their sign.
func TestRepetitionPenalty(t *testing.T) {
	s := NewSampler(Sampling{Generation: model.Generation{RepetitionPenalty: 2}})
	s.See(0)
	for i, want := range []int{1, 2, 3} {
		if got := s.Pick([]float32{4, 3.5, 2.5, 2.2, -1}); got != want {
			t.Errorf("pick %d is %d, want %d", i, got, want)
		}
	}
	row := []float32{-9, -8, -8, -8, -1}
	if s.See(4); s.Pick(row) != 4 || row[4] != -2 {
		t.Errorf("a negative logit of a seen token becomes %g, want -2", row[4])
	}
}
