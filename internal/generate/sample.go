package generate

import (
	"container/heap"
	"math/rand/v2"

	"thimble/internal/kernel"
	"thimble/internal/logits"
	"thimble/internal/model"
)

// Sampling says how to choose tokens. The steps follow each other as in transformers:
// RepetitionPenalty, Temperature, TopK, TopP, MinP.
type Sampling struct {
	model.Generation
	Seed uint64
}

// A Sampler chooses tokens. With the same seed it chooses the same tokens on every machine.
type Sampler struct {
	Sampling
	random  *rand.Rand
	seen    map[int]bool // tokens that RepetitionPenalty applies to
	weights []float64    // scratch, (Vocab): probabilities relative to the largest
	likely  ranking      // scratch
	kept    []int        // scratch
}

// NewSampler returns a Sampler for s, which must pass Check. Without a temperature, it
// chooses the most likely token; ties go to the lowest id.
func NewSampler(s Sampling) *Sampler {
	return &Sampler{Sampling: s, random: rand.New(rand.NewPCG(s.Seed, 0)), seen: map[int]bool{}}
}

// See adds tokens, such as those of the prompt, to which RepetitionPenalty applies.
func (s *Sampler) See(ids ...int) {
	if s.penalizes() {
		for _, id := range ids {
			s.seen[id] = true
		}
	}
}

func (s *Sampler) penalizes() bool { return s.RepetitionPenalty != 0 && s.RepetitionPenalty != 1 }

// Pick chooses the next token from its logits, which it may overwrite, and sees it.
func (s *Sampler) Pick(row []float32) int {
	for id := range s.seen {
		if l := float64(row[id]); l > 0 {
			row[id] = float32(l / s.RepetitionPenalty)
		} else {
			row[id] = float32(l * s.RepetitionPenalty)
		}
	}
	id := s.pick(row)
	s.See(id)
	return id
}

func (s *Sampler) pick(row []float32) int {
	best := logits.Argmax(row)
	if s.Temperature == 0 {
		return best
	}
	peak, total := float64(row[best]), 0.0
	s.weights = s.weights[:0]
	for _, l := range row {
		w := kernel.Exp64((float64(l) - peak) / s.Temperature)
		s.weights = append(s.weights, w)
		total += w
	}
	if s.TopK > 0 && s.TopK < len(row) || s.TopP > 0 && s.TopP < 1 || s.MinP > 0 {
		return s.pickLikely(total)
	}
	at := float64(s.random.Float64() * total)
	for id, w := range s.weights {
		if at -= w; at < 0 {
			return id
		}
	}
	return best // rounding errors left a remainder
}

// pickLikely chooses among the tokens that TopK, TopP and MinP keep. total is the sum of
// the weights.
func (s *Sampler) pickLikely(total float64) int {
	s.likely.weights, s.likely.ids = s.weights, s.likely.ids[:0]
	for id := range s.weights {
		s.likely.ids = append(s.likely.ids, id)
	}
	heap.Init(&s.likely)
	s.kept = s.kept[:0]
	rank := func(n int) float64 { // the weight of the n-th most likely token
		if n == len(s.kept) {
			s.kept = append(s.kept, heap.Pop(&s.likely).(int))
		}
		return s.weights[s.kept[n]]
	}
	most := len(s.weights)
	if s.TopK > 0 && s.TopK < most {
		most = s.TopK
		if s.TopP > 0 { // a share of what TopK keeps
			total = 0
			for n := range most {
				total += rank(n)
			}
		}
	}
	sum, n := 0.0, 0
	for n < most && (n == 0 || s.TopP == 0 || sum < float64(s.TopP*total)) && rank(n) >= s.MinP { // rank(0) is 1
		sum += rank(n)
		n++
	}
	at := float64(s.random.Float64() * sum)
	for _, id := range s.kept[:n] {
		if at -= s.weights[id]; at < 0 {
			return id
		}
	}
	return s.kept[0]
}

// A ranking is a heap of token ids, the most likely first. Ties are ordered by id.
type ranking struct {
	ids     []int
	weights []float64 // by id
}

func (r *ranking) Len() int { return len(r.ids) }
func (r *ranking) Less(i, j int) bool {
	a, b := r.ids[i], r.ids[j]
	return r.weights[a] > r.weights[b] || r.weights[a] == r.weights[b] && a < b
}
func (r *ranking) Swap(i, j int) { r.ids[i], r.ids[j] = r.ids[j], r.ids[i] }
func (r *ranking) Push(x any)    { r.ids = append(r.ids, x.(int)) }
func (r *ranking) Pop() any {
	last := len(r.ids) - 1
	id := r.ids[last]
	r.ids = r.ids[:last]
	return id
}
