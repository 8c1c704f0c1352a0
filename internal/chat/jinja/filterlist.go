package jinja

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"thimble/internal/chat/python"
)

// Filters of lists and dicts.

func itemsFilter(r *run, v python.Value, a python.Arguments) (python.Value, error) {
	if _, err := a.Bind("items", 0); err != nil {
		return nil, err
	}
	d, ok := v.(*python.Dict)
	if _, isUndefined := v.(*python.Undefined); !ok && !isUndefined {
		return failing(errors.New("can only get item pairs from a mapping")), nil
	}
	if !ok {
		return python.Over(nil), nil
	}
	return python.Over(d.Pairs()), r.Charge(len(d.Keys) * 3 * python.SizeOfItem)
}

func joinFilter(r *run, v python.Value, a python.Arguments) (python.Value, error) {
	args, err := a.Bind("join", 0, "d", "attribute")
	if err != nil {
		return nil, err
	}
	get := func(v python.Value) (python.Value, error) { return v, nil }
	if attribute := given(args[1], nil); attribute != nil {
		if get, err = r.getter(attribute, python.Missing); err != nil {
			return nil, err
		}
	}
	sep, err := r.Str(given(args[0], ""))
	if err != nil {
		return nil, err
	}
	items, err := r.Items(v)
	if err != nil {
		return nil, err
	}
	parts := make([]string, len(items))
	for i, item := range items {
		if item, err = get(item); err != nil {
			return nil, err
		}
		if parts[i], err = r.Str(item); err != nil {
			return nil, err
		}
	}
	return r.Join(parts, sep)
}

// getter returns a function that gets an attribute, such as "a.b" or "a.0".
func (r *run) getter(attribute, otherwise python.Value) (func(python.Value) (python.Value, error), error) {
	var keys []python.Value
	switch name, isText := python.TextOf(attribute); {
	case isText:
		for part := range strings.SplitSeq(name, ".") {
			var key python.Value = part
			if n, err := strconv.ParseInt(part, 10, 32); err == nil && n >= 0 && part[0] != '+' {
				key = n
			}
			keys = append(keys, key)
		}
	case attribute != nil:
		keys = []python.Value{attribute}
	}
	return func(v python.Value) (python.Value, error) {
		for _, key := range keys {
			var err error
			if v, err = r.Getitem(v, key); err != nil {
				return nil, err
			}
			if _, isUndefined := v.(*python.Undefined); isUndefined && otherwise != python.Missing && otherwise != nil {
				v = otherwise
			}
		}
		return v, nil
	}, nil
}

func listFilter(r *run, v python.Value, a python.Arguments) (python.Value, error) {
	if _, err := a.Bind("list", 0); err != nil {
		return nil, err
	}
	items, err := r.Items(v)
	if err != nil {
		return nil, err
	}
	return &python.List{Items: slices.Clip(items)}, nil
}

func firstFilter(r *run, v python.Value, a python.Arguments) (python.Value, error) {
	if _, err := a.Bind("first", 0); err != nil {
		return nil, err
	}
	it, err := r.Iterate(v)
	if err != nil {
		return nil, err
	}
	item, more, err := it.Next()
	if err == nil && !more {
		return &python.Undefined{Why: "No first item, sequence was empty."}, nil
	}
	return item, err
}

func lastFilter(r *run, v python.Value, a python.Arguments) (python.Value, error) {
	if _, err := a.Bind("last", 0); err != nil {
		return nil, err
	}
	it, err := r.reversed(v)
	if err != nil {
		return nil, err
	}
	item, more, err := it.Next()
	if err == nil && !more {
		return &python.Undefined{Why: "No last item, sequence was empty."}, nil
	}
	return item, err
}

// fold is ignore_case: texts compare without case.
func fold(v python.Value) python.Value {
	if s, ok := python.TextOf(v); ok {
		return python.Lower("", s)
	}
	return v
}

// sorted sorts items by keys, stably, as Python does.
func (r *run) sorted(items, keys []python.Value, reverse bool) (python.Value, error) {
	if err := r.Charge(2 * len(items) * python.SizeOfItem); err != nil {
		return nil, err
	}
	at := make([]int, len(items))
	for i := range at {
		at[i] = i
	}
	var failed error
	slices.SortStableFunc(at, func(i, j int) int {
		if failed != nil {
			return 0
		}
		c, ordered, err := r.Order(keys[i], keys[j])
		if err == nil && !ordered {
			err = errors.New("sorting values that have no order is not supported")
		}
		failed = err
		if reverse {
			return -c
		}
		return c
	})
	if failed != nil {
		return nil, failed
	}
	list := make([]python.Value, len(items))
	for i := range at {
		list[i] = items[at[i]]
	}
	return &python.List{Items: list}, nil
}

