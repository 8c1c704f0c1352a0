package arch

import (
	"fmt"
	"path/filepath"

	"thimble/convert/config"
	"thimble/convert/names"
	"thimble/internal/defect"
	"thimble/internal/model"
)

// ParamsName is the name of the config that Meta publishes with Llama in its own layout,
// and Mistral in the same. It has no model_type.
const ParamsName = "params.json"

// meta describes Llama in Meta's own layout.
var meta = Architecture{metaSpec, metaNames}

// metaSpec reads params.json as Meta's ModelArgs does. The file omits sizes that follow
// from the tensors, and numbers that are constants of the code that runs the model.
// https://github.com/meta-llama/llama-models/blob/main/models/llama3/args.py
func metaSpec(c *config.Config) model.Spec {
	s := model.Spec{
		Hidden:  c.Int("dim", model.MaxWidth),
		Heads:   c.Int("n_heads", model.MaxHeads),
		Blocks:  c.Int("n_layers", model.MaxBlocks),
		NormEps: c.Epsilon("norm_eps", 1e-5),
		BOS:     -1,
		EOS:     c.Counts("eos_token_id", "token ids"),
	}
	s.Vocab = storedRows(c, MetaEmbed, s.Hidden)
	s.FFN = storedRows(c, "layers.0.feed_forward.w1.weight", s.Hidden)
	s.KVHeads = c.Int("n_kv_heads", model.MaxHeads, s.Heads)
	var divides bool
	if s.HeadDim, divides = headDim(c, &s); !divides {
		c.Fail("dim", "%d is not divisible by n_heads %d", s.Hidden, s.Heads)
	}
	if vocab, _ := config.Whole(c.Value("vocab_size")); c.Has("vocab_size") && vocab != -1 && vocab != s.Vocab {
		c.Fail("vocab_size", "%s, but %s has %d rows", config.Show(c.Values["vocab_size"]), MetaEmbed, s.Vocab)
	}
	if c.Has("hidden_dim") {
		mistralParams(c, &s)
	} else if want := metaFFN(c, s.Hidden); want != s.FFN {
		c.Fail("multiple_of", "together with dim and ffn_dim_multiplier it implies a feed-forward width of %d, but the tensors have %d: a wrong value, or part of a model-parallel checkpoint", want, s.FFN)
	}
	if c.Has("bos_token_id") {
		s.BOS = c.Count("bos_token_id", model.MaxVocab)
	}
	s.Schedule = model.InOrder(s.Blocks, 1)
	share(c, &s)
	metaRope(c, &s)
	c.Inert("max_batch_size")
	return s
}

// mistralParams reads what Mistral's params.json has besides Meta's keys.
// https://github.com/mistralai/mistral-inference/blob/main/src/mistral_inference/args.py
func mistralParams(c *config.Config, s *model.Spec) {
	if want := c.Int("hidden_dim", model.MaxWidth); want != s.FFN {
		c.Fail("hidden_dim", "%d, but the tensors have a feed-forward width of %d", want, s.FFN)
	}
	s.Tied = c.Bool("tied_embeddings", false)
	setWindow(s, c.Int("sliding_window", model.MaxLength, 0), func(int) bool { return true })
	c.Must("model_type", "transformer")
	c.Must("causal", true)
	c.Must("use_biases", false)
	c.Absent("moe", "lora", "quantization", "rope_scaling", "yarn", "llama_4_scaling", "vision_encoder")
	c.Inert("max_batch_size")
}

// metaFFN returns the feed-forward width that Meta's code computes.
func metaFFN(c *config.Config, dim int) int {
	width := 8 * dim / 3
	if c.Has("ffn_dim_multiplier") {
		m := c.Float("ffn_dim_multiplier")
		if !(m > 0 && m < 1e3) {
			c.Fail("ffn_dim_multiplier", "%g, want a positive number", m)
		}
		width = int(m * float64(width))
	}
	multiple := max(c.Int("multiple_of", model.MaxWidth, 256), 1)
	return (width + multiple - 1) / multiple * multiple
}

// metaRope reads the rotary embedding and the context. Llama 3.1 and 3.2 scale rope by
// different factors, which are in Meta's code and not in params.json. The context length
// is in neither.
func metaRope(c *config.Config, s *model.Spec) {
	s.Rope.Base = c.Float("rope_theta", 10000)
	context, release := 4096, "Llama 2"
	if s.Rope.Base == 500000 {
		context, release = 8192, "Llama 3"
	}
	if c.Bool("use_scaled_rope", false) {
		context, release = 131072, "Llama 3.1"
		s.Rope.Scaling, s.Rope.LowFreq, s.Rope.Original = model.RopeLlama3, 1, 8192
		s.Rope.HighFreq = c.Float("rope_high_freq_factor", 4)
		if !c.Has("rope_scaling_factor") {
			c.Failed(fmt.Errorf("%s: %w; add --set rope_scaling_factor=8 for Llama 3.1 and 3.3, 32 for Llama 3.2", defect.Printable(c.File),
				defect.Unsupported("use_scaled_rope", "true without a factor (it is in the code that runs the model)")))
		}
		s.Rope.Factor = c.Float("rope_scaling_factor", 0)
	}
	if c.Has("hidden_dim") {
		context, release = c.Int("max_position_embeddings", model.MaxLength, 32768), "Mistral 7B"
	}
	if s.Context = c.Int("max_seq_len", model.MaxLength, context); !c.Has("max_seq_len") && !c.Has("max_position_embeddings") {
		c.Note(fmt.Sprintf("%s has no context length: using %d, as for %s; --set max_seq_len=N changes it", ParamsName, context, release))
	}
}

// storedRows returns the number of rows of the matrix called name in the
// checkpoint, which must have cols columns.
func storedRows(c *config.Config, name string, cols int) int {
	t := c.Tensors[name]
	if t == nil || len(t.Shape) != 2 {
		c.Failed(defect.Corrupt(c.File, name, "matrix is missing in the checkpoint"))
		return 0
	}
	if t.Shape[1] != cols {
		c.Failed(defect.Corrupt(t.File, name, "shape is %v, %s requires %d columns: a wrong value, or part of a model-parallel checkpoint", t.Shape, filepath.Base(c.File), cols))
	}
	return t.Shape[0]
}

// MetaEmbed is the name of the embedding in Meta's layout.
const MetaEmbed = "tok_embeddings.weight"

// metaNames sets pairs because the rows of each head of wq and wk are interleaved.
var metaNames = names.Table{
	Stored: map[string]string{
		"embed":              MetaEmbed,
		"blocks.*.attn_norm": "layers.*.attention_norm.weight",
		"blocks.*.q":         "layers.*.attention.wq.weight",
		"blocks.*.k":         "layers.*.attention.wk.weight",
		"blocks.*.v":         "layers.*.attention.wv.weight",
		"blocks.*.o":         "layers.*.attention.wo.weight",
		"blocks.*.ffn_norm":  "layers.*.ffn_norm.weight",
		"blocks.*.gate":      "layers.*.feed_forward.w1.weight",
		"blocks.*.up":        "layers.*.feed_forward.w3.weight",
		"blocks.*.down":      "layers.*.feed_forward.w2.weight",
		"norm":               "norm.weight",
		"head":               "output.weight",
	},
	Ignored: []string{"rope.freqs"},
	Pairs:   true,
}
