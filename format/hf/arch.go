package hf

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"

	"thimble/internal/defect"
	names "thimble/internal/hf"
	"thimble/internal/model"
)

// An architecture is a model_type of transformers.
type architecture struct {
	modelType, class string
	names            []map[string]string // changes to those of Llama, in order
	// put copies the features that this type computes from c.want to c.got, with the keys that
	// say so. Those of begin are there already.
	put func(c *card)
}

// architectures is in order of preference: export writes the type of the checkpoint that the
// model was made from if it represents the Spec, and otherwise the first that does.
var architectures = []architecture{
	{"llama", "LlamaForCausalLM", nil, putLlama},
	{"mistral", "MistralForCausalLM", nil, putMistral},
	{"qwen2", "Qwen2ForCausalLM", nil, putQwen2},
	{"qwen3", "Qwen3ForCausalLM", []map[string]string{names.HeadNorms}, putQwen3},
	{"smollm3", "SmolLM3ForCausalLM", nil, putSmolLM3},
	{"granite", "GraniteForCausalLM", nil, putGranite},
	{"olmo2", "Olmo2ForCausalLM", []map[string]string{names.HeadNorms, names.PostNorms}, putOLMo2},
	{"gemma", "GemmaForCausalLM", nil, putGemma},
	{"gemma2", "Gemma2ForCausalLM", []map[string]string{names.Sandwich}, putGemma2},
	{"gemma3_text", "Gemma3ForCausalLM", []map[string]string{names.Sandwich, names.HeadNorms}, putGemma3},
	{"phi", "PhiForCausalLM", []map[string]string{names.Phi}, putPhi},
}

// stored returns the names of the tensors of a, by canonical pattern.
func (a *architecture) stored() map[string]string {
	all := maps.Clone(names.Llama)
	for _, more := range a.names {
		maps.Copy(all, more)
	}
	return all
}

// A card collects the keys of a config.json for a Spec, and the Spec that a reader of these
// keys gets.
type card struct {
	keys      map[string]any
	want, got model.Spec
}

// describe returns the keys of a config of this type for s, and the features of s that they do
// not express.
func (a *architecture) describe(s *model.Spec) (keys map[string]any, missing []string) {
	c := &card{keys: map[string]any{"model_type": a.modelType, "architectures": []string{a.class}}, want: *s}
	c.begin()
	a.put(c)
	for _, f := range model.Differences(&c.want, &c.got) {
		missing = append(missing, f.Name)
	}
	return c.keys, missing
}

// choose returns the architecture that represents s, and its keys. origin is the model_type of
// the checkpoint that the model was made from.
func choose(path, format, origin string, s *model.Spec) (*architecture, map[string]any, error) {
	order := slices.Clone(architectures)
	slices.SortStableFunc(order, func(a, b architecture) int {
		return boolInt(b.modelType == origin) - boolInt(a.modelType == origin)
	})
	var closest *architecture
	var fewest []string
	for i := range order {
		a := &order[i]
		keys, missing := a.describe(s)
		if len(missing) == 0 {
			return a, keys, nil
		}
		if closest == nil || len(missing) < len(fewest) {
			closest, fewest = a, missing
		}
	}
	return nil, nil, fmt.Errorf("%w; a .thimble file has it",
		defect.Unsupported(path, "%s in a model_type that %s writes (the closest is %s)", model.NoteOf(s, fewest[0]), format, closest.modelType))
}

func boolInt(b bool) int {
	if b {
		return 1
	}
	return 0
}

// set sets a key.
func (c *card) set(key string, value any) { c.keys[key] = value }

// begin copies what all types have.
func (c *card) begin() {
	s, g := &c.want, &c.got
	g.Hidden, g.Heads, g.KVHeads, g.HeadDim, g.FFN = s.Hidden, s.Heads, s.KVHeads, s.HeadDim, s.FFN
	g.Vocab, g.Context, g.Blocks, g.Tied = s.Vocab, s.Context, s.Blocks, s.Tied
	g.Schedule = model.InOrder(s.Blocks, 1)
	g.NormEps = s.NormEps
	for key, v := range map[string]any{
		"hidden_size": s.Hidden, "num_attention_heads": s.Heads, "num_key_value_heads": s.KVHeads, "head_dim": s.HeadDim,
		"intermediate_size": s.FFN, "vocab_size": s.Vocab, "max_position_embeddings": s.Context, "num_hidden_layers": s.Blocks,
		"tie_word_embeddings": s.Tied, "use_cache": true, "bos_token_id": nil, "eos_token_id": nil, "pad_token_id": nil,
	} {
		c.set(key, v)
	}
	if s.BOS >= 0 {
		c.set("bos_token_id", s.BOS)
	}
	switch len(s.EOS) {
	case 0:
	case 1:
		c.set("eos_token_id", s.EOS[0])
	default:
		c.set("eos_token_id", s.EOS)
	}
}