func dictSort(r *run, v python.Value, a python.Arguments) (python.Value, error) {
	args, err := a.Bind("dictsort", 0, "case_sensitive", "by", "reverse")
	if err != nil {
		return nil, err
	}
	d, ok := v.(*python.Dict)
	if !ok {
		if u, ok := v.(*python.Undefined); ok {
			return nil, u.Fail()
		}
		return nil, fmt.Errorf("dictsort of %s is not supported", python.TypeName(v))
	}
	by := d.Keys
	switch given(args[1], "key") {
	case "key":
	case "value":
		by = d.Values
	default:
		return nil, errors.New(`dictsort sorts by "key" or "value" only`)
	}
	if err := r.Charge(4 * len(by) * python.SizeOfItem); err != nil {
		return nil, err
	}
	keys := slices.Clone(by)
	if !python.Truth(given(args[0], false)) {
		for i := range keys {
			keys[i] = fold(keys[i])
		}
	}
	return r.sorted(d.Pairs(), keys, python.Truth(given(args[2], false)))
}

func sortFilter(r *run, v python.Value, a python.Arguments) (python.Value, error) {
	args, err := a.Bind("sort", 0, "reverse", "case_sensitive", "attribute")
	if err != nil {
		return nil, err
	}
	items, err := r.Items(v)
	if err != nil {
		return nil, err
	}
	var getters []func(python.Value) (python.Value, error)
	attributes := []python.Value{given(args[2], nil)}
	if s, ok := python.TextOf(attributes[0]); ok {
		attributes = nil
		for part := range strings.SplitSeq(s, ",") {
			attributes = append(attributes, part)
		}
	}
	for _, attribute := range attributes {
		get, err := r.getter(attribute, python.Missing)
		if err != nil {
			return nil, err
		}
		getters = append(getters, get)
	}
	keys := make([]python.Value, len(items))
	for i, item := range items {
		key := make([]python.Value, len(getters))
		if err := r.Charge(len(getters) * python.SizeOfItem); err != nil {
			return nil, err
		}
		for j, get := range getters {
			if key[j], err = get(item); err != nil {
				return nil, err
			}
			if !python.Truth(given(args[1], false)) {
				key[j] = fold(key[j])
			}
		}
		keys[i] = &python.List{Items: key}
	}
	return r.sorted(items, keys, python.Truth(given(args[0], false)))
}

func sumFilter(r *run, v python.Value, a python.Arguments) (python.Value, error) {
	args, err := a.Bind("sum", 0, "attribute", "start")
	if err != nil {
		return nil, err
	}
	get, err := r.getter(given(args[0], nil), python.Missing)
	if err != nil {
		return nil, err
	}
	total := given(args[1], int64(0))
	if _, isText := python.TextOf(total); isText {
		return nil, errors.New("sum() can't sum strings")
	}
	it, err := r.Iterate(v)
	if err != nil {
		return nil, err
	}
	for {
		item, more, err := it.Next()
		if err != nil || !more {
			return total, err
		}
		if item, err = get(item); err != nil {
			return nil, err
		}
		if total, err = r.Binary("+", total, item); err != nil {
			return nil, err
		}
	}
}

// extreme is min (sign -1) or max (1).
func extreme(sign int) filterFunc {
	return func(r *run, v python.Value, a python.Arguments) (python.Value, error) {
		args, err := a.Bind("min or max", 0, "case_sensitive", "attribute")
		if err != nil {
			return nil, err
		}
		get, err := r.getter(given(args[1], nil), python.Missing)
		if err != nil {
			return nil, err
		}
		items, err := r.Items(v)
		if err != nil {
			return nil, err
		}
		var best, bestKey python.Value = &python.Undefined{Why: "No aggregated item, sequence was empty."}, nil
		for i, item := range items {
			key, err := get(item)
			if err != nil {
				return nil, err
			}
			if !python.Truth(given(args[0], false)) {
				key = fold(key)
			}
			c := sign
			if i > 0 {
				var ordered bool
				if c, ordered, err = r.Order(key, bestKey); err != nil {
					return nil, err
				} else if !ordered {
					c = 0
				}
			}
			if c*sign > 0 {
				best, bestKey = item, key
			}
		}
		return best, nil
	}
}
