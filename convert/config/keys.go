package config

import (
	_ "embed"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"

	"thimble/internal/defect"
	"thimble/internal/spell"
	"thimble/internal/strictjson"
)

// keysJSON lists the keys of config.json that transformers reads, by model_type, and their
// defaults. fixtures/gen/config_keys.py derives it from the sources of transformers.
//
//go:embed keys.json
var keysJSON []byte

// A class is what transformers reads of the config of one model_type.
type class struct {
	name     string          // of the config's class in Python
	reads    map[string]bool // keys that can change logits
	nullable map[string]bool // keys for which null is a value and not the default
	defaults map[string]any
}

// A library is what transformers reads of configs.
type library struct {
	base    map[string]bool            // keys of the classes that all configs share, which change no logits
	rope    map[string]map[string]bool // keys of rope_parameters, by rope_type
	classes map[string]*class          // by model_type
}

var transformers = sync.OnceValue(func() *library {
	v, err := strictjson.Decode("keys.json", keysJSON)
	if err != nil {
		panic(err) // the file is part of the program
	}
	set := func(v any) map[string]bool {
		s := map[string]bool{}
		for _, key := range v.([]any) {
			s[key.(string)] = true
		}
		return s
	}
	top := v.(map[string]any)
	l := &library{base: set(top["base"]), rope: map[string]map[string]bool{}, classes: map[string]*class{}}
	for kind, keys := range top["rope"].(map[string]any) {
		l.rope[kind] = set(keys)
	}
	for name, v := range top["types"].(map[string]any) {
		t := v.(map[string]any)
		k := &class{t["class"].(string), set(t["reads"]), set(t["nullable"]), t["defaults"].(map[string]any)}
		maps.Copy(k.reads, set(top["shared"]))
		l.classes[name] = k
	}
	return l
})

// Classify looks up what transformers reads of a config of modelType. A config with an
// auto_map belongs to code of its own, which might read any key.
func (c *Config) Classify(modelType string) {
	if c.class = transformers().classes[modelType]; c.class != nil && Empty(c.Values["auto_map"]) {
		c.reads = c.class.reads
	}
}

// Adopt marks the keys of the classes that all configs share as known: c is an object that
// was saved as a config of its own.
func (c *Config) Adopt() {
	for key := range transformers().base {
		c.known[key] = true
	}
}

// OnlyReads says which keys transformers reads of c.
func (c *Config) OnlyReads(keys ...string) {
	c.reads = map[string]bool{}
	for _, key := range keys {
		c.reads[key] = true
	}
}

// ReadsRope says that transformers reads the keys of a rope_type of c, an object of outer,
// if it is known which ones it reads of outer.
func (c *Config) ReadsRope(outer *Config, kind string) {
	if outer.reads != nil {
		c.reads = transformers().rope[kind]
	}
}

// inert lists the keys that change no architecture's arithmetic, besides those of the
// classes that all configs share.
var inert = slices.Concat(
	// The program that wrote the file, and the class that loads it; here model_type decides.
	[]string{"_attn_implementation", "_attn_implementation_autoset", "_name_or_path", "auto_map", "is_llama_config", "transformers.js_config",
		"unsloth_fixed", "unsloth_version"},
	// Training.
	[]string{"attention_dropout", "initializer_range"},
	// Options of the Python object that do not change the logits.
	[]string{"pretraining_tp"},
	// Defaults for sampling.
	[]string{"max_sequence_length"},
)

// A refusal is a valid value that is not supported.
type refusal struct {
	origin    string // the file, or --set
	key, what string
	remedy    string // for a key whose meaning is not known; "" otherwise
}

