// Package config reads a checkpoint's config.json, every key of which must be understood:
// what it means, transformers' defaults, and how the weights are quantized.
package config

import (
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"thimble/convert/names"
	"thimble/convert/packed"
	"thimble/internal/checkpoint"
	"thimble/internal/defect"
	"thimble/internal/model"
	"thimble/internal/spell"
	"thimble/internal/strictjson"
)

// Name is the name of Hugging Face's file.
const Name = "config.json"

const (
	maxSize = 1 << 20 // bytes

	// Keys of overrides that are not keys of the file: --drop PATTERN, which names tensors to
	// leave out, is given and recorded as --drop=PATTERN, and --lora DIR as --lora=DIR.
	dropKey = "--drop"
	loraKey = "--lora"
)

// A Config is a config.json that must be understood in full: Done returns an error that
// names every key that could change the results and that no call has read, asserted or
// listed as inert. A null value and an empty list or object mean the same as an absent
// key. The Config keeps the first invalid value; after it every method returns zero and
// records nothing. An architecture can therefore read all its keys without checks, and its
// caller checks once.
type Config struct {
	File    string
	Values  map[string]any                // as strictjson decodes them
	Wrapper string                        // model_type of the model of images and text that this is a part of, or ""
	Drops   []string                      // patterns of tensors to leave out
	Loras   []string                      // directories of adapters to merge, in order
	Tensors map[string]*checkpoint.Tensor // of the checkpoint
	Beside  []string                      // paths of other files that were read

	path      string            // of this object inside the file: "" or "rope_scaling."
	known     map[string]bool   // keys that were read, asserted or listed as inert
	reads     map[string]bool   // keys that transformers reads of this object; nil if it is not known
	class     *class            // of transformers; nil in an inner object, and for a model_type that is not one of its own
	overrides map[string]string // by key, the value as the user spelled it
	renamed   map[string]string // by key, the name that the file has for it
	shared    *sharedState
}

// An assumption is an absent key with transformers' default.
type assumption struct {
	key   string
	value any // nil is an object
}

func (a assumption) String() string {
	if a.value == nil {
		return a.key
	}
	return a.key + " " + Show(a.value)
}

// sharedState is the state that a config shares with all objects inside it.
type sharedState struct {
	err     error
	refused []refusal // valid values that are not supported
	assumed []assumption
	inner   []*Config
	notes   []string
	scaling *names.Scaling   // of 8-bit floats; nil if the config declares none
	packed  []*packed.Format // of packed integers
}

// Note records something that the user should know about how the config was read.
func (c *Config) Note(text string) { c.shared.notes = append(c.shared.notes, text) }

// Err returns the first invalid value, or nil.
func (c *Config) Err() error { return c.shared.err }

// Path returns the place of c in the file: "" or "rope_scaling".
func (c *Config) Path() string { return strings.TrimSuffix(c.path, ".") }

// Notes returns what Note recorded of c and the objects inside it.
func (c *Config) Notes() []string { return c.shared.notes }

// Read reads the file called name in dir, as Parse does. The error of a file that does not
// exist is an os.ErrNotExist.
func Read(dir *checkpoint.Dir, name string, set []string) (*Config, error) {
	text, err := dir.ReadFile(name, maxSize)
	if err != nil {
		return nil, err
	}
	return Parse(filepath.Join(dir.Path, name), text, set)
}

