package config

import (
	"maps"
	"slices"
)

// ModelTypes lists the model_types of transformers whose keys are known.
func ModelTypes() []string { return slices.Sorted(maps.Keys(transformers().classes)) }

// NotUnderstood lists the keys that transformers reads of c, and that no call has read,
// asserted or listed as inert.
func (c *Config) NotUnderstood() (keys []string) {
	for key := range c.class.reads {
		if !c.known[key] && !transformers().base[key] && !slices.Contains(inert, key) {
			keys = append(keys, key)
		}
	}
	return keys
}
