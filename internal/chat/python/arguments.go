package python

import (
	"fmt"
	"math/big"
	"strings"
)

// Arguments are those of a call.
type Arguments struct {
	Pos []Value
	Kw  []Keyword
}

// A Keyword is an argument with a name.
type Keyword struct {
	Name  string
	Value Value
}

// Add adds a keyword.
func (a *Arguments) Add(name string, v Value) error {
	if len(a.Kw) == MaxParams {
		return fmt.Errorf("more than %d keyword arguments are not supported", MaxParams)
	}
	for _, kw := range a.Kw {
		if kw.Name == name {
			return fmt.Errorf("got multiple values for keyword argument '%s'", name)
		}
	}
	a.Kw = append(a.Kw, Keyword{name, v})
	return nil
}

// TakeKeyword removes a keyword and returns its value.
func (a *Arguments) TakeKeyword(name string) (Value, bool) {
	for i, kw := range a.Kw {
		if kw.Name == name {
			a.Kw = append(a.Kw[:i:i], a.Kw[i+1:]...)
			return kw.Value, true
		}
	}
	return nil, false
}

// Bind returns the values of parameters, missing for those that are not given. A parameter
// whose name begins with a dot has no keyword.
func (a Arguments) Bind(what string, required int, params ...string) ([]Value, error) {
	if len(a.Pos) > len(params) {
		return nil, fmt.Errorf("%s takes at most %d arguments, got %d", what, len(params), len(a.Pos))
	}
	values := make([]Value, len(params))
	taken := 0
	for i, name := range params {
		values[i] = Missing
		if i < len(a.Pos) {
			values[i] = a.Pos[i]
			continue
		}
		for _, kw := range a.Kw {
			if kw.Name == name {
				values[i] = kw.Value
				taken++
			}
		}
		if values[i] == Missing && i < required {
			return nil, fmt.Errorf("%s misses the argument %s", what, strings.TrimPrefix(name, "."))
		}
	}
	if taken < len(a.Kw) {
		for _, kw := range a.Kw {
			if i := indexOf(params, kw.Name); i < len(a.Pos) {
				return nil, fmt.Errorf("%s: keyword argument '%s' is not supported here", what, kw.Name)
			}
		}
	}
	return values, nil
}

func indexOf(list []string, s string) int {
	for i := range list {
		if list[i] == s {
			return i
		}
	}
	return -1
}

// Index returns an integer that fits an int64, or the nearest that does.
func Index(v Value) (int64, bool) {
	if n, ok := v.(*big.Int); ok {
		return int64(n.Sign()) << 62, true
	}
	return SmallInt(v)
}