// Parse reads the text of a config.json and applies the overrides in set,
// each "key=value". A value that is not JSON is a string; null drops the key.
func Parse(file string, text []byte, set []string) (*Config, error) {
	v, err := decode(file, text)
	if err != nil {
		return nil, err
	}
	values, ok := v.(map[string]any)
	if !ok {
		return nil, defect.Corrupt(file, "", "want an object, found %s", Show(v))
	}
	c := &Config{File: file, Values: values, known: map[string]bool{}, overrides: map[string]string{}, renamed: map[string]string{}, shared: &sharedState{}}
	for _, text := range set {
		if err := c.override(text); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// decode reads the value of a file that Python may have written, with NaN and Infinity.
func decode(file string, text []byte) (any, error) {
	d := strictjson.NewDecoder(file, 0, text)
	d.AllowNaN()
	v, err := d.Any()
	if err == nil {
		err = d.End()
	}
	return v, err
}

// override applies one KEY=VALUE.
func (c *Config) override(text string) error {
	key, value, ok := strings.Cut(text, "=")
	key, value = strings.TrimSpace(key), strings.TrimSpace(value)
	_, twice := c.overrides[key]
	switch {
	case key == dropKey && value != "":
		c.Drops = append(c.Drops, value)
		return nil
	case key == loraKey && value != "":
		c.Loras = append(c.Loras, value)
		return nil
	case twice:
		return fmt.Errorf("--set %s: given twice", defect.Printable(key))
	case !ok || key == "" || value == "":
		return fmt.Errorf("--set %s: want key=value", defect.Printable(text))
	case strings.HasPrefix(key, model.FactPrefix):
		c.known[key], c.overrides[key] = true, value
		return checkFact(key, value)
	}
	v, err := strictjson.Decode("--set", []byte(value))
	if err != nil {
		v = value
	}
	if _, present := c.Values[key]; v == nil && present {
		c.known[key] = true // the user drops the key, whatever it is
	}
	c.Values[key], c.overrides[key] = v, value
	return nil
}

// maxFact is the length of the longest fact, in bytes.
const maxFact = 1000

// checkFact returns an error unless key is a fact about the model for people, and value a
// line of text.
func checkFact(key, value string) error {
	switch {
	case !slices.Contains(model.Facts, key):
		return fmt.Errorf("--set %s: GGUF has no such key about a model%s; it has %s", defect.Printable(key), spell.Suggest(key, model.Facts), strings.Join(model.Facts, ", "))
	case len(value) > maxFact || !utf8.ValidString(value) || strings.ContainsFunc(value, unicode.IsControl):
		return fmt.Errorf("--set %s: want a line of text of up to %d bytes", key, maxFact)
	}
	return nil
}

// Overrides returns the overrides as "key=value", "--drop=pattern" and "--lora=name", sorted.
func (c *Config) Overrides() []string {
	list := make([]string, 0, len(c.overrides))
	for key, value := range c.overrides {
		list = append(list, key+"="+value)
	}
	for _, pattern := range c.Drops {
		list = append(list, dropKey+"="+pattern)
	}
	for _, path := range c.Loras { // the digests of the adapter's files are those of sources
		list = append(list, loraKey+"="+filepath.Base(filepath.Clean(path)))
	}
	slices.Sort(list)
	return list
}

// Fail records that the value of key is invalid.
func (c *Config) Fail(key, format string, args ...any) {
	c.Failed(defect.Corrupt(c.Origin(key), c.path+key, format, args...))
}

// Unsupported records that the value of key is valid but not supported.
func (c *Config) Unsupported(key, format string, args ...any) {
	c.shared.refused = append(c.shared.refused, refusal{origin: c.Origin(key), key: c.path + key, what: fmt.Sprintf(format, args...)})
}

// UnsupportedObject records that the value of key makes the whole object unsupported.
func (c *Config) UnsupportedObject(key, format string, args ...any) {
	c.Unsupported(key, format, args...)
	c.InertAll()
}

// InertAll is Inert for every key of the object.
func (c *Config) InertAll() {
	for key := range c.Values {
		c.known[key] = true
	}
}

// Failed records err, if it is the first.
func (c *Config) Failed(err error) {
	if c.shared.err == nil {
		c.shared.err = err
	}
}

// Origin returns the source of the value of key: the file, or --set.
func (c *Config) Origin(key string) string {
	if _, ok := c.overrides[key]; ok {
		return "--set"
	}
	return c.File
}

// Value marks key as known and returns its value, or nil if it is absent.
func (c *Config) Value(key string) any {
	c.known[key] = true
	if c.shared.err != nil {
		return nil
	}
	return c.Values[key]
}

// Overridden reports whether the user has set key.
func (c *Config) Overridden(key string) bool {
	_, ok := c.overrides[key]
	return ok
}

// Has reports whether key is present and not null.
func (c *Config) Has(key string) bool { return c.Value(key) != nil }

// Given is Value for everything except a list that may be empty.
func (c *Config) Given(key string) any {
	if v := c.Value(key); !Empty(v) {
		return v
	}
	return nil
}

// Empty reports whether v is null or holds nothing.
func Empty(v any) bool {
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

// valueOr is Given with transformers' default of an absent key, which the user is told if
// the reader has none of its own.
func (c *Config) valueOr(key string, own bool) any {
	v := c.Given(key)
	if _, present := c.Values[key]; v != nil || c.class == nil || c.shared.err != nil || present && c.class.nullable[key] {
		return v
	}
	if v = c.class.defaults[key]; v != nil && !own {
		c.assume(key, v)
	}
	return v
}

// Assumed tells the user that the keys are absent and transformers' default, x, counts. It is for
// numbers that change the arithmetic and of which the reader has the default.
func (c *Config) Assumed(key string, x float64) {
	if c.class != nil && c.shared.err == nil {
		c.assume(key, strictjson.Number(strconv.FormatFloat(x, 'f', -1, 64)))
	}
}

func (c *Config) assume(key string, v any) {
	a := assumption{key, v}
	same := func(b assumption) bool { return b.String() == a.String() } // values may be lists
	if !slices.ContainsFunc(c.shared.assumed, same) {
		c.shared.assumed = append(c.shared.assumed, a)
	}
}

// Missing records that a key without a default is absent.
func (c *Config) Missing(key string) {
	if c.path == "" {
		c.Fail(key, "key is missing; add it to the file or give --set %s=...", key)
	} else {
		c.Fail(key, "key is missing")
	}
}

// Int reads a whole number from 1 to most. An absent key has transformers' default or else
// def, and must be present without either.
func (c *Config) Int(key string, most int, def ...int) int {
	v := c.valueOr(key, len(def) > 0)
	if v == nil {
		if len(def) == 0 {
			c.Missing(key)
			return 0
		}
		return def[0]
	}
	if _, present := c.Values[key]; !present && len(def) > 0 && c.shared.err == nil {
		c.assume(key, v) // transformers' default, which is not the reader's own
	}
	n, ok := Whole(v)
	switch {
	case !ok:
		c.Fail(key, "want a whole number, found %s", Show(v))
	case n < 1 || n > most:
		c.Fail(key, "%d, want 1 to %d", n, most)
	default:
		return n
	}
	return 0
}

// Count reads a whole number from 0 to most. The key must be present.
func (c *Config) Count(key string, most int) int {
	n, ok := Whole(c.Value(key))
	if !ok || n < 0 || n > most {
		c.Fail(key, "want a whole number from 0 to %d, found %s", most, Show(c.Values[key]))
		return 0
	}
	return n
}

// Whole returns v as an int; ok is false unless v is a whole number.
func Whole(v any) (int, bool) {
	n, _ := v.(strictjson.Number)
	i, err := strconv.Atoi(string(n))
	return i, err == nil
}

// Float reads a finite number. Defaults are those of Int.
func (c *Config) Float(key string, def ...float64) float64 {
	v := c.valueOr(key, len(def) > 0)
	if v == nil {
		if len(def) == 0 {
			c.Missing(key)
			return 0
		}
		return def[0]
	}
	if n, ok := v.(strictjson.Number); ok {
		if x, err := strconv.ParseFloat(string(n), 64); err == nil && !math.IsNaN(x) && !math.IsInf(x, 0) {
			return x
		}
	}
	c.Fail(key, "want a number, found %s", Show(v))
	return 0
}

// Epsilon reads the number that a norm adds to a mean square. Defaults are those of Int.
func (c *Config) Epsilon(key string, def ...float64) float64 {
	x := c.Float(key, def...)
	if !(x >= 0 && x < 1) {
		c.Fail(key, "%g, want at least 0 and below 1, such as 1e-5", x)
	}
	return x
}

// Bool reads true or false. Defaults are those of Int.
func (c *Config) Bool(key string, def ...bool) bool {
	return scalar(c, key, "true or false", def)
}

// String reads a string. Defaults are those of Int.
func (c *Config) String(key string, def ...string) string {
	return scalar(c, key, "a string", def)
}

// scalar reads a value of type T, which want describes. Defaults are those of Int.
func scalar[T bool | string](c *Config, key, want string, def []T) (v T) {
	switch x := c.valueOr(key, len(def) > 0).(type) {
	case T:
		return x
	case nil:
		if len(def) > 0 {
			return def[0]
		}
		c.Missing(key)
	default:
		c.Fail(key, "want %s, found %s", want, Show(x))
	}
	return v
}

// Strings reads a list of n strings, or nil if the key is absent.
func (c *Config) Strings(key string, n int) []string {
	v := c.Given(key)
	if v == nil {
		return nil
	}
	list, ok := v.([]any)
	if !ok || len(list) != n {
		c.Fail(key, "want a list of %d strings, found %s", n, Show(v))
		return nil
	}
	texts := make([]string, n)
	for i, v := range list {
		if texts[i], ok = v.(string); !ok {
			c.Fail(key, "want a list of %d strings, found %s among them", n, Show(v))
			return nil
		}
	}
	return texts
}

// TokenIDs reads a token id or a list of them, or nil if the key is absent. An id outside the
// vocabulary is no token's, as -1 in old configs: it is ignored, with a note.
func (c *Config) TokenIDs(key string, vocab int) (ids []int) {
	for _, id := range c.wholes(key, "token ids", math.MinInt) {
		if id < 0 || id >= vocab {
			c.Note(fmt.Sprintf("%s: %s %d is outside the vocabulary of %d: ignored, as in transformers", filepath.Base(c.File), c.path+key, id, vocab))
		} else {
			ids = append(ids, id)
		}
	}
	return ids
}

// Counts reads a whole number of 0 or more, or a list of them.
func (c *Config) Counts(key, what string) []int { return c.wholes(key, what, 0) }

// wholes reads a whole number, or a list of them, which must be at least least.
func (c *Config) wholes(key, what string, least int) (all []int) {
	v := c.Value(key)
	list, ok := v.([]any)
	if v != nil && !ok {
		list = []any{v}
	}
	for _, v := range list {
		n, ok := Whole(v)
		if !ok || n < least {
			c.Fail(key, "want %s, found %s", what, Show(v))
			return nil
		}
		all = append(all, n)
	}
	return all
}

// Object reads an object, whose keys must be understood too, or nil if the key is
// absent.
func (c *Config) Object(key string) *Config {
	switch v := c.Given(key).(type) {
	case nil:
		return nil
	case map[string]any:
		o := &Config{File: c.Origin(key), path: c.path + key + ".", Values: v, known: map[string]bool{}, Tensors: c.Tensors, shared: c.shared}
		c.shared.inner = append(c.shared.inner, o)
		return o
	default:
		c.Fail(key, "want an object, found %s", Show(v))
		return nil
	}
}

// Must asserts that key, if it is present, has the value want: the only supported
// value, and the default. want is a string, a bool or a float64.
func (c *Config) Must(key string, want any) {
	v := c.Given(key)
	if n, ok := v.(strictjson.Number); ok {
		if x, err := strconv.ParseFloat(string(n), 64); err == nil && x == want {
			return
		}
	}
	if v != nil && v != want {
		c.Unsupported(key, "%s (want %v)", Show(v), want)
	}
}

// Absent asserts that the keys are absent: each turns on something that is not
// supported.
func (c *Config) Absent(keys ...string) {
	for _, key := range keys {
		if v := c.Given(key); v != nil {
			c.Unsupported(key, "%s", Show(v))
		}
	}
}

// Inert marks keys as known that do not affect the model's results.
func (c *Config) Inert(keys ...string) {
	for _, key := range keys {
		c.known[key] = true
	}
}

// Show formats a value for an error message: as JSON, shortened.
func Show(v any) string {
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
