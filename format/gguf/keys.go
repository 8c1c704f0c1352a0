package gguf

import (
	"strings"

	"thimble/format/gguf/kv"
	"thimble/internal/defect"
)

// metadata holds the value of every known key. A nil pointer or slice, or an
// empty string, is an absent key.
type metadata struct {
	architecture, kind  string
	name                string // of the model, for people and for stripsRight
	fileType, quantized *uint32
	alignment           *uint32

	blocks, context, hidden, ffn, heads, kvHeads          *uint32
	nextBlocks                                            *uint32 // the last of the blocks, which predict further tokens
	keyLength, valueLength, ropeDims, vocab, ropeOriginal *uint32
	ropeBase, ropeFactor, eps, layerEps                   *float32
	ropeScaling                                           string
	ropeAttn, betaFast, betaSlow, yarnLog                 *float32
	freqs                                                 []float64 // values of the tensor rope_freqs; not a key

	embedScale, residScale, attnScale, logitScale *float32
	attnCap, logitCap, attnTemperature            *float32

	// The blocks with a window and their own rotary embedding: all except every
	// windowPeriod-th, or those of windowPattern.
	window, windowPeriod *uint32
	windowPattern        []bool
	localBase            *float32
	// Experts.
	experts, expertsUsed, expertPeriod, expertFFN     *uint32
	sharedFFN, sharedCount, denseBlocks, expertGating *uint32
	expertScale                                       *float32
	expertNorm                                        *bool

	parallel   *bool    // attention and the feed-forward layer read the same stream
	alibi      *float32 // see Spec.Alibi
	convLength *uint32  // see Attention.Conv
	kvOfBlocks []int32  // key heads of each block, 0 in those without attention
	rotates    *bool    // by architectures with state spaces: queries and keys are rotated

	// Blocks of different sizes: heads of blocks with a window, widths inside feed-forward
	// layers, the last blocks without keys of their own; see LayerInput for layerWidth.
	localKeyLength, localValueLength, localRopeDims *uint32
	ffnOfBlocks                                     []int32
	sharedKV, layerWidth                            *uint32

	// Streams, see model.AltUp, and the cutoffs of the gates of each block, in deviations.
	altUpStreams, altUpActive *uint32
	sparsity                  []float32

	// The delta rule, see model.Delta, and the blocks that have it; see mapSections. The sizes are
	// those of state spaces in architectures that have them.
	deltaConv, deltaInner, deltaState, deltaHeads, deltaGroups *uint32
	deltaBlocks                                                []bool
	deltaPeriod                                                *uint32
	ropeSections                                               []int32

	xieluAbove, xieluBelow, xieluLinear, xieluLast []float32 // of each block, see model.XIELUKinds

	facts    []string // for people, "general.name=text"; the reader ignores them
	replaced []string // ids of tokens that the vocabulary lacks

	topK, penaltyLast                *int32
	topP, minP, temperature, penalty *float32

	tokenizer, pre                         string
	chatTemplate, toolTemplate             string
	tokens, merges, templates              []string // templates: the names of those beside chatTemplate
	tokenTypes                             []int32
	scores                                 []float32
	wholeScores                            []int32 // in place of scores
	bos, eos, unk, pad, eot, eom           *uint32
	eog                                    []int32 // more tokens that end a text
	eogUnsigned                            []uint32
	addBOS, addEOS, addSpace, removeSpaces *bool

	// Thimble's keys, for values that GGUF has no key for.
	madeBy, origin, recipe          string
	overrides, sources, sourceSums  []string
	sourceBytes                     []uint64
	specBOS                         *int32
	specEOS, channels               []int32
	llama3Factor, llama3Low         *float32
	llama3High                      *float32
	llama3Original, tokenizerTokens *uint32
	steps                           []string // of the tokenizer, if add_space_prefix does not determine them
	nfc                             *bool    // the tokenizer composes characters first
	ignoreMerges                    *bool    // of the tokenizer, if it is not that of tokenizer.ggml.pre
	cut                             *bool    // user-defined tokens are cut out of the raw text
	ropePairs                       *bool    // the model itself rotates pairs: Thimble's reader does not reorder rows
}

// A key is a line of the table: a name and a pointer to its field of metadata.
type key struct {
	name  string
	place any // one of the types in encodings
}

