package convert

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"thimble/internal/checkpoint"
	"thimble/internal/defect"
	"thimble/internal/spell"
	"thimble/internal/strictjson"
)

const (
	configName = "config.json"
	maxConfig  = 1 << 20 // bytes
)

// A config is a config.json that must be understood in full: each key is read,
// asserted or listed as inert, or done names it. null stands for absence, as
// Python's None does. The first failure sticks; after it every reader returns
// zero and reports nothing, so an architecture reads straight on and its caller
// asks once.
type config struct {
	file      string
	path      string // of this object inside the file: "" or "rope_scaling."
	values    map[string]any
	asked     map[string]bool
	overrides map[string]string // key to the value as the user spelled it
	tensors   map[string]*checkpoint.Tensor
	shared    *sharedState
}

// sharedState is what a config and the objects inside it have in common.
type sharedState struct {
	err     error
	inner   []*config
	notes   []string
	scaling *scaling // of 8-bit floats; nil for none
}

// Note records what the user should know of how the config was read.
func (c *config) Note(text string) { c.shared.notes = append(c.shared.notes, text) }

// stored is how many rows the matrix called name has in the checkpoint; it must
// have cols columns.
func (c *config) stored(name string, cols int) int {
	t := c.tensors[name]
	if t == nil || len(t.Shape) != 2 {
		c.failed(defect.Corrupt(c.file, name, "matrix is missing in the checkpoint"))
		return 0
	}
	if t.Shape[1] != cols {
		c.failed(defect.Corrupt(t.File, name, "shape is %v, %s wants %d columns: wrong, or part of a model-parallel checkpoint", t.Shape, filepath.Base(c.file), cols))
	}
	return t.Shape[0]
}

// parseConfig reads the text of a config.json and applies overrides, each
// "key=value". A value that is not JSON is a string; null drops the key.
func parseConfig(file string, text []byte, set []string) (*config, error) {
	v, err := strictjson.Decode(file, text)
	if err != nil {
		return nil, err
	}
	values, ok := v.(map[string]any)
	if !ok {
		return nil, defect.Corrupt(file, "", "want an object, found %s", show(v))
	}
	c := &config{file: file, values: values, asked: map[string]bool{}, overrides: map[string]string{}, shared: &sharedState{}}
	for _, o := range set {
		key, value, ok := strings.Cut(o, "=")
		key, value = strings.TrimSpace(key), strings.TrimSpace(value)
		if _, twice := c.overrides[key]; twice {
			return nil, fmt.Errorf("--set %s: given twice", defect.Printable(key))
		}
		if !ok || key == "" || value == "" {
			return nil, fmt.Errorf("--set %s: want key=value", defect.Printable(o))
		}
		v, err := strictjson.Decode("--set", []byte(value))
		if err != nil {
			v = value
		}
		if _, present := values[key]; v == nil && present {
			c.asked[key] = true // the user drops it, known or not
		}
		values[key], c.overrides[key] = v, value
	}
	return c, nil
}

// Overrides returns "key=value" of every override, sorted.
func (c *config) Overrides() []string {
	list := make([]string, 0, len(c.overrides))
	for key, value := range c.overrides {
		list = append(list, key+"="+value)
	}
	slices.Sort(list)
	return list
}

// Fail records a failure at key, unless there was one before.
func (c *config) Fail(key, format string, args ...any) {
	c.failed(defect.Corrupt(c.origin(key), c.path+key, format, args...))
}

// Unsupported records that the value of key is legal but not ours.
func (c *config) Unsupported(key, format string, args ...any) {
	c.failed(fmt.Errorf("%s: %w", defect.Printable(c.origin(key)), defect.Unsupported(c.path+key, format, args...)))
}

func (c *config) failed(err error) {
	if c.shared.err == nil {
		c.shared.err = err
	}
}

// origin is where the value of key came from.
func (c *config) origin(key string) string {
	if _, ok := c.overrides[key]; ok {
		return "--set"
	}
	return c.file
}

// value marks key as understood and returns its value, nil if it is absent.
func (c *config) value(key string) any {
	c.asked[key] = true
	if c.shared.err != nil {
		return nil
	}
	return c.values[key]
}

// Has reports whether key is there and not null.
func (c *config) Has(key string) bool { return c.value(key) != nil }

// missing reports that a key without a default is not there.
func (c *config) missing(key string) {
	if c.path == "" {
		c.Fail(key, "key is missing; add it to the file or give --set %s=...", key)
	} else {
		c.Fail(key, "key is missing")
	}
}

// Int reads a whole number from 1 to most. Without a default the key must be
// there.
func (c *config) Int(key string, most int, def ...int) int {
	v := c.value(key)
	if v == nil {
		if len(def) == 0 {
			c.missing(key)
			return 0
		}
		return def[0]
	}
	n, ok := whole(v)
	switch {
	case !ok:
		c.Fail(key, "want a whole number, found %s", show(v))
	case n < 1 || n > most:
		c.Fail(key, "%d, want 1 to %d", n, most)
	default:
		return n
	}
	return 0
}

// Count reads a whole number from 0 to most, which must be there.
func (c *config) Count(key string, most int) int {
	n, ok := whole(c.value(key))
	if !ok || n < 0 || n > most {
		c.Fail(key, "want a whole number from 0 to %d, found %s", most, show(c.values[key]))
		return 0
	}
	return n
}

