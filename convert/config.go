package convert

import (
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"thimble/internal/checkpoint"
	"thimble/internal/defect"
	"thimble/internal/strictjson"
)

const (
	configName = "config.json"
	maxConfig  = 1 << 20 // bytes
)

// A config is a config.json that must be understood in full: done returns an error that
// names every key that could change the results and that no call has read, asserted or
// listed as inert. A null value and an empty list or object mean the same as an absent
// key. The config keeps the first invalid value; after it every method returns zero and
// records nothing. An architecture can therefore read all its keys without checks, and its
// caller checks once.
type config struct {
	file      string
	path      string // of this object inside the file: "" or "rope_scaling."
	values    map[string]any
	known     map[string]bool   // keys that were read, asserted or listed as inert
	reads     map[string]bool   // keys that transformers reads of this object; nil if it is not known
	class     *class            // of transformers; nil in an inner object, and for a model_type that is not one of its own
	overrides map[string]string // by key, the value as the user spelled it
	wrapper   string            // model_type of the model of images and text that this is a part of, or ""
	drops     []string          // patterns of tensors to leave out
	tensors   map[string]*checkpoint.Tensor
	shared    *sharedState
}

// sharedState is the state that a config shares with all objects inside it.
type sharedState struct {
	err     error
	refused []refusal // valid values that are not supported
	assumed []string  // absent keys with transformers' defaults, "key value"
	inner   []*config
	notes   []string
	scaling *scaling // of 8-bit floats; nil if the config declares none
}

// Note records something that the user should know about how the config was read.
func (c *config) Note(text string) { c.shared.notes = append(c.shared.notes, text) }

// storedRows returns the number of rows of the matrix called name in the
// checkpoint, which must have cols columns.
func (c *config) storedRows(name string, cols int) int {
	t := c.tensors[name]
	if t == nil || len(t.Shape) != 2 {
		c.failed(defect.Corrupt(c.file, name, "matrix is missing in the checkpoint"))
		return 0
	}
	if t.Shape[1] != cols {
		c.failed(defect.Corrupt(t.File, name, "shape is %v, %s requires %d columns: a wrong value, or part of a model-parallel checkpoint", t.Shape, filepath.Base(c.file), cols))
	}
	return t.Shape[0]
}

// parseConfig reads the text of a config.json and applies the overrides in set,
// each "key=value". A value that is not JSON is a string; null drops the key.
func parseConfig(file string, text []byte, set []string) (*config, error) {
	v, err := strictjson.Decode(file, text)
	if err != nil {
		return nil, err
	}
	values, ok := v.(map[string]any)
	if !ok {
		return nil, defect.Corrupt(file, "", "want an object, found %s", show(v))
	}
	c := &config{file: file, values: values, known: map[string]bool{}, overrides: map[string]string{}, shared: &sharedState{}}
	for _, o := range set {
		key, value, ok := strings.Cut(o, "=")
		key, value = strings.TrimSpace(key), strings.TrimSpace(value)
		if key == dropKey && value != "" {
			c.drops = append(c.drops, value)
			continue
		}
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
			c.known[key] = true // the user drops the key, whatever it is
		}
		values[key], c.overrides[key] = v, value
	}
	return c, nil
}

// Overrides returns the overrides as "key=value" and "--drop=pattern", sorted.
func (c *config) Overrides() []string {
	list := make([]string, 0, len(c.overrides))
	for key, value := range c.overrides {
		list = append(list, key+"="+value)
	}
	for _, pattern := range c.drops {
		list = append(list, dropKey+"="+pattern)
	}
	slices.Sort(list)
	return list
}

// Fail records that the value of key is invalid.
func (c *config) Fail(key, format string, args ...any) {
	c.failed(defect.Corrupt(c.origin(key), c.path+key, format, args...))
}

// Unsupported records that the value of key is valid but not supported.
func (c *config) Unsupported(key, format string, args ...any) {
	c.shared.refused = append(c.shared.refused, refusal{origin: c.origin(key), key: c.path + key, what: fmt.Sprintf(format, args...)})
}

// UnsupportedObject records that the value of key makes the whole object unsupported.
func (c *config) UnsupportedObject(key, format string, args ...any) {
	c.Unsupported(key, format, args...)
	for key := range c.values {
		c.known[key] = true
	}
}

func (c *config) failed(err error) {
	if c.shared.err == nil {
		c.shared.err = err
	}
}

// origin returns the source of the value of key: the file, or --set.
func (c *config) origin(key string) string {
	if _, ok := c.overrides[key]; ok {
		return "--set"
	}
	return c.file
}

