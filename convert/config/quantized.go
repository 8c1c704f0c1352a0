package config

import (
	"cmp"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"thimble/convert/names"
	"thimble/convert/packed"
	"thimble/internal/checkpoint"
	"thimble/internal/defect"
	"thimble/internal/modulepattern"
)

// Quantization reads quantization_config in the published forms: of 8-bit floats and of
// packed integers. It ignores their settings for rounding activations.
func (c *Config) Quantization() { c.shared.scaling = quantization(c) }

// Scaling returns how the checkpoint stores the scales of 8-bit floats, or nil if the config
// declares none.
func (c *Config) Scaling() *names.Scaling { return c.shared.scaling }

// Packed returns the formats of packed integers that the checkpoint may have.
func (c *Config) Packed() []*packed.Format { return c.shared.packed }

// quantization returns the scaling of 8-bit floats, and adds the formats of packed integers.
func quantization(c *Config) *names.Scaling {
	q := c.Object("quantization_config")
	own := c.Object("quantization") // MLX writes both, with the same contents
	if own != nil {
		if q != nil {
			q.InertAll()
		}
		q = own
	}
	if q == nil {
		return nil
	}
	if plain(c.Tensors) {
		c.Note(Name + " says that the weights are quantized, but every tensor is an ordinary float: taken as they are")
		q.InertAll()
		return nil
	}
	if own != nil {
		return mlx(q)
	}
	q.Inert("modules_to_not_convert", "ignore", "dequantize") // each tensor has its own type
	method := q.String("quant_method", q.usualMethod())
	if method == "" {
		q.Missing("quant_method")
		return nil
	}
	if read, ok := quantMethods[method]; ok {
		return read(q)
	}
	q.UnsupportedObject("quant_method", "%s (want %s; dequantize the model with the library that made it, and save it as bfloat16)",
		Show(method), strings.Join(slices.Sorted(maps.Keys(quantMethods)), ", "))
	return nil
}

// usualMethod returns the method of an old config that does not name it, by its other keys, or "".
func (c *Config) usualMethod() string {
	switch {
	case c.Has("load_in_4bit"), c.Has("load_in_8bit"):
		return "bitsandbytes"
	case c.Has("zero_point"), c.Has("w_bit"):
		return "awq"
	case c.Has("desc_act"):
		return "gptq"
	}
	return ""
}

// ReadQuantization reads how packed weights are quantized from the file that AutoGPTQ and AutoAWQ
// wrote beside the config, if the config does not say it.
func (c *Config) ReadQuantization(dir *checkpoint.Dir) error {
	const key = "quantization_config"
	if !c.hasWords() || c.Given(key) != nil || c.Given("quantization") != nil {
		return nil
	}
	for _, name := range []string{"quantize_config.json", "quant_config.json"} {
		if !dir.Has(name) {
			continue
		}
		file := filepath.Join(dir.Path, name)
		text, err := dir.ReadFile(name, maxSize)
		if err != nil {
			return err
		}
		v, err := decode(file, text)
		if err != nil {
			return err
		}
		c.Values[key], c.Beside = v, append(c.Beside, file)
		c.Note(Name + " has no " + key + ": that in " + name + " counts")
		return nil
	}
	return nil
}

// hasWords reports whether there is a tensor of packed words.
func (c *Config) hasWords() bool {
	for name := range c.Tensors {
		if strings.HasSuffix(name, ".qweight") {
			return true
		}
	}
	return false
}

// quantMethods lists the values of quant_method.
var quantMethods = map[string]func(q *Config) *names.Scaling{
	"fp8": fp8, "fbgemm_fp8": fbgemm, "compressed-tensors": compressed, "gptq": gptq, "awq": awq, "auto-round": autoRound, "bitsandbytes": bitsandbytes, "mxfp4": mxfp4,
}

// plain reports whether no tensor is of packed words or of 8-bit floats.
func plain(tensors map[string]*checkpoint.Tensor) bool {
	for name, t := range tensors {
		if _, float := names.Kinds[t.DType]; float || t.DType == checkpoint.F64 {
			continue
		}
		if _, inert := names.IsBuffer(t, name); !inert && t.DType != checkpoint.Bool {
			return false
		}
	}
	return len(tensors) > 0
}

