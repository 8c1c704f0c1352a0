package python

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// A textMethod is a method of a Python str.
type textMethod func(r *Run, s string, args Arguments) (Value, error)

func textMethods() map[string]textMethod {
	return map[string]textMethod{
		"upper":      plain(Upper),
		"lower":      plain(func(s string) string { return Lower("", s) }),
		"capitalize": plain(Capitalize), "title": plain(title), "swapcase": plain(swapCase),
		"strip":  strip(strings.TrimFunc),
		"lstrip": strip(strings.TrimLeftFunc), "rstrip": strip(strings.TrimRightFunc),
		"startswith": affix(strings.HasPrefix), "endswith": affix(strings.HasSuffix),
		"removeprefix": remove(strings.TrimPrefix), "removesuffix": remove(strings.TrimSuffix),
		"split": split(false), "rsplit": split(true), "splitlines": splitLinesOf,
		"partition": partition(strings.Index), "rpartition": partition(strings.LastIndex),
		"find": search("find", strings.Index), "rfind": search("rfind", strings.LastIndex),
		"index": search("index", strings.Index), "rindex": search("rindex", strings.LastIndex),
		"count": search("count", strings.Count),
		"join":  joinOf, "replace": replaceOf, "format": formatOf,
		"center": pad("center"), "ljust": pad("ljust"), "rjust": pad("rjust"), "zfill": zeroFill,
		"isspace": every(IsSpace), "isdecimal": every(unicode.IsDigit), "isdigit": every(isDigit),
		"isalpha": every(unicode.IsLetter),
		"isalnum": every(func(c rune) bool { return unicode.IsLetter(c) || unicode.IsNumber(c) }),
		"isascii": func(_ *Run, s string, a Arguments) (Value, error) {
			_, err := a.Bind("isascii", 0)
			return strings.IndexFunc(s, func(c rune) bool { return c >= utf8.RuneSelf }) < 0, err
		},
		"isupper": cased(isUpper, isLower), "islower": cased(isLower, isUpper),
	}
}

// onText makes a method of one on a plain text. Markup escapes the arguments of its methods
// and returns Markup; that differs where an argument has what HTML escapes.
func onText(name string, m textMethod) method {
	return func(r *Run, of Value, args Arguments) (Value, error) {
		s, _ := TextOf(of)
		if err := r.scan(len(s)); err != nil {
			return nil, err
		}
		_, marked := of.(Markup)
		if !marked {
			return m(r, s, args)
		}
		for _, v := range args.Pos {
			if t, ok := TextOf(v); ok && EscapeHTML(t) != t || name == "join" || name == "format" {
				return nil, fmt.Errorf("%s of a text that is marked as safe is not supported with these arguments", name)
			}
		}
		v, err := m(r, s, args)
		return marking(v), err
	}
}

// marking marks what a method of Markup returns.
func marking(v Value) Value {
	switch v := v.(type) {
	case string:
		return Markup(v)
	case *List:
		for i := range v.Items {
			v.Items[i] = marking(v.Items[i])
		}
	case *Tuple:
		for i := range v.Items {
			v.Items[i] = marking(v.Items[i])
		}
	}
	return v
}

func plain(f func(string) string) textMethod {
	return func(r *Run, s string, a Arguments) (Value, error) {
		if _, err := a.Bind("the method", 0); err != nil {
			return nil, err
		}
		if err := r.Letters(s); err != nil {
			return nil, err
		}
		return f(s), nil
	}
}

// texts binds arguments that are all texts.
func texts(a Arguments, what string, params ...string) ([]string, error) {
	v, err := a.Bind(what, len(params), params...)
	if err != nil {
		return nil, err
	}
	list := make([]string, len(v))
	for i := range v {
		s, ok := TextOf(v[i])
		if !ok {
			return nil, fmt.Errorf("%s: the argument %s must be str, not %s", what, strings.TrimPrefix(params[i], "."), TypeName(v[i]))
		}
		list[i] = s
	}
	return list, nil
}

// Limit returns an optional integer.
func Limit(v Value, otherwise int64) (int64, error) {
	if v == Missing {
		return otherwise, nil
	}
	n, ok := Index(v)
	if !ok {
		return 0, fmt.Errorf("'%s' object cannot be interpreted as an integer", TypeName(v))
	}
	return n, nil
}

func strip(trim func(string, func(rune) bool) string) textMethod {
	return func(r *Run, s string, a Arguments) (Value, error) {
		v, err := a.Bind("strip", 0, ".chars")
		if err != nil {
			return nil, err
		}
		if v[0] == Missing || v[0] == nil {
			return trim(s, IsSpace), nil
		}
		chars, ok := TextOf(v[0])
		if !ok {
			return nil, errors.New("strip arg must be None or str")
		}
		if len(chars) < 64 {
			return trim(s, func(c rune) bool { return strings.ContainsRune(chars, c) }), nil
		}
		set := map[rune]bool{}
		for _, c := range chars {
			set[c] = true
		}
		return trim(s, func(c rune) bool { return set[c] }), r.Step(len(chars))
	}
}

