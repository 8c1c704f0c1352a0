package python

import (
	"errors"
	"fmt"
	"math"
	"math/big"
	"strings"
	"unicode/utf8"
)

// A Value is a value of a template: nil (None), bool, int64, *big.Int outside of int64,
// float64, string, and the types below. They behave as Python's types do.
//
// No Value is a Go slice or map, so that comparing two with == cannot panic.
type Value any

// A List is a Python list. Templates cannot change one, as in Jinja2's
// ImmutableSandboxedEnvironment.
type List struct{ Items []Value }

// A Tuple is a Python tuple.
type Tuple struct{ Items []Value }

// A Dict is a Python dict: it keeps its keys in the order of insertion.
type Dict struct {
	Keys, Values []Value
	index        map[any]int // of the keys by hash; nil while there are few
}

// A Markup is a text that the filters safe and escape return (markupsafe.Markup). Adding it to a
// text escapes that text.
type Markup string

// An Undefined is what Jinja2 has for an unknown name or attribute. It prints as nothing; all
// else fails with why.
type Undefined struct{ Why string }

// Integers are a Python range.
type Integers struct{ start, stop, step, n int64 } // range, with n values

// A View is what keys, values and items of a dict return.
type View struct {
	kind  string
	Items []Value
}

// An Iterator is a Python iterator: it has no length, and ends once.
type Iterator struct {
	Next func() (v Value, more bool, err error)
}

// A Namespace is what namespace() returns, the only value that a template can change.
type Namespace struct{ Attributes Dict }

// An Object is a value of another package.
type Object interface {
	TypeName() string
	Repr() (string, error)
	Len() (int64, error)
	Attribute(name string) (v Value, ok bool, err error)
}

// Set sets an attribute.
func (ns *Namespace) Set(name string, v Value) error {
	if name[0] == '_' {
		return fmt.Errorf("a namespace cannot have the attribute '%s'", name)
	}
	ns.Attributes.Set(name, v)
	return nil
}

// A Func is a function that a template can call. Its arguments have no keywords.
type Func struct {
	Name string
	Call func(args []Value) (Value, error)
}

// A Builtin is a function of Jinja2, or a method of a value.
type Builtin struct {
	Name string
	Call func(r *Run, args Arguments) (Value, error)
}

// Missing marks an argument that is not given.
type absent struct{}

// Missing marks an argument that is not given.
var Missing Value = absent{}

// NewDict returns an empty dict.
func NewDict() *Dict { return &Dict{} }

// Set adds or replaces a value.
func (d *Dict) Set(key string, v Value) { d.set(key, key, v) }

// Few is how many keys a Dict compares one by one.
const Few = 8

func (d *Dict) find(hash any) int {
	if d.index != nil {
		if i, ok := d.index[hash]; ok {
			return i
		}
		return -1
	}
	for i, k := range d.Keys {
		if s, ok := k.(string); ok {
			if s == hash {
				return i
			}
		} else if h, err := HashOf(k); err == nil && h == hash {
			return i
		}
	}
	return -1
}

func (d *Dict) set(hash any, key, v Value) {
	if i := d.find(hash); i >= 0 {
		d.Values[i] = v
		return
	}
	if d.index != nil {
		d.index[hash] = len(d.Keys)
	}
	d.Keys, d.Values = append(d.Keys, key), append(d.Values, v)
	if d.index == nil && len(d.Keys) > Few {
		d.index = make(map[any]int, 2*Few)
		for i, k := range d.Keys {
			if h, err := HashOf(k); err == nil {
				d.index[h] = i
			}
		}
	}
}

// get returns the value of a key, which must be hashable.
func (d *Dict) get(key Value) (Value, bool, error) {
	h, err := HashOf(key)
	if err != nil {
		return nil, false, err
	}
	if i := d.find(h); i >= 0 {
		return d.Values[i], true, nil
	}
	return nil, false, nil
}

// Put adds or replaces a value.
func (d *Dict) Put(key, v Value) error {
	h, err := HashOf(key)
	if err == nil {
		d.set(h, key, v)
	}
	return err
}

// Pairs returns tuples of a key and a value.
func (d *Dict) Pairs() []Value {
	items := make([]Value, len(d.Keys))
	for i := range d.Keys {
		items[i] = &Tuple{[]Value{d.Keys[i], d.Values[i]}}
	}
	return items
}

// Hashes of values that have no Go value of their own. Values that are equal have equal hashes.
type (
	noneHash      struct{}
	undefinedHash struct{}
	bigHash       string
	tupleHash     string
)

// maxKey is the most values of a tuple that is a key, with one more for every 64 bytes of its
// texts.
const maxKey = 1024

var errKey = fmt.Errorf("a key of more than %d values is not supported", maxKey)

// HashOf returns what is equal for equal keys of a dict.
func HashOf(v Value) (any, error) {
	left := maxKey
	return hashOf(v, &left)
}

// hashOf is HashOf of what may be part of a tuple. left is what the tuple may still hold.
func hashOf(v Value, left *int) (any, error) {
	switch v := v.(type) {
	case nil:
		return noneHash{}, nil
	case bool:
		if v {
			return int64(1), nil
		}
		return int64(0), nil
	case float64:
		if v == math.Trunc(v) && math.Abs(v) < 1<<62 {
			return int64(v), nil
		} else if v == math.Trunc(v) && !math.IsInf(v, 0) {
			n, _ := big.NewFloat(v).Int(nil)
			return bigHash(n.String()), nil
		}
		return v, nil
	case *big.Int:
		return bigHash(v.String()), nil
	case Markup:
		return string(v), nil
	case *Undefined:
		return undefinedHash{}, nil
	case *Tuple:
		return hashOfTuple(v, left)
	case *List, *Dict, *View:
		return nil, fmt.Errorf("unhashable type: '%s'", TypeName(v))
	}
	return v, nil
}

