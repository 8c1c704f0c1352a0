package jinja

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"unicode"

	"thimble/internal/chat/python"
)

// A filterFunc is a filter of Jinja2 (filters.py).
type filterFunc func(r *run, v python.Value, args python.Arguments) (python.Value, error)

// otherFilters are those of Jinja2 that are not here.
const otherFilters = "filesizeformat groupby pprint random striptags truncate urlencode urlize wordwrap xmlattr"

var filters map[string]filterFunc

func init() { // map calls filters by name
	filters = map[string]filterFunc{
		"tojson": func(r *run, v python.Value, a python.Arguments) (python.Value, error) {
			return python.ToJSON(&r.Run, v, a)
		},
		"string": func(r *run, v python.Value, a python.Arguments) (python.Value, error) { return r.soft(v, a) },
		"safe":   marked(func(s string) string { return s }),
		"escape": escape, "e": escape, "forceescape": marked(python.EscapeHTML),
		"upper": onString(python.Upper), "capitalize": onString(python.Capitalize), "title": onString(titleFilter),
		"lower":  onString(func(s string) string { return python.Lower("", s) }),
		"trim":   trimFilter,
		"indent": indentFilter, "replace": replaceFilter, "center": centerFilter, "format": formatFilter,
		"wordcount": wordCount,
		"length":    lengthFilter, "count": lengthFilter,
		"default": defaultFilter, "d": defaultFilter,
		"abs": absFilter, "int": intFilter, "float": floatFilter, "round": roundFilter,
		"attr": attrFilter, "items": itemsFilter, "dictsort": dictSort,
		"join": joinFilter, "list": listFilter, "first": firstFilter, "last": lastFilter,
		"reverse": reverseFilter, "sort": sortFilter, "unique": uniqueFilter, "sum": sumFilter,
		"min": extreme(-1), "max": extreme(1), "batch": batchFilter, "slice": sliceFilter,
		"map": mapFilter, "select": choose(true, false), "reject": choose(false, false),
		"selectattr": choose(true, true), "rejectattr": choose(false, true),
	}
}

// given returns an argument or its default.
func given(v, otherwise python.Value) python.Value {
	if v == python.Missing {
		return otherwise
	}
	return v
}

// soft is soft_str: it leaves texts as they are.
func (r *run) soft(v python.Value, a python.Arguments) (python.Value, error) {
	if _, err := a.Bind("the filter", 0); err != nil {
		return nil, err
	}
	if _, ok := v.(python.Markup); ok {
		return v, nil
	}
	s, err := r.Str(v)
	return s, err
}

// onString is a filter of one text without arguments.
func onString(f func(string) string) filterFunc {
	return func(r *run, v python.Value, a python.Arguments) (python.Value, error) {
		v, err := r.soft(v, a)
		if err != nil {
			return nil, err
		}
		s, _ := python.TextOf(v)
		if err := r.Letters(s); err != nil {
			return nil, err
		}
		if _, ok := v.(python.Markup); ok {
			return python.Markup(f(s)), nil
		}
		return f(s), nil
	}
}

// marked is a filter that returns Markup.
func marked(f func(string) string) filterFunc {
	return func(r *run, v python.Value, a python.Arguments) (python.Value, error) {
		v, err := r.soft(v, a)
		if err != nil {
			return nil, err
		}
		s, _ := python.TextOf(v)
		if err := r.CheckText(python.MaxEscape * len(s)); err != nil {
			return nil, err
		}
		return python.Markup(f(s)), nil
	}
}

func escape(r *run, v python.Value, a python.Arguments) (python.Value, error) {
	if _, ok := v.(python.Markup); ok {
		return r.soft(v, a)
	}
	return filters["forceescape"](r, v, a)
}

// plainText is Python's str of the operand, for filters that lose a mark.
func (r *run) plainText(v python.Value) (string, error) {
	s, err := r.Str(v)
	if err == nil {
		err = r.Charge(len(s))
	}
	return s, err
}

