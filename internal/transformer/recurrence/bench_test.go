package recurrence

import (
	"context"
	"math/rand/v2"
	"testing"

	"thimble/internal/model"
)

// BenchmarkScan measures one position of a layer of Granite 4.0 H 350M.
func BenchmarkScan(b *testing.B) {
	c := model.Scan{Heads: 48, HeadDim: 32, State: 128, Groups: 1}
	r := rand.New(rand.NewPCG(1, 2))
	v := ScanVectors{Decay: random(r, c.Heads, -1), Skip: random(r, c.Heads, 1), DT: random(r, c.Heads, 0), Norm: random(r, c.Values(), 1)}
	w := NewScan(c, NewCausalConv(random(r, 4*c.Mixed(), 0), random(r, c.Mixed(), 0), 4), v, 1e-5)
	var state State
	inputs, out := random(r, 5*c.Inputs(), 0), make([]float32, c.Values())
	a := Advance{Layer: w, State: &state, Inputs: inputs, Out: out, N: 1, Stride: len(out)}
	a.Start(4)
	b.ReportAllocs()
	for b.Loop() {
		state.N = 4
		if err := a.Run(context.Background()); err != nil {
			b.Fatal(err)
		}
	}
}
