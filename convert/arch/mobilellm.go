package arch

import (
	"thimble/convert/config"
	"thimble/internal/model"
)

func init() { register("mobilellm", Architecture{mobileLLMSpec, llamaNames}) }

// mobileLLMSpec reads the config of MobileLLM (arXiv 2402.14905): a deep and thin Llama
// with two switches, both required in a config of this type.
func mobileLLMSpec(c *config.Config) model.Spec {
	c.Bool("share_embedding")
	c.Bool("layer_sharing")
	return llamaSpec(c)
}

// share reads the two switches. share_embedding uses the embedding as the output head,
// whatever tie_word_embeddings is (section 2.2.2); layer_sharing runs each stored block
// twice in a row (section 2.3). MobileLLM's training code has them as command-line flags
// and writes the config of a plain Llama, so --set can add them to a Llama too.
func share(c *config.Config, s *model.Spec) {
	if c.Bool("share_embedding", false) {
		s.Tied = true
	}
	if c.Bool("layer_sharing", false) {
		s.Schedule = model.InOrder(s.Blocks, 2)
	}
}
