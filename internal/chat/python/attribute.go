package python

import (
	"errors"
	"fmt"
	"math"
	"strings"
)

// Attributes are those that Python's types have, as templates see them: a name that begins
// with an underscore is never allowed.
var attributesOf = map[string]string{
	"str":        "capitalize casefold center count encode endswith expandtabs find format format_map index isalnum isalpha isascii isdecimal isdigit isidentifier islower isnumeric isprintable isspace istitle isupper join ljust lower lstrip maketrans partition removeprefix removesuffix replace rfind rindex rjust rpartition rsplit rstrip split splitlines startswith strip swapcase title translate upper zfill",
	"list":       "append clear copy count extend index insert pop remove reverse sort",
	"tuple":      "count index",
	"dict":       "clear copy fromkeys get items keys pop popitem setdefault update values",
	"int":        "as_integer_ratio bit_count bit_length conjugate denominator from_bytes imag numerator real to_bytes",
	"float":      "as_integer_ratio conjugate fromhex hex imag is_integer real",
	"range":      "count index start step stop",
	"dict_items": "isdisjoint mapping", "dict_keys": "isdisjoint mapping", "dict_values": "mapping",
	"generator": "close gi_code gi_frame gi_running gi_suspended gi_yieldfrom send throw",
	"function":  "",
}

// changing are the methods that change a list or dict, which the sandbox refuses.
var changing = map[string]string{
	"list": "append clear pop reverse insert sort extend remove",
	"dict": "clear pop popitem setdefault update",
}

// known has the attributes of each type, and true for those that change it.
var known = map[string]map[string]bool{}

func init() {
	for kind, list := range attributesOf {
		known[kind] = map[string]bool{}
		for _, name := range strings.Fields(list) {
			known[kind][name] = IsWord(changing[kind], name)
		}
	}
}

// IsWord reports whether word is one of those in list.
func IsWord(list, word string) bool {
	return word != "" && !strings.Contains(word, " ") && strings.Contains(" "+list+" ", " "+word+" ")
}

// OwnAttribute returns what Python's getattr returns, and false if there is no such
// attribute.
func (r *Run) OwnAttribute(of Value, name string) (v Value, ok bool, err error) {
	switch of := of.(type) {
	case *Undefined:
		if name == "__class__" {
			return unsafe(of, name), true, nil
		}
		return nil, false, of.Fail()
	case *Namespace:
		i := of.Attributes.find(name)
		if i < 0 {
			return nil, false, nil
		}
		return of.Attributes.Values[i], true, nil
	case Object:
		return of.Attribute(name)
	}
	kind := TypeName(of)
	switch kind {
	case "bool":
		kind = "int"
	case "Markup":
		kind = "str"
	}
	changes, exists := known[kind][name]
	switch {
	case strings.HasPrefix(name, "__") || changes:
		return unsafe(of, name), true, nil
	case !exists:
		return nil, false, nil
	}
	if m := Methods[kind+"."+name]; m != nil {
		return &Builtin{kind + "." + name, func(r *Run, args Arguments) (Value, error) {
			return m(r, of, args)
		}}, true, nil
	}
	return nil, false, fmt.Errorf("%s.%s is not supported", kind, name)
}

// unsafe is an undefined for what the sandbox forbids.
func unsafe(of Value, name string) *Undefined {
	return &Undefined{fmt.Sprintf("access to attribute '%s' of '%s' object is unsafe", Shortened(name), TypeName(of))}
}

// Getattr is of.name: an attribute, or else an item.
func (r *Run) Getattr(of Value, name string) (Value, error) {
	v, ok, err := r.OwnAttribute(of, name)
	if ok || err != nil {
		return v, err
	}
	if d, isDict := of.(*Dict); isDict {
		if i := d.find(name); i >= 0 {
			return d.Values[i], nil
		}
	}
	return NoAttribute(of, name), nil
}

// NoAttribute is the undefined for an attribute that a value does not have.
func NoAttribute(of Value, name string) *Undefined {
	return &Undefined{"'" + TypeName(of) + " object' has no attribute '" + Shortened(name) + "'"}
}

