package convert

import (
	"strconv"

	"thimble/internal/strictjson"
)

// object sets key, unless it is present, to an object that is transformers' default. Such a
// default is not in keys.json.
func (c *config) object(key, def string) {
	if c.shared.err != nil || c.given(key) != nil {
		return
	}
	v, err := strictjson.Decode(key, []byte(def))
	if err != nil {
		panic(err) // def is part of the program
	}
	c.values[key] = v
	c.shared.assumed = append(c.shared.assumed, key)
}

// alias makes other another name of key.
func (c *config) alias(other, key string) {
	v := c.value(other)
	if v == nil || c.Has(key) {
		return
	}
	c.values[key] = v
	if set, ok := c.overrides[other]; ok {
		c.overrides[key] = set
	}
}

// Floats reads a list of finite numbers. The key must be present.
func (c *config) Floats(key string) []float64 {
	list, ok := c.value(key).([]any)
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
		c.Fail(key, "want a list of numbers, found %s", show(c.values[key]))
	}
	return all
}