// keys returns the table of keys, in the order in which they are written. A name that
// occurs twice may have either of two types.
func (m *metadata) keys() []key {
	of := m.architecture + "."
	return []key{
		{"general.architecture", &m.architecture},
		{"general.name", &m.name},
		{"general.type", &m.kind},
		{"general.file_type", &m.fileType},
		{"general.quantization_version", &m.quantized},
		{"general.alignment", &m.alignment},
		{"general.sampling.top_k", &m.topK},
		{"general.sampling.top_p", &m.topP},
		{"general.sampling.min_p", &m.minP},
		{"general.sampling.temp", &m.temperature},
		{"general.sampling.penalty_last_n", &m.penaltyLast},
		{"general.sampling.penalty_repeat", &m.penalty},
		{of + "block_count", &m.blocks},
		{of + "nextn_predict_layers", &m.nextBlocks},
		{of + "context_length", &m.context},
		{of + "embedding_length", &m.hidden},
		{of + "feed_forward_length", &m.ffn},
		{of + "feed_forward_length", &m.ffnOfBlocks},
		{of + "embedding_length_per_layer_input", &m.layerWidth},
		{of + "altup.num_inputs", &m.altUpStreams},
		{of + "altup.active_idx", &m.altUpActive},
		{of + "activation_sparsity_scale", &m.sparsity},
		{of + "attention.head_count", &m.heads},
		{of + "attention.head_count_kv", &m.kvHeads},
		{of + "attention.head_count_kv", &m.kvOfBlocks},
		{of + "attention.key_length", &m.keyLength},
		{of + "attention.value_length", &m.valueLength},
		{of + "attention.key_length_swa", &m.localKeyLength},
		{of + "attention.value_length_swa", &m.localValueLength},
		{of + "attention.shared_kv_layers", &m.sharedKV},
		{of + "attention.layer_norm_rms_epsilon", &m.eps},
		{of + "attention.layer_norm_epsilon", &m.layerEps},
		{of + "attention.sliding_window", &m.window},
		{of + "attention.sliding_window_pattern", &m.windowPeriod},
		{of + "attention.sliding_window_pattern", &m.windowPattern},
		{of + "expert_count", &m.experts},
		{of + "expert_used_count", &m.expertsUsed},
		{of + "expert_feed_forward_length", &m.expertFFN},
		{of + "interleave_moe_layer_step", &m.expertPeriod},
		{of + "expert_shared_feed_forward_length", &m.sharedFFN},
		{of + "expert_shared_count", &m.sharedCount},
		{of + "expert_weights_scale", &m.expertScale},
		{of + "expert_weights_norm", &m.expertNorm},
		{of + "expert_gating_func", &m.expertGating},
		{of + "leading_dense_block_count", &m.denseBlocks},
		{of + "use_parallel_residual", &m.parallel},
		{of + "attention.max_alibi_bias", &m.alibi},
		{of + "shortconv.l_cache", &m.convLength},
		{of + "ssm.conv_kernel", &m.deltaConv},
		{of + "ssm.inner_size", &m.deltaInner},
		{of + "ssm.state_size", &m.deltaState},
		{of + "ssm.time_step_rank", &m.deltaHeads},
		{of + "ssm.group_count", &m.deltaGroups},
		{of + "attention.recurrent_layers", &m.deltaBlocks},
		{of + "full_attention_interval", &m.deltaPeriod},
		{"xielu.alpha_p", &m.xieluAbove},
		{"xielu.alpha_n", &m.xieluBelow},
		{"xielu.beta", &m.xieluLinear},
		{"xielu.eps", &m.xieluLast},
		{of + "vocab_size", &m.vocab},
		{of + "rope.dimension_count", &m.ropeDims},
		{of + "rope.dimension_count_swa", &m.localRopeDims},
		{of + "rope.dimension_sections", &m.ropeSections},
		{of + "rope.freq_base", &m.ropeBase},
		{of + "rope.freq_base_swa", &m.localBase},
		{of + "rope.scaling.type", &m.ropeScaling},
		{of + "rope.scaling.factor", &m.ropeFactor},
		{of + "rope.scaling.finetuned", &m.rotates},
		{of + "rope.scaling.original_context_length", &m.ropeOriginal},
		{of + "rope.scaling.attn_factor", &m.ropeAttn},
		{of + "rope.scaling.yarn_beta_fast", &m.betaFast},
		{of + "rope.scaling.yarn_beta_slow", &m.betaSlow},
		{of + "rope.scaling.yarn_log_multiplier", &m.yarnLog},
		{of + "embedding_scale", &m.embedScale},
		{of + "residual_scale", &m.residScale},
		{of + "attention.scale", &m.attnScale},
		{of + "logit_scale", &m.logitScale},
		{of + "attn_logit_softcapping", &m.attnCap},
		{of + "final_logit_softcapping", &m.logitCap},
		{of + "attention.temperature_scale", &m.attnTemperature},
		{"tokenizer.ggml.model", &m.tokenizer},
		{"tokenizer.ggml.pre", &m.pre},
		{"tokenizer.ggml.tokens", &m.tokens},
		{"tokenizer.ggml.token_type", &m.tokenTypes},
		{"tokenizer.ggml.scores", &m.scores},
		{"tokenizer.ggml.scores", &m.wholeScores},
		{"tokenizer.ggml.merges", &m.merges},
		{"tokenizer.ggml.bos_token_id", &m.bos},
		{"tokenizer.ggml.eos_token_id", &m.eos},
		{"tokenizer.ggml.eot_token_id", &m.eot},
		{"tokenizer.ggml.eom_token_id", &m.eom},
		{"tokenizer.ggml.eog_token_ids", &m.eog},
		{"tokenizer.ggml.eog_token_ids", &m.eogUnsigned},
		{"tokenizer.ggml.unknown_token_id", &m.unk},
		{"tokenizer.ggml.padding_token_id", &m.pad},
		{"tokenizer.ggml.add_bos_token", &m.addBOS},
		{"tokenizer.ggml.add_eos_token", &m.addEOS},
		{"tokenizer.ggml.add_space_prefix", &m.addSpace},
		{"tokenizer.ggml.remove_extra_whitespaces", &m.removeSpaces},
		{"tokenizer.chat_templates", &m.templates},
		{"tokenizer.chat_template.tool_use", &m.toolTemplate},
		{"tokenizer.chat_template", &m.chatTemplate},
		{"thimble.tool", &m.madeBy},
		{"thimble.architecture", &m.origin},
		{"thimble.recipe", &m.recipe},
		{"thimble.overrides", &m.overrides},
		{"thimble.channels", &m.channels},
		{"thimble.source.names", &m.sources},
		{"thimble.source.bytes", &m.sourceBytes},
		{"thimble.source.sha256", &m.sourceSums},
		{"thimble.bos_token_id", &m.specBOS},
		{"thimble.eos_token_ids", &m.specEOS},
		{"thimble.tokenizer.tokens", &m.tokenizerTokens},
		{"thimble.tokenizer.nfc", &m.nfc},
		{"thimble.tokenizer.ignore_merges", &m.ignoreMerges},
		{"thimble.tokenizer.cut", &m.cut},
		{"thimble.tokenizer.steps", &m.steps},
		{"thimble.rope.pairs", &m.ropePairs},
		{"thimble.rope.llama3.factor", &m.llama3Factor},
		{"thimble.rope.llama3.low_freq_factor", &m.llama3Low},
		{"thimble.rope.llama3.high_freq_factor", &m.llama3High},
		{"thimble.rope.llama3.original_context_length", &m.llama3Original},
	}
}

// nameOf returns the name of the key whose value is at a place in m.
func (m *metadata) nameOf(place any) string {
	for _, k := range m.keys() {
		if k.place == place {
			return k.name
		}
	}
	panic("gguf: no key for a place") // the table above is wrong
}

// encode returns the encoded keys that are present, and their number.
func (m *metadata) encode() (b []byte, n uint64) {
	for _, k := range m.keys() {
		v := kv.Encode(k.place)
		if v != nil {
			b = append(kv.AppendString(b, k.name), v...)
			n++
		}
	}
	for _, fact := range m.facts {
		name, value, _ := strings.Cut(fact, "=")
		b = append(kv.AppendString(b, name), kv.Encode(&value)...)
		n++
	}
	return b, n
}

// checkStrings returns an error for a string or list that the reader would refuse.
func (m *metadata) checkStrings(path string) error {
	for _, k := range m.keys() {
		switch v := k.place.(type) {
		case *string:
			if len(*v) > maxString {
				return defect.Unsupported(path, "gguf key %s of %d bytes", k.name, len(*v))
			}
		case *[]string:
			if len(*v) > maxItems {
				return defect.Unsupported(path, "gguf key %s of %d strings", k.name, len(*v))
			}
		}
	}
	return nil
}
