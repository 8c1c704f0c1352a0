package generate

import (
	"context"
	"math/rand/v2"

	"thimble/internal/memory"
	"thimble/internal/model"
	"thimble/internal/parallel"
	"thimble/internal/transformer"
)

// writtenCaches is the memory for the keys and values of texts that are written at the same time.
const writtenCaches = 768 << 20

// Write writes n texts of so many tokens with m, each token drawn from the probabilities that m
// gives it. A text begins with m's BOS, or else with the first token that ends texts, or else with
// a random one, and goes on where another text of m's training would begin. The texts differ, and
// depend on m and seed alone: neither on how many are written at the same time nor on the machine.
// progress may be nil.
func Write(ctx context.Context, m *model.Model, n, tokens int, seed uint64, progress func(done, total int64)) ([][]int, error) {
	m, err := Plain(ctx, m)
	if err != nil {
		return nil, err
	}
	d, err := transformer.NewWith(m, transformer.Arithmetic{})
	if err != nil {
		return nil, err
	}
	room := int64(writtenCaches)
	if memory.Bounded() {
		room = min(room, (memory.Room()-memory.Live())/2)
	}
	atOnce := int(max(1, room/(transformer.PositionBytes(&m.Spec)*int64(tokens)+transformer.FixedBytes(&m.Spec))))
	var all [][]int
	for len(all) < n {
		w := writing{d: d, spec: &m.Spec, done: len(all) * tokens, all: n * tokens, progress: progress}
		texts, err := w.texts(ctx, min(atOnce, n-len(all)), tokens, seed, len(all))
		if err != nil {
			return nil, err
		}
		all = append(all, texts...)
	}
	return all, nil
}

// A writing writes some texts at the same time.
type writing struct {
	d         *transformer.Decoder
	spec      *model.Spec
	done, all int // tokens of all texts
	progress  func(done, total int64)
}

// texts writes n texts, the first of which is number first.
func (w *writing) texts(ctx context.Context, n, tokens int, seed uint64, first int) ([][]int, error) {
	texts, last := make([][]int, n), make([]int, n)
	caches, draws := make([]*transformer.Cache, n), make([]*Sampler, n)
	for i := range texts {
		random := rand.New(rand.NewPCG(seed, uint64(first+i)))
		draws[i] = &Sampler{Sampling: Sampling{Generation: model.Generation{Temperature: 1}}, random: random}
		last[i] = w.first(random)
		texts[i] = append(make([]int, 0, tokens), last[i])
		var err error
		if caches[i], err = w.d.NewCache(tokens); err != nil {
			return nil, err
		}
	}
	logits := make([]float32, n*w.spec.Vocab)
	for at := 1; at < tokens; at++ {
		h, err := w.d.ForwardEach(ctx, caches, last)
		if err == nil {
			err = h.Logits(ctx, logits, 0, n)
		}
		if err != nil {
			return nil, err
		}
		err = parallel.Do(ctx, n, func(_, i int) error {
			last[i] = draws[i].Pick(logits[i*w.spec.Vocab:][:w.spec.Vocab])
			texts[i] = append(texts[i], last[i])
			return nil
		})
		if err != nil {
			return nil, err
		}
		if w.progress != nil {
			w.progress(int64(w.done+n*(at+1)), int64(w.all))
		}
	}
	return texts, nil
}

// first returns the token that a text begins with.
func (w *writing) first(random *rand.Rand) int {
	switch {
	case w.spec.BOS >= 0:
		return w.spec.BOS
	case len(w.spec.EOS) > 0:
		return w.spec.EOS[0]
	}
	return random.IntN(w.spec.Vocab)
}