// Getitem is of[key]: an item, or else an attribute.
func (r *Run) Getitem(of, key Value) (Value, error) {
	v, ok, err := r.item(of, key)
	if ok || err != nil {
		return v, err
	}
	name, isText := TextOf(key)
	if !isText {
		return &Undefined{fmt.Sprintf("'%s object' has no such element", TypeName(of))}, nil
	}
	v, ok, err = r.OwnAttribute(of, name)
	if ok || err != nil {
		return v, err
	}
	return NoAttribute(of, name), nil
}

// item is Python's of[key], and false if that fails with a TypeError or LookupError.
func (r *Run) item(of, key Value) (v Value, ok bool, err error) {
	switch of := of.(type) {
	case *Undefined:
		return nil, false, of.Fail()
	case *Dict:
		h, err := HashOf(key)
		if err == errKey {
			return nil, false, err
		} else if err != nil {
			return nil, false, nil
		}
		if i := of.find(h); i >= 0 {
			return of.Values[i], true, nil
		}
		return nil, false, nil
	case *List:
		return at(of.Items, key)
	case *Tuple:
		return at(of.Items, key)
	case *Integers:
		i, isInt := Index(key)
		if i < 0 {
			i += of.n
		}
		if !isInt || i < 0 || i >= of.n {
			return nil, false, nil
		}
		return of.start + i*of.step, true, nil
	}
	s, isText := TextOf(of)
	i, isInt := Index(key)
	if !isText || !isInt {
		return nil, false, nil
	}
	n, err := r.runes(s)
	if i < 0 {
		i += n
	}
	if err == nil && n == int64(len(s)) && i >= 0 && i < n {
		return character(s[i : i+1]), true, nil
	}
	if err != nil {
		return nil, false, err
	}
	if i < 0 || i >= int64(len(s)) {
		return nil, false, nil
	}
	from := offset(s, i)
	if from == len(s) {
		return nil, false, nil
	}
	return s[from : from+FirstRune(s[from:])], true, nil
}

func at(items []Value, key Value) (Value, bool, error) {
	i, isInt := Index(key)
	if i < 0 {
		i += int64(len(items))
	}
	if !isInt || i < 0 || i >= int64(len(items)) {
		return nil, false, nil
	}
	return items[i], true, nil
}

// Slice is Python's of[from:to:step].
func (r *Run) Slice(of Value, from, to, step *int64) (Value, error) {
	if step != nil && *step == 0 {
		return nil, errors.New("slice step cannot be zero")
	}
	switch of := of.(type) {
	case *List:
		items, err := r.sliceItems(of.Items, from, to, step)
		return &List{items}, err
	case *Tuple:
		items, err := r.sliceItems(of.Items, from, to, step)
		return &Tuple{items}, err
	case *Undefined:
		return nil, of.Fail()
	case *Integers:
		return nil, errors.New("slices of a range are not supported")
	}
	s, ok := TextOf(of)
	if !ok {
		return nil, fmt.Errorf("a slice of a %s is not supported", TypeName(of))
	}
	length, err := r.runes(s)
	if err != nil {
		return nil, err
	}
	if step == nil || *step == 1 {
		i, n, _ := bounds(from, to, step, length)
		if n == 0 {
			return "", nil
		}
		if length == int64(len(s)) {
			return s[i : i+n], nil
		}
		start := offset(s, i)
		return s[start : start+offset(s[start:], n)], nil
	}
	if len(s) > MaxText/8 {
		return nil, ErrText
	}
	if err := r.Charge(5 * len(s)); err != nil {
		return nil, err
	}
	all := []rune(s)
	i, n, by := bounds(from, to, step, int64(len(all)))
	var b strings.Builder
	for ; n > 0; n-- {
		b.WriteRune(all[i])
		i += by
	}
	return b.String(), nil
}

func (r *Run) sliceItems(items []Value, from, to, step *int64) ([]Value, error) {
	i, n, by := bounds(from, to, step, int64(len(items)))
	if by == 1 {
		return items[i : i+n : i+n], nil
	}
	if err := r.Charge(int(n) * SizeOfItem); err != nil {
		return nil, err
	}
	some := make([]Value, 0, n)
	for ; n > 0; n-- {
		some = append(some, items[i])
		i += by
	}
	return some, nil
}