// fp8 reads the form of DeepSeek-V3 and Qwen3 with a scale for each block (arXiv
// 2412.19437, section 3.3), and that of vLLM with one for a matrix.
func fp8(q *Config) *names.Scaling {
	q.Must("fmt", "e4m3")
	q.Inert("activation_scheme", "scale_fmt", "ignored_layers", "kv_cache_scheme")
	block := q.Counts("weight_block_size", "a list of two sizes")
	switch {
	case len(block) == 2 && block[0] > 0 && block[1] > 0:
		return &names.Scaling{Suffix: "_scale_inv", Rows: block[0], Cols: block[1]}
	case q.Has("weight_block_size"):
		q.Unsupported("weight_block_size", "%s (want two sizes)", Show(q.Values["weight_block_size"]))
		return nil
	}
	for name := range q.Tensors {
		if strings.HasSuffix(name, ".weight_scale_inv") {
			return &names.Scaling{Suffix: "_scale_inv"}
		}
	}
	return &names.Scaling{Suffix: "_scale"}
}

func fbgemm(q *Config) *names.Scaling {
	q.Inert("activation_scale_ub")
	return &names.Scaling{Suffix: "_scale", Rows: 1}
}

// training lists the settings of GPTQ, AWQ and AutoRound that chose the integers; the
// tensors themselves say how they are stored.
var training = []string{
	"desc_act", "sym", "damp_percent", "damp_auto_increment", "static_groups", "true_sequential", "dataset", "tokenizer", "batch_size",
	"model_name_or_path", "model_file_base_name", "block_name_to_quantize", "module_name_preceding_first_block", "model_seqlen",
	"use_cuda_fp16", "use_exllama", "exllama_config", "disable_exllama", "max_input_length", "cache_block_outputs", "modules_in_block_to_quantize",
	"lm_head", "meta", "backend", "modules_to_fuse", "do_fuse", "fuse_max_seq_len", "is_marlin_format", "offload_to_disk", "act_group_aware", "mse",
	"autoround_version", "iters", "low_gpu_mem_usage", "lr", "minmax_lr", "nsamples", "seqlen", "enable_quanted_input", "enable_minmax_tuning",
	"data_type", "block_name_to_quantize", "to_quant_block_names", "gradient_accumulate_steps", "amp", "scale_dtype", "act_bits", "super_bits",
	"super_group_size", "enable_alg_ext", "provider", "dynamic", "extra_config", "hyb", "pack_dtype", "pack_impl", "device_map", "quant_block_list",
	"act_data_type", "act_dynamic", "act_group_size", "act_sym", "enable_norm_bias_tuning", "supported_types", "quant_lm_head",
}

// bitsOf reads the key bits and, if there is one, group_size: 0 for a whole row.
func (c *Config) bitsOf(widths ...int) (bits, group int) {
	bits = c.Int("bits", 8)
	if bits > 0 && !slices.Contains(widths, bits) {
		c.Unsupported("bits", "%d (want one of %v)", bits, widths)
	}
	if n, ok := Whole(c.Value("group_size")); ok && n > 0 {
		group = n
	}
	return bits, group
}

func gptq(q *Config) *names.Scaling {
	q.Inert(training...)
	q.Inert("method", "foem", "failsafe", "fallback", "rotation_seed", "gptaq", "hessian", "hessian_chunk_size", "hessian_chunk_bytes", "hessian_use_bfloat16_staging",
		"wait_for_submodule_finalizers", "auto_forward_data_parallel", "moe", "vram_strategy", "gc_mode", "calibration_data_device", "dense_vram_strategy", "weight_only")
	q.Absent("rotation", "adapter", "planar")
	_, group := q.bitsOf(2, 3, 4, 8)
	format := q.String("checkpoint_format", q.String("format", "gptq")) // GPTQModel reads either
	if other := q.String("format", format); other != format {
		q.Unsupported("format", "%s, with checkpoint_format %s", Show(other), Show(format))
	}
	if format != "gptq" && format != "gptq_v2" {
		q.Unsupported("checkpoint_format", "%s (want gptq or gptq_v2)", Show(format))
	}
	return q.packed(packed.GPTQ(format == "gptq", group))
}