// part returns s[from:to] by characters, and false if from is after the end.
func (r *Run) part(s string, from, to Value) (string, int64, bool, error) {
	length := runes(s)
	var limits [2]int64
	for i, v := range []Value{from, to} {
		n, err := int64(i)*length, error(nil)
		if v != nil {
			n, err = Limit(v, n)
		}
		if err != nil {
			return "", 0, false, err
		}
		if n < 0 {
			n = max(0, n+length)
		}
		limits[i] = n
	}
	if limits[0] > length {
		return "", 0, false, nil
	}
	last := min(limits[1], length)
	if last < limits[0] {
		return "", limits[0], false, nil
	}
	return s[offset(s, limits[0]):offset(s, last)], limits[0], true, nil
}

func affix(has func(s, affix string) bool) textMethod {
	return func(r *Run, s string, a Arguments) (Value, error) {
		v, err := a.Bind("startswith", 1, ".prefix", ".start", ".end")
		if err != nil {
			return nil, err
		}
		s, _, inside, err := r.part(s, v[1], v[2])
		if err != nil {
			return nil, err
		}
		options := []Value{v[0]}
		if t, ok := v[0].(*Tuple); ok {
			options = t.Items
		}
		for _, o := range options {
			text, ok := TextOf(o)
			if !ok {
				return nil, fmt.Errorf("the argument must be str or a tuple of str, not %s", TypeName(o))
			}
			if inside && has(s, text) {
				return true, nil
			}
		}
		return false, nil
	}
}

func remove(trim func(s, affix string) string) textMethod {
	return func(_ *Run, s string, a Arguments) (Value, error) {
		v, err := texts(a, "removeprefix", ".prefix")
		if err != nil {
			return nil, err
		}
		return trim(s, v[0]), nil
	}
}

func replaceOf(r *Run, s string, a Arguments) (Value, error) {
	v, err := a.Bind("replace", 2, ".old", ".new", ".count")
	if err != nil {
		return nil, err
	}
	from, ok1 := TextOf(v[0])
	to, ok2 := TextOf(v[1])
	if !ok1 || !ok2 {
		return nil, errors.New("the arguments of replace must be str")
	}
	n, err := Limit(v[2], -1)
	if err != nil {
		return nil, err
	}
	return r.Replace(s, from, to, n)
}

// Replace is Python's s.replace(from, to, n).
func (r *Run) Replace(s, from, to string, n int64) (string, error) {
	times := int64(strings.Count(s, from))
	if n >= 0 {
		times = min(times, n)
	}
	if err := r.CheckText(len(s) + int(times)*max(0, len(to)-len(from))); err != nil {
		return "", err
	}
	return strings.Replace(s, from, to, int(times)), nil
}

func pad(name string) textMethod {
	return func(r *Run, s string, a Arguments) (Value, error) {
		v, err := a.Bind(name, 1, ".width", ".fillchar")
		if err != nil {
			return nil, err
		}
		width, err := Limit(v[0], 0)
		if err != nil {
			return nil, err
		}
		fill := " "
		if v[1] != Missing {
			var ok bool
			if fill, ok = TextOf(v[1]); !ok || runes(fill) != 1 {
				return nil, errors.New("the fill character must be exactly one character long")
			}
		}
		return r.padded(s, width, fill, name)
	}
}

func (r *Run) padded(s string, width int64, fill, name string) (string, error) {
	n := width - runes(s)
	if n <= 0 {
		return s, nil
	}
	left := map[string]int64{"rjust": n}[name]
	if name == "center" {
		left = n/2 + n&width&1
	}
	before, err := r.RepeatText(fill, left)
	if err != nil {
		return "", err
	}
	after, err := r.RepeatText(fill, n-left)
	if err != nil {
		return "", err
	}
	return before + s + after, r.CheckText(len(before) + len(s) + len(after))
}

func zeroFill(r *Run, s string, a Arguments) (Value, error) {
	v, err := a.Bind("zfill", 1, ".width")
	if err != nil {
		return nil, err
	}
	width, err := Limit(v[0], 0)
	if err != nil {
		return nil, err
	}
	sign := ""
	if s != "" && (s[0] == '-' || s[0] == '+') {
		sign, s = s[:1], s[1:]
		width--
	}
	padded, err := r.padded(s, width, "0", "rjust")
	return sign + padded, err
}

// every is a method that asks whether all characters, at least one, are of a kind.
func every(is func(rune) bool) textMethod {
	return func(_ *Run, s string, a Arguments) (Value, error) {
		_, err := a.Bind("the method", 0)
		return s != "" && strings.IndexFunc(s, func(c rune) bool { return !is(c) }) < 0, err
	}
}

// cased is a method that asks whether there are letters of one case, and none of the other.
func cased(is, other func(rune) bool) textMethod {
	return func(_ *Run, s string, a Arguments) (Value, error) {
		_, err := a.Bind("the method", 0)
		none := func(c rune) bool { return other(c) || unicode.IsTitle(c) }
		return strings.IndexFunc(s, none) < 0 && strings.IndexFunc(s, is) >= 0, err
	}
}
