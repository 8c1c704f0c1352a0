package jinja

import (
	"fmt"

	"thimble/internal/chat/python"
)

// A testFunc is a test of Jinja2 (tests.py).
type testFunc func(r *run, v python.Value, args python.Arguments) (bool, error)

// otherTests are those of Jinja2 that are not here.
const otherTests = ""

var tests map[string]testFunc

func init() { // filter and test are tests
	tests = map[string]testFunc{
		"defined":   kindTest(func(v python.Value) bool { _, is := v.(*python.Undefined); return !is }),
		"undefined": kindTest(func(v python.Value) bool { _, is := v.(*python.Undefined); return is }),
		"none":      kindTest(func(v python.Value) bool { return v == nil }),
		"boolean":   kindTest(func(v python.Value) bool { _, is := v.(bool); return is }),
		"true":      kindTest(func(v python.Value) bool { return v == true }),
		"false":     kindTest(func(v python.Value) bool { return v == false }),
		"integer":   kindTest(func(v python.Value) bool { _, is := v.(bool); return !is && python.TypeName(v) == "int" }),
		"float":     kindTest(func(v python.Value) bool { _, is := v.(float64); return is }),
		"number":    kindTest(python.IsNumber),
		"string":    kindTest(func(v python.Value) bool { _, is := python.TextOf(v); return is }),
		"escaped":   kindTest(func(v python.Value) bool { _, is := v.(python.Markup); return is }),
		"mapping":   kindTest(func(v python.Value) bool { _, is := v.(*python.Dict); return is }),
		"sequence":  kindTest(isSequence),
		"iterable":  kindTest(isIterable),
		"callable":  kindTest(isCallable),
		"odd": func(r *run, v python.Value, a python.Arguments) (bool, error) {
			return r.remainder(v, int64(2), a, int64(1))
		},
		"even": func(r *run, v python.Value, a python.Arguments) (bool, error) {
			return r.remainder(v, int64(2), a, int64(0))
		},
		"divisibleby": func(r *run, v python.Value, a python.Arguments) (bool, error) {
			n, err := a.Bind("divisibleby", 1, "num")
			if err != nil {
				return false, err
			}
			return r.remainder(v, n[0], python.Arguments{}, int64(0))
		},
		"lower":  caseTest("str.islower"),
		"upper":  caseTest("str.isupper"),
		"sameas": sameAs,
		"filter": nameTest(func(s string) bool { return filters[s] != nil || python.IsWord(otherFilters, s) }),
		"test":   nameTest(func(s string) bool { return tests[s] != nil }),
	}
	for op, names := range map[string][]string{
		"==": {"==", "eq", "equalto"}, "!=": {"!=", "ne"}, "<": {"<", "lt", "lessthan"}, "<=": {"<=", "le"},
		">": {">", "gt", "greaterthan"}, ">=": {">=", "ge"}, "in": {"in"},
	} {
		for _, name := range names {
			tests[name] = func(r *run, v python.Value, a python.Arguments) (bool, error) {
				other, err := a.Bind(name, 1, ".other")
				if err != nil {
					return false, err
				}
				return r.Compare(op, v, other[0])
			}
		}
	}
}

// kindTest is a test without arguments.
func kindTest(is func(python.Value) bool) testFunc {
	return func(_ *run, v python.Value, a python.Arguments) (bool, error) {
		if _, err := a.Bind("the test", 0); err != nil {
			return false, err
		}
		return is(v), nil
	}
}

func isSequence(v python.Value) bool {
	switch v.(type) {
	case string, python.Markup, *python.List, *python.Tuple, *python.Dict, *python.Integers, *python.Undefined:
		return true
	}
	return false
}

func isIterable(v python.Value) bool {
	switch v.(type) {
	case *python.View, *python.Iterator, *loop:
		return true
	}
	return isSequence(v)
}

func isCallable(v python.Value) bool {
	switch v.(type) {
	case *python.Builtin, *macro, *python.Func, *loop, *python.Undefined:
		return true
	}
	return false
}

// remainder reports whether v % by is rest.
func (r *run) remainder(v, by python.Value, a python.Arguments, rest int64) (bool, error) {
	if _, err := a.Bind("the test", 0); err != nil {
		return false, err
	}
	left, err := r.Binary("%", v, by)
	if err != nil {
		return false, err
	}
	return r.Equal(left, rest)
}

func caseTest(method string) testFunc {
	return func(r *run, v python.Value, a python.Arguments) (bool, error) {
		s, err := r.Str(v)
		if err != nil {
			return false, err
		}
		is, err := python.Methods[method](&r.Run, s, a)
		return is == true, err
	}
}

// sameAs is Python's is, where that does not depend on how Python keeps values.
func sameAs(_ *run, v python.Value, a python.Arguments) (bool, error) {
	other, err := a.Bind("sameas", 1, "other")
	if err != nil {
		return false, err
	}
	switch v.(type) {
	case int64, float64, string, python.Markup, *python.Tuple:
		if python.TypeName(other[0]) == python.TypeName(v) {
			return false, fmt.Errorf("sameas of two %s is not supported", python.TypeName(v))
		}
	}
	return v == other[0], nil
}

// nameTest is a test of what its operand names.
func nameTest(known func(string) bool) testFunc {
	return func(_ *run, v python.Value, a python.Arguments) (bool, error) {
		if _, err := a.Bind("the test", 0); err != nil {
			return false, err
		}
		if s, ok := python.TextOf(v); ok {
			return known(s), nil
		}
		_, err := python.HashOf(v)
		return false, err
	}
}