func awq(q *Config) *names.Scaling {
	q.Inert(training...)
	q.Inert("version_arguments")
	q.Alias("w_bit", "bits")
	q.Alias("q_group_size", "group_size")
	q.Must("zero_point", true)
	q.bitsOf(4)
	if version := strings.ToLower(q.String("version", q.String("format", "gemm"))); version != "gemm" {
		q.Unsupported("version", "%s (want gemm)", Show(version))
	}
	return q.packed(packed.AWQ())
}

// autoRound reads the config that AutoRound writes for its own loader.
func autoRound(q *Config) *names.Scaling {
	q.Inert(training...)
	_, group := q.bitsOf(2, 3, 4, 8)
	switch packing := q.String("packing_format", "auto_round:auto_gptq"); packing {
	case "auto_round:auto_gptq":
		return q.packed(packed.GPTQ(true, group))
	case "auto_round:gptqmodel", "auto_round:auto_gptq_v2":
		return q.packed(packed.GPTQ(false, group))
	case "auto_round:auto_awq":
		return q.packed(packed.AWQ())
	default:
		q.Unsupported("packing_format", "%s (want auto_round:auto_gptq, auto_round:gptqmodel or auto_round:auto_awq)", Show(packing))
	}
	return nil
}

func bitsandbytes(q *Config) *names.Scaling {
	q.Inert("_load_in_4bit", "_load_in_8bit", "load_in_4bit", "load_in_8bit", "bnb_4bit_compute_dtype", "bnb_4bit_quant_storage", "bnb_4bit_quant_type",
		"bnb_4bit_use_double_quant", "llm_int8_enable_fp32_cpu_offload", "llm_int8_has_fp16_weight", "llm_int8_skip_modules", "llm_int8_threshold")
	return q.packed(packed.Levels("nf4"), packed.Levels("fp4"), packed.LLMInt8())
}

// mlx reads MLX's own key. A module of its own is an object with other settings, or false.
func mlx(q *Config) *names.Scaling {
	q.Must("mode", "affine")
	type width struct{ bits, group int }
	widths := []int{2, 3, 4, 5, 6, 8}
	var all width
	all.bits, all.group = q.bitsOf(widths...)
	q.Inert("quant_method", "linear_class", "quantization_mode")
	one := map[string]width{}
	for _, name := range slices.Sorted(maps.Keys(q.Values)) {
		switch v := q.Values[name].(type) {
		case map[string]any:
			module := q.Object(name)
			if module == nil {
				continue
			}
			module.Must("mode", "affine")
			var w width
			w.bits, w.group = module.bitsOf(widths...)
			one[name] = w
		case bool:
			q.Inert(name)
			if !v {
				one[name] = width{}
			}
		}
	}
	if all.group == 0 && q.shared.err == nil {
		q.Missing("group_size")
	}
	return q.packed(packed.MLX(func(module string) (bits, group int) {
		if w, ok := one[module]; ok {
			return w.bits, w.group
		}
		return all.bits, all.group
	}))
}

// packed records that the checkpoint has matrices of the given formats.
func (c *Config) packed(formats ...*packed.Format) *names.Scaling {
	c.shared.packed = append(c.shared.packed, formats...)
	return nil
}

