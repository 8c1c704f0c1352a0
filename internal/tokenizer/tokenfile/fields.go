package tokenfile

import (
	"maps"
	"slices"
	"strconv"

	"thimble/internal/defect"
	"thimble/internal/strictjson"
)

// fields returns the members of a JSON object and removes each from m, so that done can
// report a member that no code has read. It keeps the first error.
type fields struct {
	file, path string
	m          map[string]any
	order      []string // the keys in the order of the file, if that is known
	err        error
}

func object(file, path string, v any) *fields {
	m, ok := v.(map[string]any)
	f := &fields{file: file, path: path, m: m}
	if !ok {
		f.err = defect.Corrupt(file, path, "want an object, found %s", kind(v))
	}
	return f
}

// kind describes the type of v, for an error.
func kind(v any) string {
	switch v.(type) {
	case nil:
		return "null"
	case string:
		return "a string"
	case bool:
		return "a boolean"
	case strictjson.Number:
		return "a number"
	case []any:
		return "an array"
	}
	return "an object"
}

func (f *fields) corrupt(key, format string, args ...any) {
	if f.err == nil {
		f.err = defect.Corrupt(f.file, f.path+"."+key, format, args...)
	}
}

func (f *fields) unsupported(key, format string, args ...any) {
	if f.err == nil {
		f.err = defect.Unsupported(f.file+": "+f.path+"."+key, format, args...)
	}
}

// take returns and removes a member. It returns nil if the member is absent or null.
func (f *fields) take(key string) any {
	v := f.m[key]
	delete(f.m, key)
	return v
}

func (f *fields) str(key string) string {
	v := f.take(key)
	s, ok := v.(string)
	if !ok {
		f.corrupt(key, "want a string, found %s", kind(v))
	}
	return s
}

func (f *fields) boolean(key string) bool {
	v := f.take(key)
	b, ok := v.(bool)
	if !ok {
		f.corrupt(key, "want true or false, found %s", kind(v))
	}
	return b
}

// flag reads a boolean, which is false if it is absent or null.
func (f *fields) flag(key string) bool { return f.flagOr(key, false) }

// flagOr reads a boolean, which is missing if it is absent or null.
func (f *fields) flagOr(key string, missing bool) bool {
	if f.m[key] == nil {
		f.take(key)
		return missing
	}
	return f.boolean(key)
}

// id converts v, the value of key, to a token id below limit.
func (f *fields) id(key string, v any, limit int) int {
	text, ok := v.(strictjson.Number)
	n, err := strconv.ParseUint(string(text), 10, 32)
	if !ok || err != nil || n >= uint64(limit) {
		f.corrupt(key, "want a token id below %d, found %v", limit, show(v))
		return 0
	}
	return int(n)
}

func (f *fields) array(key string) []any {
	v := f.take(key)
	a, ok := v.([]any)
	if !ok {
		f.corrupt(key, "want an array, found %s", kind(v))
	}
	return a
}

// done returns the first error. If there is none, it returns an error for a member that
// has not been read, if any.
func (f *fields) done() error {
	if f.err == nil && len(f.m) > 0 {
		key := slices.Min(slices.Collect(maps.Keys(f.m)))
		f.unsupported(defect.Printable(key), "this key")
	}
	return f.err
}