// value marks key as known and returns its value, or nil if it is absent.
func (c *config) value(key string) any {
	c.known[key] = true
	if c.shared.err != nil {
		return nil
	}
	return c.values[key]
}

// Has reports whether key is present and not null.
func (c *config) Has(key string) bool { return c.value(key) != nil }

// given is value for everything except a list that may be empty.
func (c *config) given(key string) any {
	if v := c.value(key); !empty(v) {
		return v
	}
	return nil
}

// empty reports whether v is null or holds nothing.
func empty(v any) bool {
	switch v := v.(type) {
	case nil:
		return true
	case []any:
		return len(v) == 0
	case map[string]any:
		return len(v) == 0
	}
	return false
}

// valueOr is given with transformers' default of an absent key, which the user is told if
// the reader has none of its own.
func (c *config) valueOr(key string, own bool) any {
	v := c.given(key)
	if _, present := c.values[key]; v != nil || c.class == nil || c.shared.err != nil || present && c.class.nullable[key] {
		return v
	}
	v = c.class.defaults[key]
	if text := key + " " + show(v); v != nil && !own && !slices.Contains(c.shared.assumed, text) {
		c.shared.assumed = append(c.shared.assumed, text)
	}
	return v
}

// missing records that a key without a default is absent.
func (c *config) missing(key string) {
	if c.path == "" {
		c.Fail(key, "key is missing; add it to the file or give --set %s=...", key)
	} else {
		c.Fail(key, "key is missing")
	}
}

// Int reads a whole number from 1 to most. An absent key has transformers' default or else
// def, and must be present without either.
func (c *config) Int(key string, most int, def ...int) int {
	v := c.valueOr(key, len(def) > 0)
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

// Count reads a whole number from 0 to most. The key must be present.
func (c *config) Count(key string, most int) int {
	n, ok := whole(c.value(key))
	if !ok || n < 0 || n > most {
		c.Fail(key, "want a whole number from 0 to %d, found %s", most, show(c.values[key]))
		return 0
	}
	return n
}

// whole returns v as an int; ok is false unless v is a whole number.
func whole(v any) (int, bool) {
	n, _ := v.(strictjson.Number)
	i, err := strconv.Atoi(string(n))
	return i, err == nil
}

// Float reads a finite number. Defaults are those of Int.
func (c *config) Float(key string, def ...float64) float64 {
	v := c.valueOr(key, len(def) > 0)
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

// Bool reads true or false. Defaults are those of Int.
func (c *config) Bool(key string, def ...bool) bool {
	switch v := c.valueOr(key, len(def) > 0).(type) {
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

// String reads a string. Defaults are those of Int.
func (c *config) String(key string, def ...string) string {
	switch v := c.valueOr(key, len(def) > 0).(type) {
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

// Strings reads a list of n strings, or nil if the key is absent.
func (c *config) Strings(key string, n int) []string {
	v := c.given(key)
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

// IDs reads a token id or a list of them, or nil if the key is absent.
func (c *config) IDs(key string) []int { return c.counts(key, "token ids") }

// counts reads a whole number of 0 or more, or a list of them.
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

// Object reads an object, whose keys must be understood too, or nil if the key is
// absent.
func (c *config) Object(key string) *config {
	switch v := c.given(key).(type) {
	case nil:
		return nil
	case map[string]any:
		o := &config{file: c.origin(key), path: c.path + key + ".", values: v, known: map[string]bool{}, shared: c.shared}
		c.shared.inner = append(c.shared.inner, o)
		return o
	default:
		c.Fail(key, "want an object, found %s", show(v))
		return nil
	}
}

// Must asserts that key, if it is present, has the value want: the only supported
// value, and the default. want is a string, a bool or a float64.
func (c *config) Must(key string, want any) {
	v := c.given(key)
	if n, ok := v.(strictjson.Number); ok {
		if x, err := strconv.ParseFloat(string(n), 64); err == nil && x == want {
			return
		}
	}
	if v != nil && v != want {
		c.Unsupported(key, "%s (want %v)", show(v), want)
	}
}

// Absent asserts that the keys are absent: each turns on something that is not
// supported.
func (c *config) Absent(keys ...string) {
	for _, key := range keys {
		if v := c.given(key); v != nil {
			c.Unsupported(key, "%s", show(v))
		}
	}
}

// Inert marks keys as known that do not affect the model's results.
func (c *config) Inert(keys ...string) {
	for _, key := range keys {
		c.known[key] = true
	}
}

// show formats a value for an error message: as JSON, shortened.
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