// compressed reads the config that vLLM's llm-compressor writes.
// https://github.com/vllm-project/compressed-tensors
func compressed(q *Config) *names.Scaling {
	if format := q.String("format"); !slices.Contains(compressedFormats, format) {
		q.UnsupportedObject("format", "%s (want %s)", Show(format), strings.Join(compressedFormats, ", "))
		return nil
	}
	q.Inert("quantization_status", "global_compression_ratio", "kv_cache_scheme", "version")
	if sparsity := q.Object("sparsity_config"); sparsity != nil && len(sparsity.Values) > 0 {
		sparsity.Must("format", "dense")
		sparsity.Inert("global_sparsity", "ignore", "registry_requires_subclass", "sparsity_structure", "targets")
	}
	q.Absent("transform_config")
	groups := q.Object("config_groups")
	if groups == nil {
		q.Missing("config_groups")
		return nil
	}
	var s *names.Scaling
	var integers []compressedGroup
	var modules modulepattern.Compiler
	for _, name := range slices.Sorted(maps.Keys(groups.Values)) {
		group := groups.Object(name)
		if group == nil {
			continue
		}
		group.Inert("input_activations", "output_activations")
		if format := group.String("format", compressedFormats[0]); !slices.Contains(compressedFormats, format) {
			group.Unsupported("format", "%s (want %s)", Show(format), strings.Join(compressedFormats, ", "))
		}
		targets := group.targets(&modules)
		weights := group.Object("weights")
		if weights == nil {
			group.Missing("weights")
			return nil
		}
		weights.Inert("observer", "observer_kwargs", "scale_dtype", "zp_dtype")
		weights.Must("dynamic", false)
		if weights.String("type", "int") == "int" {
			weights.Inert("symmetric", "strategy", "group_size", "actorder", "block_structure")
			integers = append(integers, compressedGroup{targets, weights.Int("num_bits", 8, 8)})
			continue
		}
		one := compressedFloats(weights)
		if s != nil && one != nil && *s != *one {
			groups.Unsupported(name, "a strategy that differs from that of the previous group")
		}
		s = one
	}
	if len(integers) > 0 {
		q.packed(packed.Compressed(func(module string) (int, error) { return bitsFor(integers, module) }), packed.Int8())
	}
	return s
}

// compressedFormats lists the formats of compressed-tensors that are read.
var compressedFormats = []string{"pack-quantized", "int-quantized", "float-quantized", "naive-quantized", "mixed-precision"}

// A compressedGroup is the width of the modules that match one of the patterns.
type compressedGroup struct {
	targets []*modulepattern.Pattern // of whole names; nil for a class, such as Linear
	bits    int
}

// targets reads the names of modules, their classes, and patterns that begin with "re:".
func (c *Config) targets(modules *modulepattern.Compiler) (patterns []*modulepattern.Pattern) {
	list, _ := c.Value("targets").([]any)
	for _, v := range list {
		text, _ := v.(string)
		pattern, ok := strings.CutPrefix(text, "re:")
		switch {
		case !ok && !strings.Contains(text, "."):
			patterns = append(patterns, nil)
			continue
		case !ok:
			pattern = regexp.QuoteMeta(text) + "$"
		}
		compiled, err := modules.Compile("^(?:" + pattern + ")") // as re.match of Python
		if err != nil {
			c.Unsupported("targets", "pattern %s (%s)", Show(text), defect.Printable(err.Error()))
			return nil
		}
		patterns = append(patterns, compiled)
	}
	return patterns
}

// bitsFor returns the width of a module: that of the group that names it, and otherwise of
// the group for its class.
func bitsFor(groups []compressedGroup, module string) (bits int, err error) {
	for _, g := range groups {
		for _, p := range g.targets {
			if p == nil {
				bits = cmp.Or(bits, g.bits)
			} else if matches, err := p.Match(module); err != nil {
				return 0, err
			} else if matches {
				return g.bits, nil
			}
		}
	}
	return bits, nil
}

func compressedFloats(w *Config) *names.Scaling {
	w.Must("num_bits", 8.0)
	w.Must("type", "float")
	w.Must("symmetric", true)
	w.Absent("group_size", "actorder")
	switch strategy := w.String("strategy"); strategy {
	case "tensor":
		w.Absent("block_structure")
		return &names.Scaling{Suffix: "_scale"}
	case "channel":
		w.Absent("block_structure")
		return &names.Scaling{Suffix: "_scale", Rows: 1}
	case "block":
		if block := w.Counts("block_structure", "a list of two sizes"); len(block) == 2 && block[0] > 0 && block[1] > 0 {
			return &names.Scaling{Suffix: "_scale", Rows: block[0], Cols: block[1]}
		}
		w.Unsupported("block_structure", "%s (want two sizes)", Show(w.Values["block_structure"]))
	default:
		w.Unsupported("strategy", "%s (want tensor, channel or block)", Show(strategy))
	}
	return nil
}

// mxfp4 reads the config of gpt-oss.
func mxfp4(q *Config) *names.Scaling { return q.packed(packed.MXFP4()) }