func hashOfTuple(v *Tuple, left *int) (any, error) {
	var b strings.Builder
	for _, item := range v.Items {
		if s, ok := TextOf(item); ok {
			*left -= len(s) / 64
		}
		if *left--; *left < 0 {
			return nil, errKey
		}
		h, err := hashOf(item, left)
		if err != nil {
			return nil, err
		}
		text := fmt.Sprintf("%T %v", h, h)
		fmt.Fprintf(&b, "%d %s,", len(text), text)
	}
	return tupleHash(b.String()), nil
}

// TypeName is the name of the type in Python.
func TypeName(v Value) string {
	switch v := v.(type) {
	case nil:
		return "NoneType"
	case bool:
		return "bool"
	case int64, *big.Int:
		return "int"
	case float64:
		return "float"
	case string:
		return "str"
	case Markup:
		return "Markup"
	case *List:
		return "list"
	case *Tuple:
		return "tuple"
	case *Dict:
		return "dict"
	case *Undefined:
		return "Undefined"
	case *Integers:
		return "range"
	case *View:
		return v.kind
	case *Iterator:
		return "generator"
	case *Namespace:
		return "Namespace"
	case Object:
		return v.TypeName()
	}
	return "function"
}

// TextOf returns the text of a str, which markup is too.
func TextOf(v Value) (string, bool) {
	switch v := v.(type) {
	case string:
		return v, true
	case Markup:
		return string(v), true
	}
	return "", false
}

// Truth is Python's bool.
func Truth(v Value) bool {
	switch v := v.(type) {
	case nil, *Undefined:
		return false
	case bool:
		return v
	case int64:
		return v != 0
	case float64:
		return v != 0
	case string:
		return v != ""
	case Markup:
		return v != ""
	case *List:
		return len(v.Items) > 0
	case *Tuple:
		return len(v.Items) > 0
	case *Dict:
		return len(v.Keys) > 0
	case *Integers:
		return v.n > 0
	case *View:
		return len(v.Items) > 0
	}
	return true
}

// Length is Python's len.
func (r *Run) Length(v Value) (int64, error) {
	switch v := v.(type) {
	case string:
		return r.runes(v)
	case Markup:
		return r.runes(string(v))
	case *List:
		return int64(len(v.Items)), nil
	case *Tuple:
		return int64(len(v.Items)), nil
	case *Dict:
		return int64(len(v.Keys)), nil
	case *Integers:
		return v.n, nil
	case *View:
		return int64(len(v.Items)), nil
	case *Undefined:
		return 0, nil
	case Object:
		return v.Len()
	}
	return 0, fmt.Errorf("object of type '%s' has no len()", TypeName(v))
}

// Iterate is Python's iter.
func (r *Run) Iterate(v Value) (*Iterator, error) {
	switch v := v.(type) {
	case *Iterator:
		return v, nil
	case *Undefined:
		return Over(nil), nil
	case *List:
		return Over(v.Items), nil
	case *Tuple:
		return Over(v.Items), nil
	case *Dict:
		return Over(v.Keys), nil
	case *View:
		return Over(v.Items), nil
	case *Integers:
		i := int64(0)
		return &Iterator{func() (Value, bool, error) {
			if i == v.n {
				return nil, false, nil
			}
			i++
			return v.start + (i-1)*v.step, true, nil
		}}, nil
	case Object:
		return nil, fmt.Errorf("iterating over %s is not supported", v.TypeName())
	}
	if s, ok := TextOf(v); ok {
		return &Iterator{func() (Value, bool, error) {
			if s == "" {
				return nil, false, nil
			}
			n := FirstRune(s)
			c := character(s[:n])
			s = s[n:]
			return c, true, nil
		}}, nil
	}
	return nil, fmt.Errorf("'%s' object is not iterable", TypeName(v))
}

// characters are the texts of one byte, so that templates that read a text do not make them
// again and again.
var characters [utf8.RuneSelf]Value

func init() {
	for c := range characters {
		characters[c] = string(rune(c))
	}
}

// character returns a text of one character as a value.
func character(s string) Value {
	if s[0] < utf8.RuneSelf {
		return characters[s[0]]
	}
	return s
}

// Over iterates over items.
func Over(items []Value) *Iterator {
	i := 0
	return &Iterator{func() (Value, bool, error) {
		if i == len(items) {
			return nil, false, nil
		}
		i++
		return items[i-1], true, nil
	}}
}

// Items returns all that v iterates over. The slice may be part of v.
func (r *Run) Items(v Value) ([]Value, error) {
	switch v := v.(type) {
	case *List:
		return v.Items, nil
	case *Tuple:
		return v.Items, nil
	case *Dict:
		return v.Keys, nil
	case *View:
		return v.Items, nil
	}
	it, err := r.Iterate(v)
	if err != nil {
		return nil, err
	}
	var items []Value
	for {
		item, more, err := it.Next()
		if err != nil || !more {
			return items, err
		}
		if err := r.Charge(SizeOfItem); err != nil {
			return nil, err
		}
		items = append(items, item)
	}
}

// Fail returns the error of using u.
func (u *Undefined) Fail() error { return errors.New(u.Why) }