// activations names the functions as transformers does.
var activations = map[model.Activation]string{
	model.SiLU: "silu", model.GELUTanh: "gelu_pytorch_tanh", model.GELU: "gelu", model.ReLU: "relu", model.ReLU2: "relu2",
}

// rotary copies the rotary embedding of whole heads, in the form that transformers 4 and 5 and
// other programs read.
func (c *card) rotary() {
	c.got.Rope = wholeRope(&c.want.Rope)
	c.set("rope_theta", c.want.Rope.Base)
	c.set("rope_scaling", c.scaling(&c.want.Rope))
}

// wholeRope returns what rope_theta and rope_scaling express of r.
func wholeRope(r *model.Rope) model.Rope {
	t := *r
	t.Dims, t.Pairs = 0, false
	if t.Scaling != model.RopeYarn && t.Scaling != model.RopeFactors {
		t.Scale = 0
	}
	return t
}

// scaling returns the rope_scaling of r.
func (c *card) scaling(r *model.Rope) any {
	scale := cmp.Or(r.Scale, 1)
	switch r.Scaling {
	case model.RopeLinear:
		return map[string]any{"rope_type": "linear", "factor": r.Factor}
	case model.RopeLlama3:
		return map[string]any{
			"rope_type": "llama3", "factor": r.Factor, "low_freq_factor": r.LowFreq, "high_freq_factor": r.HighFreq,
			"original_max_position_embeddings": r.Original,
		}
	case model.RopeYarn:
		return map[string]any{
			"rope_type": "yarn", "factor": r.Factor, "beta_slow": r.LowFreq, "beta_fast": r.HighFreq,
			"original_max_position_embeddings": r.Original, "attention_factor": scale, "truncate": !r.Fractional,
		}
	case model.RopeFactors: // of one kind of texts: see longRope in convert/arch
		return map[string]any{
			"rope_type": "longrope", "short_factor": r.Factors, "long_factor": r.Factors, "attention_factor": scale,
			"factor": 1.0, "original_max_position_embeddings": c.want.Context,
		}
	}
	return nil
}

// decoder copies the features of Llama and its relatives.
func (c *card) decoder() {
	c.set("rms_norm_eps", c.want.NormEps)
	if name, ok := activations[c.want.Activation]; ok {
		c.set("hidden_act", name)
		c.got.Activation = c.want.Activation
	}
	c.rotary()
}

// attentionBias copies the biases of all layers of attention.
func (c *card) attentionBias() {
	both := c.want.Bias.QKV && c.want.Bias.O
	c.got.Bias.QKV, c.got.Bias.O = both, both
	c.set("attention_bias", both)
}

func putLlama(c *card) {
	c.decoder()
	c.attentionBias()
	c.got.Bias.FFN = c.want.Bias.FFN
	c.set("mlp_bias", c.want.Bias.FFN)
}

// windows returns the window of the blocks that have one, and which those are. If they differ,
// ok is false.
func (c *card) windows() (window int, local []bool, ok bool) {
	local = make([]bool, c.want.Blocks)
	for b := range local {
		w := c.want.AttentionOf(b).Window
		if w == 0 {
			continue
		}
		if window != 0 && w != window {
			return 0, nil, false
		}
		window, local[b] = w, true
	}
	return window, local, true
}

// attend gives each block of c.got an Attention.
func (c *card) attend(of func(block int) model.Attention) {
	c.got.Attention = make([]model.Attention, c.want.Blocks)
	for b := range c.got.Attention {
		c.got.Attention[b] = of(b)
	}
}

// attendLocally gives the local blocks of c.got that window, and sets layer_types.
func (c *card) attendLocally(window int, local []bool) {
	c.layerTypes(local)
	c.attend(func(b int) model.Attention { return model.Attention{Window: window * boolInt(local[b])} })
}

// layerTypes sets layer_types by which blocks have a window.
func (c *card) layerTypes(local []bool) {
	types := make([]string, len(local))
	for b, yes := range local {
		if types[b] = "full_attention"; yes {
			types[b] = "sliding_attention"
		}
	}
	c.set("layer_types", types)
}

func putMistral(c *card) {
	c.decoder()
	c.set("sliding_window", nil)
	if window, local, ok := c.windows(); ok && window > 0 && !slices.Contains(local, false) {
		c.set("sliding_window", window)
		c.attend(func(int) model.Attention { return model.Attention{Window: window} })
	}
}

// someWindows copies windows of some blocks, under a switch.
func (c *card) someWindows() {
	c.set("use_sliding_window", false)
	c.set("sliding_window", nil)
	if window, local, ok := c.windows(); ok && window > 0 {
		c.set("use_sliding_window", true)
		c.set("sliding_window", window)
		c.attendLocally(window, local)
	}
}

func putQwen2(c *card) {
	c.decoder()
	c.got.Bias.QKV = true
	c.someWindows()
}