// bounds returns the first index of a slice, the number of items, and the step
// (PySlice_AdjustIndices).
func bounds(from, to, step *int64, length int64) (first, n, by int64) {
	by = 1
	if step != nil {
		by = max(-1<<62, min(*step, 1<<62))
	}
	low, high := int64(0), length
	if by < 0 {
		low, high = -1, length-1
	}
	clamp := func(i *int64, otherwise int64) int64 {
		if i == nil {
			return otherwise
		}
		v := *i
		if v < 0 {
			v += length
		}
		return max(low, min(v, high))
	}
	var last int64
	if by > 0 {
		first, last = clamp(from, low), clamp(to, high)
		if first < last {
			n = (last-first-1)/by + 1
		}
	} else {
		first, last = clamp(from, high), clamp(to, low)
		if last < first {
			n = (first-last-1)/-by + 1
		}
	}
	if n == 0 {
		first = 0
	}
	return first, n, by
}

// A method is a method of a Python type.
type method func(r *Run, of Value, args Arguments) (Value, error)

// Methods are the methods of the types, such as "str.strip".
var Methods map[string]method

func init() { // methods call others by name
	Methods = map[string]method{
		"dict.get": func(_ *Run, of Value, a Arguments) (Value, error) {
			v, err := a.Bind("get", 1, ".key", ".default")
			if err != nil {
				return nil, err
			}
			found, ok, err := of.(*Dict).get(v[0])
			if ok || err != nil {
				return found, err
			}
			if v[1] == Missing {
				return nil, nil
			}
			return v[1], nil
		},
		"dict.keys":   dictView("dict_keys", func(d *Dict) []Value { return d.Keys }),
		"dict.values": dictView("dict_values", func(d *Dict) []Value { return d.Values }),
		"dict.items":  dictView("dict_items", (*Dict).Pairs),
		"dict.copy":   same, "list.copy": same,
		"list.count": countItems, "tuple.count": countItems,
		"list.index": indexOfItem, "tuple.index": indexOfItem,
		"float.is_integer": func(_ *Run, of Value, a Arguments) (Value, error) {
			if _, err := a.Bind("is_integer", 0); err != nil {
				return nil, err
			}
			f := of.(float64)
			return f == math.Trunc(f) && !math.IsInf(f, 0), nil
		},
	}
	for name, m := range textMethods() {
		Methods["str."+name] = onText(name, m)
	}
}

func dictView(kind string, items func(*Dict) []Value) method {
	return func(r *Run, of Value, a Arguments) (Value, error) {
		if _, err := a.Bind(kind, 0); err != nil {
			return nil, err
		}
		d := of.(*Dict)
		return &View{kind, items(d)}, r.Charge(len(d.Keys) * 3 * SizeOfItem)
	}
}

// same copies what no template can change.
func same(_ *Run, of Value, a Arguments) (Value, error) {
	_, err := a.Bind("copy", 0)
	switch of := of.(type) {
	case *List:
		return &List{of.Items}, err
	case *Dict:
		d := *of
		return &d, err
	}
	return of, err
}

func countItems(r *Run, of Value, a Arguments) (Value, error) {
	v, err := a.Bind("count", 1, ".value")
	if err != nil {
		return nil, err
	}
	items, err := r.Items(of)
	n := int64(0)
	for _, item := range items {
		equal, err := r.Equal(item, v[0])
		if err != nil {
			return nil, err
		}
		if equal {
			n++
		}
	}
	return n, err
}

func indexOfItem(r *Run, of Value, a Arguments) (Value, error) {
	v, err := a.Bind("index", 1, ".value")
	if err != nil {
		return nil, err
	}
	items, err := r.Items(of)
	if err != nil {
		return nil, err
	}
	for i, item := range items {
		equal, err := r.Equal(item, v[0])
		if err != nil || equal {
			return int64(i), err
		}
	}
	return nil, errors.New("the value is not in the list")
}
