package generate

import (
	"math/rand/v2"

	"thimble/internal/kernel"
	"thimble/internal/logits"
)

// A Sampler chooses tokens at random. With the same seed it chooses the same tokens on
// every machine.
type Sampler struct {
	temperature float64 // 0 means the most likely token
	random      *rand.Rand
	weights     []float64 // scratch, (Vocab)
}

// NewSampler returns a Sampler that divides logits by temperature before the softmax.
// With temperature 0 it chooses the most likely token; ties go to the lowest id.
func NewSampler(temperature float64, seed uint64) *Sampler {
	return &Sampler{temperature: temperature, random: rand.New(rand.NewPCG(seed, 0))}
}

// Pick chooses the next token from its logits.
func (s *Sampler) Pick(row []float32) int {
	best := logits.Argmax(row)
	if s.temperature == 0 {
		return best
	}
	peak, total := float64(row[best]), 0.0
	s.weights = s.weights[:0]
	for _, l := range row {
		w := kernel.Exp64((float64(l) - peak) / s.temperature)
		s.weights = append(s.weights, w)
		total += w
	}
	at := float64(s.random.Float64() * total)
	for id, w := range s.weights {
		if at -= w; at < 0 {
			return id
		}
	}
	return best // rounding errors left a remainder
}
