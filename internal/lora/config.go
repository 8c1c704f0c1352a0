package lora

import (
	"encoding/json"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"thimble/internal/checkpoint"
	"thimble/internal/defect"
	"thimble/internal/modulepattern"
	"thimble/internal/strictjson"
)

const maxConfig = 4 << 20 // bytes

// A config is what an adapter_config.json says of the product of an adapter's matrices.
type config struct {
	file          string
	r, alpha      float64
	root          bool // divide alpha by the root of the rank instead of the rank
	dora          bool
	base          string
	ranks, alphas []pattern
}

// A pattern gives some modules another value.
type pattern struct {
	names *modulepattern.Pattern
	value float64
}

// inert lists the keys that do not change the result of a merge. Those that choose modules
// are among them, as the file holds the matrices of the chosen ones, and biases, which are
// tensors of it if they were trained.
var inert = []string{
	"auto_mapping", "bias", "corda_config", "ensure_weight_tying", "eva_config", "exclude_modules", "fan_in_fan_out", "inference_mode", "layers_pattern", "layers_to_transform",
	"loftq_config", "lora_dropout", "lora_ga_config", "megatron_config", "megatron_core", "modules_to_save", "peft_version", "qalora_group_size", "revision", "runtime_config",
	"target_modules", "task_type", "ephemeral_gpu_offload", "enable_lora", "merge_weights",
}

// inits lists the values of init_lora_weights with which training starts from the model's own
// weights. Others, such as pissa, change the weights that the adapter belongs to.
var inits = []any{nil, true, false, "gaussian", "eva", "orthogonal"}

// mergeFirst is what to do with an adapter that is not merged here.
const mergeFirst = "merge it with merge_and_unload of peft, save the model and convert that"

// A reader reads one adapter_config.json.
type reader struct {
	config
	modules modulepattern.Compiler
	refused []string
	mlx     bool // the file is MLX's
}

func readConfig(dir *checkpoint.Dir) (*config, error) {
	text, err := dir.ReadFile(ConfigName, maxConfig)
	if err != nil {
		return nil, err
	}
	r := &reader{config: config{file: filepath.Join(dir.Path, ConfigName), r: 8, alpha: 8}}
	d := strictjson.NewDecoder(r.file, 0, text)
	d.AllowNaN()
	kind := "absent"
	err = d.Object(func(key string) error {
		if key == "rank_pattern" || key == "alpha_pattern" {
			return r.patterns(d, key)
		}
		v, err := d.Any()
		if err != nil {
			return err
		}
		if key == "peft_type" {
			kind = show(v)
			return nil
		}
		if key == "fine_tune_type" || key == "lora_parameters" {
			r.mlx = true
			return nil
		}
		return r.value(key, v)
	})
	if err == nil {
		err = d.End()
	}
	if err != nil {
		return nil, err
	}
	switch {
	case r.mlx && kind != "LORA":
		return nil, fmt.Errorf("%w; fuse it with the model that it was trained on: python -m mlx_lm fuse --model MODEL --adapter-path %s, and convert the result",
			defect.Unsupported(r.file, "an adapter of MLX"), defect.Printable(dir.Path))
	case kind != "LORA":
		return nil, fmt.Errorf("%w; %s", defect.Unsupported(r.file, "peft_type %s (want LORA)", kind), mergeFirst)
	case len(r.refused) > 0:
		return nil, fmt.Errorf("%w; %s", defect.Unsupported(r.file, "%s", strings.Join(r.refused, ", ")), mergeFirst)
	}
	return &r.config, nil
}

// value reads one key.
func (r *reader) value(key string, v any) error {
	switch key {
	case "r":
		return r.whole(key, v, &r.r)
	case "lora_alpha":
		return r.number(key, v, &r.alpha)
	case "use_rslora":
		r.root = v == true
	case "use_dora":
		r.dora = v == true
	case "base_model_name_or_path":
		r.base, _ = v.(string)
	case "init_lora_weights":
		if text, ok := v.(string); ok && strings.EqualFold(text, "true") || slices.Contains(inits, v) {
			return nil
		}
		r.refuse(key, v)
	default:
		if !slices.Contains(inert, key) && !empty(v) {
			r.refuse(key, v)
		}
	}
	return nil
}

func (r *reader) refuse(key string, v any) {
	r.refused = append(r.refused, defect.Printable(key)+" "+show(v))
}

// empty reports whether v switches something off.
func empty(v any) bool {
	switch v := v.(type) {
	case nil:
		return true
	case bool:
		return !v
	case strictjson.Number:
		x, err := strconv.ParseFloat(string(v), 64)
		return err == nil && (x == 0 || math.IsNaN(x))
	case string:
		return v == ""
	case []any:
		return len(v) == 0
	case map[string]any:
		return len(v) == 0
	}
	return false
}

func show(v any) string {
	b, err := json.Marshal(v)
	text := strings.Trim(string(b), `"`)
	if err != nil || len(text) > 64 {
		return "set"
	}
	return defect.Printable(text)
}

func (r *reader) number(key string, v any, to *float64) error {
	n, _ := v.(strictjson.Number)
	x, err := strconv.ParseFloat(string(n), 64)
	if err != nil || !(x > 0) || math.IsInf(x, 0) {
		return defect.Corrupt(r.file, key, "want a positive number, found %s", show(v))
	}
	*to = x
	return nil
}

// whole reads a rank.
func (r *reader) whole(key string, v any, to *float64) error {
	if err := r.number(key, v, to); err != nil {
		return err
	}
	if *to != math.Trunc(*to) || *to > math.MaxInt32 {
		return defect.Corrupt(r.file, key, "want a positive whole number, found %s", show(v))
	}
	return nil
}

// patterns reads the object of rank_pattern or alpha_pattern, of which the first match counts.
func (r *reader) patterns(d *strictjson.Decoder, key string) error {
	if d.Kind() != '{' {
		v, err := d.Any()
		if err == nil && !empty(v) {
			err = defect.Corrupt(r.file, key, "want an object, found %s", show(v))
		}
		return err
	}
	return d.Object(func(name string) error {
		v, err := d.Any()
		if err != nil {
			return err
		}
		re, err := r.modules.Compile(`^(?:.*\.)?(?:` + name + `)$`)
		if err != nil {
			return defect.Unsupported(r.file, "%s: the pattern %s (%s)", key, defect.Printable(name), defect.Printable(err.Error()))
		}
		p := pattern{names: re}
		if key == "rank_pattern" {
			err = r.whole(key, v, &p.value)
			r.ranks = append(r.ranks, p)
		} else {
			err = r.number(key, v, &p.value)
			r.alphas = append(r.alphas, p)
		}
		return err
	})
}

// of returns the value of the first pattern that matches name, or usual.
func (c *config) of(patterns []pattern, name string, usual float64) (float64, error) {
	for _, p := range patterns {
		if matches, err := p.names.Match(name); err != nil {
			return 0, defect.Unsupported(c.file, "%v", err)
		} else if matches {
			return p.value, nil
		}
	}
	return usual, nil
}

// rank returns the rank of a module's matrices.
func (c *config) rank(module string) (int, error) {
	r, err := c.of(c.ranks, module, c.r)
	return int(r), err
}

// scale returns the factor of the product, rounded to float32 as PyTorch does.
func (c *config) scale(module string) (float32, error) {
	r, err := c.of(c.ranks, module, c.r)
	if err != nil {
		return 0, err
	}
	if c.root {
		r = math.Sqrt(r)
	}
	alpha, err := c.of(c.alphas, module, c.alpha)
	return float32(alpha / r), err
}
