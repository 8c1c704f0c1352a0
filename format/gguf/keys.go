package gguf

import (
	"encoding/binary"
	"fmt"
	"math"

	"thimble/internal/defect"
)

// metadata is every key that is known. A nil pointer or slice and an
// empty string mean that the key is absent.
type metadata struct {
	architecture, kind  string
	fileType, quantized *uint32
	alignment           *uint32

	blocks, context, hidden, ffn, heads, kvHeads *uint32
	keyLength, valueLength, ropeDims, vocab      *uint32
	ropeBase, ropeFactor, eps, layerEps          *float32
	ropeScaling                                  string

	// Blocks with a window and a rope of their own, by a number or one by one.
	window, windowEvery *uint32
	windowPattern       []bool
	nearBase            *float32
	// Experts.
	experts, expertsUsed, expertEvery, expertFFN *uint32

	tokenizer, pre, chatTemplate string
	tokens, merges               []string
	tokenTypes                   []int32
	scores                       []float32
	removeSpaces                 *bool
	bos, eos, unk, pad, eot, eom *uint32
	addBOS, addEOS, addSpace     *bool

	// What GGUF has no key for.
	madeBy, origin, recipe          string
	overrides, sources, sourceSums  []string
	sourceBytes                     []uint64
	specBOS                         *int32
	specEOS                         []int32
	llama3Factor, llama3Low         *float32
	llama3High                      *float32
	llama3Original, tokenizerTokens *uint32
	steps                           []string // of the tokenizer, where add_space_prefix does not say them
	nfc                             *bool    // the tokenizer composes characters first
	ropePairs                       *bool    // neighbours turn, where others read halves
}

// A key is one line of the table: a name and where its value is kept.
type key struct {
	name  string
	value any // *string, **uint32, **int32, **float32, **bool, *[]string, *[]int32, *[]uint64, *[]float32 or *[]bool
}

// keys is the one table of names, in the order in which they are written. A name
// that is there twice has two types.
func (m *metadata) keys() []key {
	of := m.architecture + "."
	return []key{
		{"general.architecture", &m.architecture},
		{"general.type", &m.kind},
		{"general.file_type", &m.fileType},
		{"general.quantization_version", &m.quantized},
		{"general.alignment", &m.alignment},
		{of + "block_count", &m.blocks},
		{of + "context_length", &m.context},
		{of + "embedding_length", &m.hidden},
		{of + "feed_forward_length", &m.ffn},
		{of + "attention.head_count", &m.heads},
		{of + "attention.head_count_kv", &m.kvHeads},
		{of + "attention.key_length", &m.keyLength},
		{of + "attention.value_length", &m.valueLength},
		{of + "attention.layer_norm_rms_epsilon", &m.eps},
		{of + "attention.layer_norm_epsilon", &m.layerEps},
		{of + "attention.sliding_window", &m.window},
		{of + "attention.sliding_window_pattern", &m.windowEvery},
		{of + "attention.sliding_window_pattern", &m.windowPattern},
		{of + "expert_count", &m.experts},
		{of + "expert_used_count", &m.expertsUsed},
		{of + "expert_feed_forward_length", &m.expertFFN},
		{of + "interleave_moe_layer_step", &m.expertEvery},
		{of + "vocab_size", &m.vocab},
		{of + "rope.dimension_count", &m.ropeDims},
		{of + "rope.freq_base", &m.ropeBase},
		{of + "rope.freq_base_swa", &m.nearBase},
		{of + "rope.scaling.type", &m.ropeScaling},
		{of + "rope.scaling.factor", &m.ropeFactor},
		{"tokenizer.ggml.model", &m.tokenizer},
		{"tokenizer.ggml.pre", &m.pre},
		{"tokenizer.ggml.tokens", &m.tokens},
		{"tokenizer.ggml.token_type", &m.tokenTypes},
		{"tokenizer.ggml.scores", &m.scores},
		{"tokenizer.ggml.merges", &m.merges},
		{"tokenizer.ggml.bos_token_id", &m.bos},
		{"tokenizer.ggml.eos_token_id", &m.eos},
		{"tokenizer.ggml.eot_token_id", &m.eot},
		{"tokenizer.ggml.eom_token_id", &m.eom},
		{"tokenizer.ggml.unknown_token_id", &m.unk},
		{"tokenizer.ggml.padding_token_id", &m.pad},
		{"tokenizer.ggml.add_bos_token", &m.addBOS},
		{"tokenizer.ggml.add_eos_token", &m.addEOS},
		{"tokenizer.ggml.add_space_prefix", &m.addSpace},
		{"tokenizer.ggml.remove_extra_whitespaces", &m.removeSpaces},
		{"tokenizer.chat_template", &m.chatTemplate},
		{"thimble.tool", &m.madeBy},
		{"thimble.architecture", &m.origin},
		{"thimble.recipe", &m.recipe},
		{"thimble.overrides", &m.overrides},
		{"thimble.source.names", &m.sources},
		{"thimble.source.bytes", &m.sourceBytes},
		{"thimble.source.sha256", &m.sourceSums},
		{"thimble.bos_token_id", &m.specBOS},
		{"thimble.eos_token_ids", &m.specEOS},
		{"thimble.tokenizer.tokens", &m.tokenizerTokens},
		{"thimble.tokenizer.nfc", &m.nfc},
		{"thimble.tokenizer.steps", &m.steps},
		{"thimble.rope.pairs", &m.ropePairs},
		{"thimble.rope.llama3.factor", &m.llama3Factor},
		{"thimble.rope.llama3.low_freq_factor", &m.llama3Low},
		{"thimble.rope.llama3.high_freq_factor", &m.llama3High},
		{"thimble.rope.llama3.original_context_length", &m.llama3Original},
	}
}

