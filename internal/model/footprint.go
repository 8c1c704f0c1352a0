package model

import (
	"slices"

	"thimble/internal/kernel"
)

// Footprint returns the bytes that a forward pass takes for each position that runs at a time,
// and, where it is interrupted between two layers, at most for each that it keeps.
func (s *Spec) Footprint() (running, keeping int64) {
	widest := s.Widest()
	s = &widest
	padded := func(n int) int64 { return 4 * int64(kernel.Padded(n)) }
	hidden, heads, ffn := padded(s.Hidden), padded(s.Heads*s.HeadDim), padded(s.FFN)
	running = 3*hidden + heads + padded(s.KVHeads*s.HeadDim) + padded(s.KVHeads*s.ValueDim()) + 2*ffn
	if s.Layer.Width > 0 {
		running += hidden + 2*padded(s.Layer.Width)
	}
	if n := s.AltUp.Streams; n > 0 { // each other stream and what becomes of it, the prediction, and coefficients
		running += int64(2*n-1)*hidden + 2*padded(n) + padded(n*n)
	}
	if s.Laurel > 0 {
		running += padded(s.Laurel)
	}
	if s.AttnGate {
		running += heads
	}
	if slices.ContainsFunc(s.Attention, func(a Attention) bool { return a.Conv > 0 }) {
		running += padded(3*s.Hidden) + hidden
	}
	if d := s.Delta; d.ValueHeads > 0 {
		running += padded(d.Mixed()) + 2*padded(d.Values()) + 2*padded(d.ValueHeads)
	}
	if c := s.Scan; c.Heads > 0 {
		running += padded(c.Mixed()) + 2*padded(c.Values()) + padded(c.Heads)
	}
	if slices.ContainsFunc(s.Attention, func(a Attention) bool { return a.Beside }) {
		running += hidden
	}
	if l := s.Latent; s.IsLatent() {
		all, out := padded(l.KeyValue)+padded(l.KeyValue+s.Rope.Dims), padded(s.Heads*s.ValueDim())
		running += 2*padded(l.Query) + all + padded(s.KVHeads*s.KeyRows()) + out
		heads = max(heads+all+padded(l.Query), out)
	}
	return running, hidden + max(hidden+heads, ffn)
}
