package config

import (
	"cmp"
	"fmt"
	"math"
	"path/filepath"
	"strconv"
	"strings"

	"thimble/internal/defect"
	"thimble/internal/strictjson"
)

// Default sets key, unless it is present, to an object that is transformers' default. Such a
// default is not in keys.json.
func (c *Config) Default(key, def string) {
	if c.shared.err != nil || c.Given(key) != nil {
		return
	}
	v, err := strictjson.Decode(key, []byte(def))
	if err != nil {
		panic(err) // def is part of the program
	}
	c.Values[key] = v
	c.assume(key, nil)
}

// Alias makes other another name of key.
func (c *Config) Alias(other, key string) {
	v := c.Value(other)
	if v == nil || c.Has(key) {
		return
	}
	c.Values[key] = v
	if set, ok := c.overrides[other]; ok {
		c.overrides[key] = set
	}
}

// Renamed makes the names of sizes, in a config that calls them otherwise, those of most
// configs: for example "n_embd", "hidden_size".
func (c *Config) Renamed(pairs ...string) {
	for i := 0; i < len(pairs); i += 2 {
		old, key := pairs[i], pairs[i+1]
		v := c.Given(old)
		if v == nil && c.class != nil {
			v = c.class.defaults[old]
		}
		if v != nil && Empty(c.Given(key)) {
			c.Values[key], c.renamed[key] = v, old
			if set, ok := c.overrides[old]; ok {
				c.overrides[key] = set
			}
		}
	}
}

// Spelled returns the name that the file has for key.
func (c *Config) Spelled(key string) string { return cmp.Or(c.renamed[key], key) }

// AssumedSizes describes the absent keys whose default is a size that the tensors must have, and
// returns "" if there are none.
func (c *Config) AssumedSizes() string {
	var all, sets []string
	for _, a := range c.shared.assumed {
		if n, ok := Whole(a.value); ok && n > 1 && a.key != "max_position_embeddings" {
			all, sets = append(all, a.String()), append(sets, "--set "+a.key+"=N")
		}
	}
	if all == nil {
		return ""
	}
	return fmt.Sprintf("%s lacks %s, so transformers' defaults count: %s; if the model has others, add them there or with %s",
		filepath.Base(c.File), defect.Counted(len(all), "size"), strings.Join(all, ", "), strings.Join(sets, " "))
}

// Bounds reads a list of two numbers, of which the last may be infinite: as Infinity, or as
// transformers 5 writes that. The key must be present.
func (c *Config) Bounds(key string) (bounds [2]float64) {
	list, ok := c.Value(key).([]any)
	ok = ok && len(list) == len(bounds)
	for i := 0; ok && i < len(bounds); i++ {
		v := list[i]
		if o, tagged := v.(map[string]any); tagged && len(o) == 1 && o["__float__"] == "Infinity" {
			v = strictjson.Number("Infinity")
		}
		n, number := v.(strictjson.Number)
		x, err := strconv.ParseFloat(string(n), 64)
		bounds[i], ok = x, number && err == nil && !math.IsNaN(x) && (i == 1 || !math.IsInf(x, 0))
	}
	if !ok && c.shared.err == nil {
		c.Fail(key, "want a list of two numbers, found %s", Show(c.Values[key]))
	}
	return bounds
}

// Floats reads a list of finite numbers. The key must be present.
func (c *Config) Floats(key string) []float64 {
	list, ok := c.Value(key).([]any)
	var all []float64
	for _, v := range list {
		n, number := v.(strictjson.Number)
		x, err := strconv.ParseFloat(string(n), 64)
		if ok = ok && number && err == nil && !math.IsNaN(x) && !math.IsInf(x, 0); !ok {
			break
		}
		all = append(all, x)
	}
	if !ok && c.shared.err == nil {
		c.Fail(key, "want a list of numbers, found %s", Show(c.Values[key]))
	}
	return all
}
