package gguf

import "thimble/internal/model"

// putGeneration adds the keys from which llama.cpp takes its defaults of sampling
// (common/common.cpp, common_init_sampler_from_model).
func (m *metadata) putGeneration(g *model.Generation) {
	if g.TopK > 0 {
		m.topK = ptr(int32(g.TopK))
	}
	for _, f := range []struct {
		key   **float32
		value float64
	}{{&m.temperature, g.Temperature}, {&m.topP, g.TopP}, {&m.minP, g.MinP}, {&m.penalty, g.RepetitionPenalty}} {
		if f.value != 0 {
			*f.key = ptr(float32(f.value))
		}
	}
	if m.penalty != nil {
		m.penaltyLast = ptr(int32(-1)) // the whole context, as in transformers
	}
}

// generation returns what the keys say, or an error if that is out of range.
func (m *metadata) generation() (g model.Generation, err error) {
	if m.topK != nil && *m.topK > 0 {
		g.TopK = int(*m.topK)
	}
	for _, f := range []struct {
		key   *float32
		value *float64
	}{{m.temperature, &g.Temperature}, {m.topP, &g.TopP}, {m.minP, &g.MinP}, {m.penalty, &g.RepetitionPenalty}} {
		if f.key != nil {
			*f.value = shortest(*f.key)
		}
	}
	if err := g.Check(); err != nil {
		return model.Generation{}, err
	}
	return g, nil
}