// titleFilter has other words than str.title.
func titleFilter(s string) string {
	var b strings.Builder
	start := true
	var word strings.Builder
	flush := func() {
		if w := word.String(); w != "" {
			n := python.FirstRune(w)
			b.WriteString(python.Upper(w[:n]) + python.Lower("", w[n:]))
		}
		word.Reset()
	}
	for _, c := range s {
		if start = c == '-' || python.IsSpace(c) || strings.ContainsRune("({[<", c); start {
			flush()
			b.WriteRune(c)
			continue
		}
		word.WriteRune(c)
	}
	flush()
	return b.String()
}

func trimFilter(r *run, v python.Value, a python.Arguments) (python.Value, error) {
	args, err := a.Bind("trim", 0, "chars")
	if err != nil {
		return nil, err
	}
	of, err := r.soft(v, python.Arguments{})
	if err != nil {
		return nil, err
	}
	return python.Methods["str.strip"](&r.Run, of, python.Arguments{Pos: []python.Value{given(args[0], nil)}})
}

func indentFilter(r *run, v python.Value, a python.Arguments) (python.Value, error) {
	args, err := a.Bind("indent", 0, "width", "first", "blank")
	if err != nil {
		return nil, err
	}
	s, ok := v.(string)
	if !ok {
		if u, ok := v.(*python.Undefined); ok {
			return nil, u.Fail()
		}
		return nil, fmt.Errorf("indent of %s is not supported", python.TypeName(v))
	}
	by, ok := python.TextOf(given(args[0], int64(4)))
	if !ok {
		n, err := python.Limit(args[0], 4)
		if err != nil {
			return nil, err
		}
		if by, err = r.RepeatText(" ", max(0, n)); err != nil {
			return nil, err
		}
	}
	lines := python.SplitLines(s+"\n", false)
	if err := r.CheckText(len(s) + (len(lines)+1)*(len(by)+1)); err != nil {
		return nil, err
	}
	blank := python.Truth(given(args[2], false))
	for i := range lines {
		if i > 0 && (blank || lines[i] != "") || i == 0 && python.Truth(given(args[1], false)) {
			lines[i] = by + lines[i]
		}
	}
	return strings.Join(lines, "\n"), nil
}

func replaceFilter(r *run, v python.Value, a python.Arguments) (python.Value, error) {
	args, err := a.Bind("replace", 2, "old", "new", "count")
	if err != nil {
		return nil, err
	}
	var s [3]string
	for i, v := range []python.Value{v, args[0], args[1]} {
		if s[i], err = r.plainText(v); err != nil {
			return nil, err
		}
	}
	n := int64(-1)
	if args[2] != nil {
		if n, err = python.Limit(args[2], -1); err != nil {
			return nil, err
		}
	}
	return r.Replace(s[0], s[1], s[2], n)
}

func centerFilter(r *run, v python.Value, a python.Arguments) (python.Value, error) {
	args, err := a.Bind("center", 0, "width")
	if err != nil {
		return nil, err
	}
	of, err := r.soft(v, python.Arguments{})
	if err != nil {
		return nil, err
	}
	return python.Methods["str.center"](&r.Run, of, python.Arguments{Pos: []python.Value{given(args[0], int64(80))}})
}

func formatFilter(r *run, v python.Value, a python.Arguments) (python.Value, error) {
	of, err := r.soft(v, python.Arguments{})
	if err != nil {
		return nil, err
	}
	if len(a.Pos) > 0 && len(a.Kw) > 0 {
		return nil, errors.New("can't handle positional and keyword arguments at the same time")
	}
	if len(a.Kw) == 0 {
		return r.Binary("%", of, &python.Tuple{Items: a.Pos})
	}
	d, err := python.DictFrom(&r.Run, a)
	if err != nil {
		return nil, err
	}
	return r.Binary("%", of, d)
}

func wordCount(r *run, v python.Value, a python.Arguments) (python.Value, error) {
	of, err := r.soft(v, a)
	if err != nil {
		return nil, err
	}
	s, _ := python.TextOf(of)
	words := strings.FieldsFunc(s, func(c rune) bool { return c != '_' && !unicode.IsLetter(c) && !unicode.IsNumber(c) })
	return int64(len(words)), nil
}

func lengthFilter(r *run, v python.Value, a python.Arguments) (python.Value, error) {
	if _, err := a.Bind("length", 0); err != nil {
		return nil, err
	}
	return r.Length(v)
}

