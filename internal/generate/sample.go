package generate

import (
	"math/rand/v2"

	"thimble/internal/kernel"
	"thimble/internal/logits"
)

// A Sampler draws tokens. The same seed draws the same tokens on every machine.
type Sampler struct {
	temperature float64 // 0 takes the most likely token
	random      *rand.Rand
	weights     []float64 // scratch, (Vocab)
}

// NewSampler returns a Sampler that divides logits by temperature before their
// softmax; temperature 0 takes the most likely token, the lowest id if several tie.
func NewSampler(temperature float64, seed uint64) *Sampler {
	return &Sampler{temperature: temperature, random: rand.New(rand.NewPCG(seed, 0))}
}

// Pick chooses the next token from its logits.
func (s *Sampler) Pick(row []float32) int {
	best := logits.Argmax(row)
	if s.temperature == 0 {
		return best
	}
	most, total := float64(row[best]), 0.0
	s.weights = s.weights[:0]
	for _, l := range row {
		w := kernel.Exp64((float64(l) - most) / s.temperature)
		s.weights = append(s.weights, w)
		total += w
	}
	at := float64(s.random.Float64() * total)
	for id, w := range s.weights {
		if at -= w; at < 0 {
			return id
		}
	}
	return best // rounding left a remainder
}