func putQwen3(c *card) {
	c.decoder()
	c.attentionBias()
	c.got.QKNorm = model.QKGain
	c.someWindows()
}

func putSmolLM3(c *card) {
	putLlama(c)
	c.someWindows()
	rotates := make([]int, c.want.Blocks)
	for b := range rotates {
		rotates[b] = boolInt(c.want.RopeOf(b) != nil)
	}
	c.set("no_rope_layers", rotates)
	windows := c.got
	c.attend(func(b int) model.Attention {
		a := windows.AttentionOf(b)
		if rotates[b] == 0 {
			a.Rope = model.NoRope
		}
		return a
	})
}

func putGranite(c *card) {
	putLlama(c)
	s, g := &c.want, &c.got
	g.EmbedScale, g.ResidScale, g.LogitScale, g.AttnScale = s.EmbedScale, s.ResidScale, s.LogitScale, s.ScoreScale()
	c.set("embedding_multiplier", cmp.Or(s.EmbedScale, 1))
	c.set("residual_multiplier", cmp.Or(s.ResidScale, 1))
	c.set("attention_multiplier", s.ScoreScale())
	c.set("logits_scaling", 1/cmp.Or(s.LogitScale, 1))
}

func putOLMo2(c *card) {
	c.decoder()
	c.attentionBias()
	c.got.PostNorm, c.got.NoPreNorm, c.got.QKNorm = true, true, model.QKWide
}

// gemma copies what all types of Gemma have.
func (c *card) gemma() {
	c.set("rms_norm_eps", c.want.NormEps)
	c.set("hidden_activation", activations[c.want.Activation])
	c.set("hidden_act", activations[c.want.Activation])
	c.got.Activation, c.got.Norm = c.want.Activation, model.NormRMS1
	c.got.EmbedScale = math.Sqrt(float64(c.want.Hidden))
	c.attentionBias()
}

func putGemma(c *card) {
	c.gemma()
	c.rotary()
}

// queries copies the scale of the scores and the caps.
func (c *card) queries() {
	s, g := &c.want, &c.got
	scale := s.ScoreScale()
	g.AttnScale, g.AttnCap, g.LogitCap = scale, s.AttnCap, s.LogitCap
	root := 1 / (scale * scale)
	if near := math.Round(root); math.Abs(root-near) < 1e-6*near {
		root = near
	}
	c.set("query_pre_attn_scalar", root)
	c.set("attn_logit_softcapping", orNil(s.AttnCap))
	c.set("final_logit_softcapping", orNil(s.LogitCap))
}

func orNil(x float64) any {
	if x == 0 {
		return nil
	}
	return x
}

func putGemma2(c *card) {
	c.gemma()
	c.rotary()
	c.queries()
	c.got.PostNorm = true
	if window, local, ok := c.windows(); ok {
		c.set("sliding_window", max(window, 1))
		c.attendLocally(window, local)
	}
}

func putGemma3(c *card) {
	c.gemma()
	c.rotary()
	c.queries()
	c.got.PostNorm, c.got.QKNorm = true, model.QKGain
	local := make([]bool, c.want.Blocks)
	window, windowed, ok := c.windows()
	for b := range local {
		local[b] = c.want.AttentionOf(b).Rope == 1
		ok = ok && (window == 0 || windowed[b] == local[b])
	}
	if len(c.want.Ropes) != 1 || !ok || c.want.Ropes[0].Scaling != model.RopePlain {
		return
	}
	c.got.Ropes = []model.Rope{wholeRope(&c.want.Ropes[0])}
	c.set("rope_local_base_freq", c.want.Ropes[0].Base)
	c.set("sliding_window", max(window, 1))
	if window == 0 {
		c.set("sliding_window", c.want.Context)
	}
	c.layerTypes(local)
	c.attend(func(b int) model.Attention {
		return model.Attention{Window: window * boolInt(local[b]), Rope: boolInt(local[b])}
	})
}

func putPhi(c *card) {
	s, g := &c.want, &c.got
	c.rotary()
	g.Rope.Dims = s.Rope.Dims
	dims := cmp.Or(s.Rope.Dims, s.HeadDim)
	c.set("partial_rotary_factor", float64(dims)/float64(s.HeadDim))
	c.set("layer_norm_eps", s.NormEps)
	c.set("hidden_act", activations[s.Activation])
	if s.Activation == model.GELUTanh {
		c.set("hidden_act", "gelu_new") // the name in its published configs
	}
	c.set("qk_layernorm", false)
	g.Activation, g.Norm, g.Parallel, g.Ungated = s.Activation, model.NormLayer, true, true
	g.Bias = model.Bias{QKV: true, O: true, FFN: true, Head: true}
	if s.HeadDim*s.Heads != s.Hidden { // a key that Phi does not have
		g.HeadDim = s.Hidden / s.Heads
	}
}
