package convert

import (
	"fmt"
	"maps"
	"slices"

	"thimble/internal/checkpoint"
	"thimble/internal/defect"
	"thimble/internal/model"
	"thimble/internal/parallel"
	"thimble/internal/qtensor"
)

// A scaling describes how a checkpoint stores the scales of 8-bit floats.
type scaling struct {
	suffix     string // appended to the weight's name for the scale's name
	rows, cols int    // of a block that shares a scale; 0 means all
}

// quantization reads quantization_config in the published forms for 8-bit floats. It
// ignores their settings for rounding activations.
func quantization(c *config) *scaling {
	q := c.Object("quantization_config")
	if q == nil {
		return nil
	}
	q.Inert("modules_to_not_convert", "ignore", "dequantize") // each tensor has its own type
	switch method := q.String("quant_method"); method {
	case "fp8": // DeepSeek-V3, Qwen3; arXiv 2412.19437, section 3.3
		q.Must("fmt", "e4m3")
		q.Inert("activation_scheme", "scale_fmt")
		block := q.counts("weight_block_size", "a list of two sizes")
		if len(block) != 2 || block[0] < 1 || block[1] < 1 {
			q.Unsupported("weight_block_size", "%s (want two sizes)", show(q.values["weight_block_size"]))
			return nil
		}
		return &scaling{"_scale_inv", block[0], block[1]}
	case "fbgemm_fp8":
		q.Inert("activation_scale_ub")
		return &scaling{"_scale", 1, 0}
	case "compressed-tensors":
		return compressed(q)
	default:
		q.UnsupportedObject("quant_method", "%s (want fp8, fbgemm_fp8 or compressed-tensors of 8-bit floats)", show(method))
	}
	return nil
}

// compressed reads the config that vLLM's llm-compressor writes.
// https://github.com/vllm-project/compressed-tensors
func compressed(q *config) *scaling {
	format := q.String("format")
	if format != "float-quantized" && format != "naive-quantized" {
		q.UnsupportedObject("format", "%s (want float-quantized or naive-quantized)", show(format))
		return nil
	}
	q.Inert("quantization_status", "global_compression_ratio", "kv_cache_scheme", "version")
	if sparsity := q.Object("sparsity_config"); sparsity != nil && len(sparsity.values) > 0 {
		sparsity.Must("format", "dense")
		sparsity.Inert("global_sparsity", "ignore", "registry_requires_subclass", "sparsity_structure", "targets")
	}
	q.Absent("transform_config")
	groups := q.Object("config_groups")
	if groups == nil {
		q.missing("config_groups")
		return nil
	}
	var s *scaling
	for _, name := range slices.Sorted(maps.Keys(groups.values)) {
		group := groups.Object(name)
		if group == nil {
			continue
		}
		group.Inert("format", "input_activations", "output_activations", "targets")
		weights := group.Object("weights")
		if weights == nil {
			group.missing("weights")
			return nil
		}
		one := compressedWeights(weights)
		if s != nil && one != nil && *s != *one {
			groups.Unsupported(name, "a strategy that differs from that of the previous group")
		}
		s = one
	}
	return s
}

func compressedWeights(w *config) *scaling {
	w.Must("num_bits", 8.0)
	w.Must("type", "float")
	w.Must("symmetric", true)
	w.Must("dynamic", false)
	w.Absent("group_size", "actorder")
	w.Inert("observer", "observer_kwargs", "scale_dtype", "zp_dtype")
	switch strategy := w.String("strategy"); strategy {
	case "tensor":
		w.Absent("block_structure")
		return &scaling{"_scale", 0, 0}
	case "channel":
		w.Absent("block_structure")
		return &scaling{"_scale", 1, 0}
	case "block":
		if block := w.counts("block_structure", "a list of two sizes"); len(block) == 2 && block[0] > 0 && block[1] > 0 {
			return &scaling{"_scale", block[0], block[1]}
		}
		w.Unsupported("block_structure", "%s (want two sizes)", show(w.values["block_structure"]))
	default:
		w.Unsupported("strategy", "%s (want tensor, channel or block)", show(strategy))
	}
	return nil
}

// read returns the scale of w, a tensor with the shape of slot, from the tensor t.
func (s *scaling) read(w, t *checkpoint.Tensor, slot model.Slot) (*scale, error) {
	rows, cols := s.rows, s.cols
	if rows == 0 {
		rows = slot.Rows
	}
	if cols == 0 {
		cols = slot.Cols
	}
	down, across := (slot.Rows+rows-1)/rows, (slot.Cols+cols-1)/cols
	fits := slices.Equal(t.Shape, []int{down, across}) || across == 1 && slices.Equal(t.Shape, []int{down}) || down*across == 1 && len(t.Shape) == 0
	kind, ok := kinds[t.DType]
	if !fits || !ok {
		return nil, defect.Corrupt(t.File, t.Name, "is %s %v, %s requires floats (%d, %d)", t.DType, t.Shape, w.Name, down, across)
	}
	if t.Source != nil { // the size of its data does not bound the allocation below
		return nil, defect.Corrupt(t.File, t.Name, "is not stored in row-major order; call contiguous() on it and save it again")
	}
	out := &scale{rows, cols, across, make([]float32, down*across)}
	m := &qtensor.Matrix{Scheme: qtensor.Scheme{Kind: kind}, Rows: 1, Cols: down * across, Codes: t.Data}
	err := parallel.Guard(func() error {
		new(qtensor.Reader).Row(out.values, m, 0)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", defect.Printable(t.File), err)
	}
	return out, nil
}
