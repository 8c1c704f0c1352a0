package hf

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"thimble/format/export"
	"thimble/internal/model"
	"thimble/internal/qtensor"
	"thimble/internal/safetensors"
)

// compressed stores integers in the form pack-quantized of compressed-tensors, which
// transformers and vLLM read: rows of codes as streams in 32-bit words, a scale for each group,
// and the shape. Codes count from 2^(bits-1), as Thimble's do.
// https://github.com/vllm-project/compressed-tensors, compressors/pack_quantized
var compressed = form{
	format: export.Format{
		Name: "compressed-tensors", Program: "vllm", Files: files, Sharded: true,
		Fast: "vLLM has kernels for this width", Slow: "vLLM has no kernels for this type",
	},
	nearest:  nearestCompressed,
	entries:  compressedEntries,
	write:    writeCompressed,
	describe: describeCompressed,
	pt:       "pt",
}

// nearestCompressed returns a symmetric scheme of 4 or 8 bits, the widths that vLLM computes, in
// the groups of groupNear or whole rows. Only linear layers are integers: neither program reads
// an embedding of integers, and vLLM no such head.
func nearestCompressed(s qtensor.Scheme, cols int, role model.Role) qtensor.Scheme {
	if role != model.Linear || cols%8 != 0 {
		return qtensor.Scheme{Kind: qtensor.F16}
	}
	near := qtensor.Scheme{Kind: qtensor.Int, Bits: 4}
	if s.Bits > 4 {
		near.Bits = 8
	}
	if s.Group != 0 {
		near.Group = groupNear(s.Group, cols)
	}
	return near
}

func compressedEntries(module string, t *export.Tensor) []safetensors.Tensor {
	width, groups := words(t.Cols, t.To.Bits), t.To.Groups(t.Cols)
	return []safetensors.Tensor{
		{Name: module + ".weight_packed", DType: "I32", Shape: []int{t.Rows, width}, Bytes: 4 * int64(t.Rows) * int64(width)},
		{Name: module + ".weight_scale", DType: "F16", Shape: []int{t.Rows, groups}, Bytes: 2 * int64(t.Rows) * int64(groups)},
		{Name: module + ".weight_shape", DType: "I64", Shape: []int{2}, Bytes: 16},
	}
}

func writeCompressed(w io.Writer, x *qtensor.Matrix) error {
	scales, err := writeCodes(w, x, func(_, _ uint16) error { return nil })
	if err != nil {
		return err
	}
	_, err = w.Write(le.AppendUint64(le.AppendUint64(scales, uint64(x.Rows)), uint64(x.Cols)))
	return err
}

// describeCompressed sets quantization_config: a group of modules for each scheme.
func describeCompressed(keys map[string]any, placed []tensor) (notes []string) {
	integers := quantized(placed)
	if len(integers) == 0 {
		return nil
	}
	var schemes []qtensor.Scheme
	targets := map[qtensor.Scheme][]string{}
	for _, t := range integers {
		if targets[t.To] == nil {
			schemes = append(schemes, t.To)
		}
		targets[t.To] = append(targets[t.To], t.module)
	}
	if len(schemes) == 1 {
		targets[schemes[0]] = []string{"Linear"}
	} else if fused := mixed(integers); fused != "" {
		notes = append(notes, fmt.Sprintf("%s: transformers reads these schemes; vLLM computes q, k and v together, and gate and up, and refuses different ones", fused))
	}
	ignore := []string{}
	for _, t := range placed {
		if t.To.Float() && t.Rows > 1 && !strings.HasSuffix(t.module, "embed_tokens") {
			ignore = append(ignore, t.module)
		}
	}
	if keys["tie_word_embeddings"] == true {
		ignore = append(ignore, "lm_head")
	}
	groups := map[string]any{}
	for i, s := range schemes {
		strategy, size := "group", any(s.Group)
		if s.Group == 0 {
			strategy, size = "channel", nil
		}
		groups[fmt.Sprintf("group_%d", i)] = map[string]any{
			"targets": targets[s], "format": "pack-quantized", "input_activations": nil, "output_activations": nil,
			"weights": map[string]any{
				"num_bits": s.Bits, "type": "int", "symmetric": true, "strategy": strategy, "group_size": size, "dynamic": false,
				"actorder": nil, "block_structure": nil, "observer": "minmax", "observer_kwargs": map[string]any{},
			},
		}
	}
	keys["quantization_config"] = map[string]any{
		"quant_method": "compressed-tensors", "format": "pack-quantized", "quantization_status": "compressed",
		"config_groups": groups, "ignore": ignore, "kv_cache_scheme": nil, "global_compression_ratio": nil,
	}
	return notes
}

// together lists the kinds of layers that vLLM computes as one.
var together = [][]string{{model.Q, model.K, model.V}, {model.Gate, model.Up}}

// mixed returns the first layers that vLLM computes as one and that have different schemes, or
// "".
func mixed(integers []tensor) string {
	first := map[string]*tensor{}
	for i := range integers {
		t := &integers[i]
		block, kind, ok := model.SplitName(t.Source)
		if !ok {
			continue
		}
		for _, kinds := range together {
			if !slices.Contains(kinds, kind) {
				continue
			}
			key := model.Name(block, kinds[0])
			if f := first[key]; f == nil {
				first[key] = t
			} else if f.To != t.To {
				return fmt.Sprintf("%s is %v and %s is %v", f.Source, f.To, t.Source, t.To)
			}
		}
	}
	return ""
}