// whole returns the value of a number that has no fraction.
func whole(v any) (int, bool) {
	n, _ := v.(strictjson.Number)
	i, err := strconv.Atoi(string(n))
	return i, err == nil
}

// Float reads a finite number. Without a default the key must be there.
func (c *config) Float(key string, def ...float64) float64 {
	v := c.value(key)
	if v == nil {
		if len(def) == 0 {
			c.missing(key)
			return 0
		}
		return def[0]
	}
	if n, ok := v.(strictjson.Number); ok {
		if x, err := strconv.ParseFloat(string(n), 64); err == nil {
			return x
		}
	}
	c.Fail(key, "want a number, found %s", show(v))
	return 0
}

// Bool reads true or false. Without a default the key must be there.
func (c *config) Bool(key string, def ...bool) bool {
	switch v := c.value(key).(type) {
	case bool:
		return v
	case nil:
		if len(def) > 0 {
			return def[0]
		}
		c.missing(key)
	default:
		c.Fail(key, "want true or false, found %s", show(v))
	}
	return false
}

// String reads a string. Without a default the key must be there.
func (c *config) String(key string, def ...string) string {
	switch v := c.value(key).(type) {
	case string:
		return v
	case nil:
		if len(def) > 0 {
			return def[0]
		}
		c.missing(key)
	default:
		c.Fail(key, "want a string, found %s", show(v))
	}
	return ""
}

// Strings reads a list of n strings; nil where the key is absent.
func (c *config) Strings(key string, n int) []string {
	v := c.value(key)
	if v == nil {
		return nil
	}
	list, ok := v.([]any)
	if !ok || len(list) != n {
		c.Fail(key, "want a list of %d strings, found %s", n, show(v))
		return nil
	}
	texts := make([]string, n)
	for i, v := range list {
		if texts[i], ok = v.(string); !ok {
			c.Fail(key, "want a list of %d strings, found %s among them", n, show(v))
			return nil
		}
	}
	return texts
}

// IDs reads a token id or a list of them; none where the key is absent.
func (c *config) IDs(key string) []int { return c.counts(key, "token ids") }

// counts reads a number, or a list of them, that are 0 or more.
func (c *config) counts(key, what string) []int {
	v := c.value(key)
	list, ok := v.([]any)
	if v != nil && !ok {
		list = []any{v}
	}
	var ids []int
	for _, v := range list {
		id, ok := whole(v)
		if !ok || id < 0 {
			c.Fail(key, "want %s, found %s", what, show(v))
			return nil
		}
		ids = append(ids, id)
	}
	return ids
}

// Object reads an object inside; nil where the key is absent. Its keys must be
// understood too.
func (c *config) Object(key string) *config {
	switch v := c.value(key).(type) {
	case nil:
		return nil
	case map[string]any:
		o := &config{file: c.origin(key), path: c.path + key + ".", values: v, asked: map[string]bool{}, shared: c.shared}
		c.shared.inner = append(c.shared.inner, o)
		return o
	default:
		c.Fail(key, "want an object, found %s", show(v))
		return nil
	}
}

// Must asserts that key, where it is there, is want: the one value that is
// supported and also what its absence means. want is a string, a bool or a
// float64.
func (c *config) Must(key string, want any) {
	v := c.value(key)
	if n, ok := v.(strictjson.Number); ok {
		if x, err := strconv.ParseFloat(string(n), 64); err == nil && x == want {
			return
		}
	}
	if v != nil && v != want {
		c.Unsupported(key, "%s, only %v,", show(v), want)
	}
}

// Absent asserts that the keys are not there: each switches on something that
// is not supported.
func (c *config) Absent(keys ...string) {
	for _, key := range keys {
		if v := c.value(key); v != nil {
			c.Unsupported(key, "%s", show(v))
		}
	}
}

// Inert lists keys that do not change what the model computes.
func (c *config) Inert(keys ...string) {
	for _, key := range keys {
		c.asked[key] = true
	}
}

// done returns the first failure, or an error that names a key which nothing
// asked for.
func (c *config) done(architecture string) error {
	if c.shared.err != nil {
		return c.shared.err
	}
	known := slices.Sorted(maps.Keys(c.asked))
	for _, key := range slices.Sorted(maps.Keys(c.overrides)) {
		if !c.asked[key] {
			return fmt.Errorf("--set %s: %s has no such key%s", defect.Printable(key), architecture, spell.Suggest(key, known))
		}
	}
	for _, o := range append([]*config{c}, c.shared.inner...) {
		for _, key := range slices.Sorted(maps.Keys(o.values)) {
			if o.asked[key] {
				continue
			}
			outer, _, _ := strings.Cut(o.path+key, ".")
			remedy := fmt.Sprintf("--set %s=null drops it", defect.Printable(outer))
			if o.path != "" {
				remedy = "remove it there"
			}
			return fmt.Errorf("%s: %w; if it does not change what the model computes, %s", defect.Printable(o.file),
				defect.Unsupported(o.path+key, "this key of %s", architecture), remedy)
		}
	}
	return nil
}

// show is a value in an error: as JSON writes it, briefly.
func show(v any) string {
	switch v := v.(type) {
	case nil:
		return "null"
	case string:
		return fmt.Sprintf("%.128q", v)
	case strictjson.Number:
		return defect.Printable(string(v))
	case []any:
		return fmt.Sprintf("a list of %d", len(v))
	case map[string]any:
		return fmt.Sprintf("an object of %d keys", len(v))
	}
	return fmt.Sprint(v)
}