// nameOf returns the name of the key that is kept at value.
func (m *metadata) nameOf(value any) string {
	for _, k := range m.keys() {
		if k.value == value {
			return k.name
		}
	}
	panic("gguf: no key for a value") // a slip in the table above
}

// encode returns the keys that are present, as stored, and their number.
func (m *metadata) encode() (b []byte, n uint64) {
	for _, k := range m.keys() {
		v := encodeValue(k.value)
		if v != nil {
			b = append(appendString(b, k.name), v...)
			n++
		}
	}
	return b, n
}

func appendString(b []byte, s string) []byte {
	return append(binary.LittleEndian.AppendUint64(b, uint64(len(s))), s...)
}

// encodeValue returns a value with its type before it, nil if it is absent.
func encodeValue(v any) []byte {
	le := binary.LittleEndian
	scalar := func(kind uint32) []byte { return le.AppendUint32(nil, kind) }
	array := func(kind uint32, n int) []byte {
		return le.AppendUint64(le.AppendUint32(le.AppendUint32(nil, kindArray), kind), uint64(n))
	}
	switch v := v.(type) {
	case *string:
		if *v != "" {
			return appendString(scalar(kindString), *v)
		}
	case **uint32:
		if *v != nil {
			return le.AppendUint32(scalar(kindU32), **v)
		}
	case **int32:
		if *v != nil {
			return le.AppendUint32(scalar(kindI32), uint32(**v))
		}
	case **float32:
		if *v != nil {
			return le.AppendUint32(scalar(kindF32), math.Float32bits(**v))
		}
	case **bool:
		switch {
		case *v == nil:
		case **v:
			return append(scalar(kindBool), 1)
		default:
			return append(scalar(kindBool), 0)
		}
	case *[]string:
		if *v == nil {
			return nil
		}
		b := array(kindString, len(*v))
		for _, s := range *v {
			b = appendString(b, s)
		}
		return b
	case *[]int32:
		if *v == nil {
			return nil
		}
		b := array(kindI32, len(*v))
		for _, x := range *v {
			b = le.AppendUint32(b, uint32(x))
		}
		return b
	case *[]uint64:
		if *v == nil {
			return nil
		}
		b := array(kindU64, len(*v))
		for _, x := range *v {
			b = le.AppendUint64(b, x)
		}
		return b
	case *[]float32:
		if *v == nil {
			return nil
		}
		b := array(kindF32, len(*v))
		for _, x := range *v {
			b = le.AppendUint32(b, math.Float32bits(x))
		}
		return b
	case *[]bool:
		if *v == nil {
			return nil
		}
		b := array(kindBool, len(*v))
		for _, x := range *v {
			if x {
				b = append(b, 1)
			} else {
				b = append(b, 0)
			}
		}
		return b
	default:
		panic(fmt.Sprintf("gguf: no encoding for %T", v)) // a slip in the table above
	}
	return nil
}

// checkStrings refuses what would not be read back.
func (m *metadata) checkStrings(path string) error {
	for _, k := range m.keys() {
		switch v := k.value.(type) {
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