// Done returns the first invalid value, or an error that names every key that is not
// supported. It notes the keys that do not matter, and the absent ones whose defaults
// change the arithmetic.
func (c *Config) Done(architecture string) error {
	if c.shared.err != nil {
		return c.shared.err
	}
	c.Adopt()
	c.Inert(inert...)
	known := slices.Sorted(maps.Keys(c.known))
	for _, key := range slices.Sorted(maps.Keys(c.overrides)) {
		if !c.known[key] {
			return fmt.Errorf("--set %s: %s has no such key%s", defect.Printable(key), architecture, spell.Suggest(key, known))
		}
	}
	var unread []string
	for _, o := range append([]*Config{c}, c.shared.inner...) {
		for _, key := range slices.Sorted(maps.Keys(o.Values)) {
			switch {
			case o.known[key] || o.neutral(key):
			case o.reads != nil && !o.reads[key]:
				unread = append(unread, o.path+key)
			default:
				c.shared.refused = append(c.shared.refused, o.unknown(key, architecture))
			}
		}
	}
	if len(c.shared.refused) > 0 {
		return refuse(c.shared.refused)
	}
	if len(unread) > 0 {
		c.Note(fmt.Sprintf("%s has %s that transformers never reads for %s, so without effect: %s", Name, defect.Counted(len(unread), "key"), architecture, defect.Some(unread)))
	}
	if len(c.shared.assumed) > 0 {
		var all []string
		for _, a := range c.shared.assumed {
			all = append(all, a.String())
		}
		c.Note(fmt.Sprintf("%s lacks %s; transformers' defaults for %s apply: %s", Name, defect.Counted(len(c.shared.assumed), "key"),
			architecture, strings.Join(all, ", ")))
	}
	return nil
}

// neutral reports whether the value of a key that was not read changes nothing: it is
// empty, turns nothing on, or is transformers' default.
func (c *Config) neutral(key string) bool {
	v := c.Values[key]
	if Empty(v) || v == "" {
		return true
	}
	if c.class != nil {
		if def, ok := c.class.defaults[key]; ok {
			return equal(v, def)
		}
	}
	return v == false && !c.reads[key]
}

// equal reports whether two values of JSON are the same scalar.
func equal(a, b any) bool {
	x, ok := a.(strictjson.Number)
	y, ok2 := b.(strictjson.Number)
	if ok && ok2 {
		f, err := strconv.ParseFloat(string(x), 64)
		g, err2 := strconv.ParseFloat(string(y), 64)
		return err == nil && err2 == nil && f == g
	}
	switch a.(type) {
	case string, bool:
		return a == b
	}
	return false
}

// unknown returns the refusal of a key that nobody has read.
func (c *Config) unknown(key, architecture string) refusal {
	r := refusal{origin: c.File, key: c.path + key, what: "this key of " + architecture, remedy: "remove it there"}
	if c.path == "" {
		r.remedy = fmt.Sprintf("--set %s=null drops it", defect.Printable(key))
	}
	return r
}

// refuse returns one error for all refused keys.
func refuse(all []refusal) error {
	if len(all) == 1 {
		r := all[0]
		err := fmt.Errorf("%s: %w", defect.Printable(r.origin), defect.Unsupported(r.key, "%s", r.what))
		if r.remedy != "" {
			err = fmt.Errorf("%w; if it does not affect the model's results, %s", err, r.remedy)
		}
		return err
	}
	var keys, sets, inner []string
	for _, r := range all {
		key := defect.Printable(r.key)
		switch {
		case r.remedy == "":
			key += ": " + strings.TrimSuffix(r.what, ",")
		case strings.Contains(r.key, "."):
			inner = append(inner, key)
		default:
			sets = append(sets, "--set "+key+"=null")
		}
		keys = append(keys, key)
	}
	text := fmt.Sprintf("%s: %d keys are not supported: %s", defect.Printable(all[0].origin), len(all), strings.Join(keys, "; "))
	if len(sets) > 0 {
		text += "; where they do not affect the model's results, drop them: " + strings.Join(sets, " ")
	}
	if len(inner) > 0 {
		text += "; where they do not affect the model's results, remove them from the file: " + strings.Join(inner, ", ")
	}
	return defect.Replace(defect.ErrUnsupported, text)
}