func defaultFilter(r *run, v python.Value, a python.Arguments) (python.Value, error) {
	args, err := a.Bind("default", 0, "default_value", "boolean")
	if err != nil {
		return nil, err
	}
	_, isUndefined := v.(*python.Undefined)
	if isUndefined || python.Truth(given(args[1], false)) && !python.Truth(v) {
		return given(args[0], ""), nil
	}
	return v, nil
}

func absFilter(_ *run, v python.Value, a python.Arguments) (python.Value, error) {
	if _, err := a.Bind("abs", 0); err != nil {
		return nil, err
	}
	f, isFloat := v.(float64)
	switch {
	case isFloat:
		return math.Abs(f), nil
	case !python.IsNumber(v):
		return nil, fmt.Errorf("bad operand type for abs(): '%s'", python.TypeName(v))
	case python.BigOf(v).Sign() < 0:
		return python.Arithmetic("-", int64(0), v)
	}
	return python.Arithmetic("+", int64(0), v)
}

func intFilter(_ *run, v python.Value, a python.Arguments) (python.Value, error) {
	args, err := a.Bind("int", 0, "default", "base")
	if err != nil {
		return nil, err
	}
	base, err := python.Limit(args[1], 10)
	if err != nil || base != 0 && (base < 2 || base > 36) {
		return nil, errors.New("the base of int must be 0 or from 2 to 36")
	}
	if s, ok := python.TextOf(v); ok {
		if n, ok := python.ParseInt(s, int(base)); ok {
			return n, nil
		}
		if f, ok := python.ParseFloat(s); ok {
			if n, err := python.Truncate(f); err == nil {
				return n, nil
			}
		}
		return given(args[0], int64(0)), nil
	}
	switch v := v.(type) {
	case float64:
		n, err := python.Truncate(v)
		if err != nil {
			return given(args[0], int64(0)), nil
		}
		return n, nil
	case *python.Undefined:
		return nil, v.Fail()
	}
	if !python.IsNumber(v) {
		return given(args[0], int64(0)), nil
	}
	return python.Arithmetic("+", int64(0), v)
}

func floatFilter(_ *run, v python.Value, a python.Arguments) (python.Value, error) {
	args, err := a.Bind("float", 0, "default")
	if err != nil {
		return nil, err
	}
	if u, ok := v.(*python.Undefined); ok {
		return nil, u.Fail()
	}
	if python.IsNumber(v) {
		return python.FloatOf(v)
	}
	if s, ok := python.TextOf(v); ok {
		if f, ok := python.ParseFloat(s); ok {
			return f, nil
		}
	}
	return given(args[0], 0.0), nil
}

func roundFilter(_ *run, v python.Value, a python.Arguments) (python.Value, error) {
	args, err := a.Bind("round", 0, "precision", "method")
	if err != nil {
		return nil, err
	}
	digits, err := python.Limit(args[0], 0)
	if err != nil {
		return nil, err
	}
	var f func(float64) float64
	switch given(args[1], "common") {
	case "common":
		return python.Round(v, digits)
	case "ceil":
		f = math.Ceil
	case "floor":
		f = math.Floor
	default:
		return nil, errors.New("method must be common, ceil or floor")
	}
	if digits < 0 || digits > 300 || !python.IsNumber(v) {
		return nil, errors.New("this rounding is not supported")
	}
	scale, err := python.Arithmetic("**", int64(10), digits)
	if err != nil {
		return nil, err
	}
	scaled, err := python.Arithmetic("*", v, scale)
	if err != nil {
		return nil, err
	}
	if x, ok := scaled.(float64); ok {
		if scaled, err = python.Truncate(f(x)); err != nil {
			return nil, err
		}
	}
	return python.Arithmetic("/", scaled, scale)
}

func attrFilter(r *run, v python.Value, a python.Arguments) (python.Value, error) {
	args, err := a.Bind("attr", 1, "name")
	if err != nil {
		return nil, err
	}
	name, ok := python.TextOf(args[0])
	if !ok {
		return nil, errors.New("attribute name must be string")
	}
	found, ok, err := r.OwnAttribute(v, name)
	if !ok && err == nil {
		return python.NoAttribute(v, name), nil
	}
	return found, err
}
