package config

import (
	"strconv"

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
	c.shared.assumed = append(c.shared.assumed, key)
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
			c.Values[key] = v
			if set, ok := c.overrides[old]; ok {
				c.overrides[key] = set
			}
		}
	}
}

// Floats reads a list of finite numbers. The key must be present.
func (c *Config) Floats(key string) []float64 {
	list, ok := c.Value(key).([]any)
	var all []float64
	for _, v := range list {
		n, number := v.(strictjson.Number)
		x, err := strconv.ParseFloat(string(n), 64)
		if ok = ok && number && err == nil; !ok {
			break
		}
		all = append(all, x)
	}
	if !ok && c.shared.err == nil {
		c.Fail(key, "want a list of numbers, found %s", Show(c.Values[key]))
	}
	return all
}
