package recurrence

import (
	"context"
	"math/rand/v2"
	"slices"
	"testing"

	"thimble/internal/model"
)

// A Past gives the outputs of a text fed at once, whatever its parts are, and wherever it went back
// to. Its memory does not grow with the text.
func TestPast(t *testing.T) {
	const n, length = 5*Window + 7, 4
	c := model.Scan{Heads: 2, HeadDim: 3, State: 4, Groups: 1}
	r := rand.New(rand.NewPCG(1, 2))
	v := ScanVectors{Decay: random(r, c.Heads, -1), Skip: random(r, c.Heads, 1), DT: random(r, c.Heads, 0), Norm: random(r, c.Values(), 1)}
	w := NewScan(c, NewCausalConv(random(r, length*c.Mixed(), 0), random(r, c.Mixed(), 0), length), v, 1e-5)
	width, values := c.Inputs(), c.Values()
	text := random(r, n*width, 0)
	past := &Past{Width: width, Reach: length - 1}
	var a Advance
	feed := func(ctx context.Context, from, to int, x []float32) []float32 {
		inputs, first := past.Extend(from, to-from)
		copy(inputs[(from-first)*width:], x)
		out := make([]float32, (to-from)*values)
		a.Layer, a.State, a.Inputs, a.First, a.Out, a.N, a.Stride = w, &past.State, inputs, first, out, to-from, values
		a.Start(from)
		if err := a.Run(ctx); (err != nil) != (ctx.Err() != nil) {
			t.Fatal(err)
		}
		return out
	}
	ctx := context.Background()
	want := feed(ctx, 0, n, text)
	stopped, stop := context.WithCancel(ctx)
	stop()
	for i, largest := range []int{1, 3, 100, 3 * Window} {
		at, back := 0, rand.New(rand.NewPCG(uint64(i), 0))
		for at < n {
			to := min(n, at+1+back.IntN(largest))
			if got := feed(ctx, at, to, text[at*width:to*width]); !slices.Equal(got, want[at*values:to*values]) {
				t.Fatalf("parts of up to %d: positions %d to %d have other outputs", largest, at, to-1)
			}
			switch at = to; back.IntN(10) {
			case 0:
				if n := max(0, at-back.IntN(2*largest)); past.Reaches(n) {
					at = n
				}
			case 1: // other positions, which are discarded
				feed(ctx, at, at+2, text[:2*width])
			case 2:
				feed(stopped, at, at+20, text[:20*width])
			}
			if at > 3 && past.Row(at-1) != nil && !slices.Equal(past.Row(at-1), text[(at-1)*width:at*width]) {
				t.Fatalf("the inputs of position %d changed", at-1)
			}
		}
		if largest < 100 && past.Bytes() > 4*int64(2*(Window+100)*width)*2 {
			t.Errorf("parts of up to %d: %d bytes after %d positions", largest, past.Bytes(), n)
		}
		if past.Reaches(Window) || !past.Reaches(n) || !past.Reaches(0) || past.Row(10) != nil {
			t.Errorf("parts of up to %d: an early position is kept", largest)
		}
	}
}
