package generate

import (
	"math/rand/v2"
	"path/filepath"
	"slices"
	"testing"

	"thimble/internal/model"
	"thimble/internal/transformer"
)

// Texts written together are those that each model draws alone, token by token: with a window,
// with blocks that run twice, with learned positions, with convolutions, the delta rule, state
// spaces and inputs of each layer, and without a token that begins texts.
func TestWriteIsDrawingAlone(t *testing.T) {
	for _, name := range []string{"mistral", "mobilellm-ls", "trained", "families/gpt2", "families/lfm2", "families/qwen3_next", "families/gemma3n", "families/granitemoehybrid", "families/falcon_h1", "families/nemotron_h", "families/deepseek_v3"} {
		t.Run(filepath.Base(name), func(t *testing.T) {
			m := open(t, name)
			if name == "trained" {
				m.Spec.BOS, m.Spec.EOS = -1, nil
			}
			const n, tokens = 3, 20
			texts, err := Write(t.Context(), m, n, tokens, 7, nil)
			if err != nil {
				t.Fatal(err)
			}
			for i, text := range texts {
				random := rand.New(rand.NewPCG(7, uint64(i)))
				first := (&writing{spec: &m.Spec}).first(random)
				draw := &Sampler{Sampling: Sampling{Generation: model.Generation{Temperature: 1}}, random: random}
				g := newGenerator(t, m)
				want := []int{first}
				for len(want) < tokens {
					row, err := g.Logits(t.Context(), want)
					if err != nil {
						t.Fatal(err)
					}
					want = append(want, draw.Pick(row))
				}
				if !slices.Equal(text, want) {
					t.Errorf("text %d is %v, want %v", i, text, want)
				}
			}
			// One at a time, as with little memory.
			w := writing{spec: &m.Spec, all: tokens}
			if w.d, err = transformer.New(m); err != nil {
				t.Fatal(err)
			}
			for i, want := range texts {
				if alone, err := w.texts(t.Context(), 1, tokens, 7, i); err != nil || !slices.Equal(alone[0], want) {
					t.Errorf("text %d alone is %v, %v", i, alone, err)
				}
			}
		})
	}
}
