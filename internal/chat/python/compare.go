package python

import (
	"cmp"
	"fmt"
	"math"
	"math/big"
	"strings"
)

// Equal is Python's ==.
func (r *Run) Equal(a, b Value) (bool, error) {
	if err := r.Enter(); err != nil {
		return false, err
	}
	defer r.Leave()
	if IsNumber(a) && IsNumber(b) {
		c, ordered := compareNumbers(a, b)
		return ordered && c == 0, nil
	}
	if s, ok := TextOf(a); ok {
		t, ok := TextOf(b)
		if !ok || len(s) != len(t) {
			return false, nil
		}
		return s == t, r.scan(len(s))
	}
	switch a := a.(type) {
	case *Undefined:
		_, same := b.(*Undefined)
		return same, nil
	case *List:
		if b, ok := b.(*List); ok {
			return r.equalItems(a.Items, b.Items)
		}
		return false, nil
	case *Tuple:
		if b, ok := b.(*Tuple); ok {
			return r.equalItems(a.Items, b.Items)
		}
		return false, nil
	case *Dict:
		b, ok := b.(*Dict)
		if !ok || len(a.Keys) != len(b.Keys) {
			return false, nil
		}
		for i, k := range a.Keys {
			v, found, err := b.get(k)
			if err != nil || !found {
				return false, err
			}
			if same, err := r.Equal(a.Values[i], v); err != nil || !same {
				return false, err
			}
		}
		return true, nil
	case *View:
		if b, ok := b.(*View); ok && a != b {
			return false, fmt.Errorf("comparing %s is not supported", a.kind)
		}
	case *Integers:
		if b, ok := b.(*Integers); ok {
			return a.n == b.n && (a.n == 0 || a.start == b.start && (a.n == 1 || a.step == b.step)), nil
		}
	}
	return a == b, nil
}

func (r *Run) equalItems(a, b []Value) (bool, error) {
	if len(a) != len(b) {
		return false, nil
	}
	for i := range a {
		if same, err := r.Equal(a[i], b[i]); err != nil || !same {
			return false, err
		}
	}
	return true, nil
}

// Order compares two values, as Python's < does. ordered is false for a NaN.
func (r *Run) Order(a, b Value) (c int, ordered bool, err error) {
	if err := r.Enter(); err != nil {
		return 0, false, err
	}
	defer r.Leave()
	if IsNumber(a) && IsNumber(b) {
		c, ordered = compareNumbers(a, b)
		return c, ordered, nil
	}
	s, isText := TextOf(a)
	if t, ok := TextOf(b); ok && isText {
		return strings.Compare(s, t), true, r.scan(min(len(s), len(t))) // the order of UTF-8 is that of code points
	}
	var x, y []Value
	switch a := a.(type) {
	case *List:
		if b, ok := b.(*List); ok {
			x, y = a.Items, b.Items
			return r.orderItems(x, y)
		}
	case *Tuple:
		if b, ok := b.(*Tuple); ok {
			x, y = a.Items, b.Items
			return r.orderItems(x, y)
		}
	case *Undefined:
		return 0, false, a.Fail()
	}
	if u, ok := b.(*Undefined); ok {
		return 0, false, u.Fail()
	}
	return 0, false, fmt.Errorf("'%s' and '%s' cannot be ordered", TypeName(a), TypeName(b))
}

func (r *Run) orderItems(a, b []Value) (int, bool, error) {
	for i := range min(len(a), len(b)) {
		same, err := r.Equal(a[i], b[i])
		if err != nil {
			return 0, false, err
		}
		if !same {
			return r.Order(a[i], b[i])
		}
	}
	return cmp.Compare(len(a), len(b)), true, nil
}

// contains is Python's in.
func (r *Run) contains(container, v Value) (bool, error) {
	if s, ok := TextOf(container); ok {
		part, ok := TextOf(v)
		if !ok {
			return false, fmt.Errorf("'in <string>' requires string as left operand, not %s", TypeName(v))
		}
		return strings.Contains(s, part), r.scan(len(s))
	}
	if d, ok := container.(*Dict); ok {
		_, found, err := d.get(v)
		return found, err
	}
	switch container.(type) {
	case nil, bool, int64, float64, *big.Int, *Namespace, *Builtin, *Func:
		return false, fmt.Errorf("argument of type '%s' is not iterable", TypeName(container))
	}
	if keys, ok := container.(*View); ok && keys.kind == "dict_keys" {
		if _, err := HashOf(v); err != nil {
			return false, err
		}
	}
	it, err := r.Iterate(container)
	if err != nil {
		return false, err
	}
	for {
		item, more, err := it.Next()
		if err != nil || !more {
			return false, err
		}
		if same, err := r.Equal(item, v); err != nil || same {
			return same, err
		}
	}
}

// IsNumber reports whether v is an int, float or bool.
func IsNumber(v Value) bool {
	switch v.(type) {
	case bool, int64, float64, *big.Int:
		return true
	}
	return false
}

func compareNumbers(a, b Value) (c int, ordered bool) {
	x, xFloat := a.(float64)
	y, yFloat := b.(float64)
	switch {
	case xFloat && yFloat:
		if x != x || y != y {
			return 0, false
		}
		return cmp.Compare(x, y), true
	case xFloat:
		c, ordered = compareFloat(x, BigOf(b))
		return c, ordered
	case yFloat:
		c, ordered = compareFloat(y, BigOf(a))
		return -c, ordered
	}
	i, iSmall := SmallInt(a)
	j, jSmall := SmallInt(b)
	if iSmall && jSmall {
		return cmp.Compare(i, j), true
	}
	return BigOf(a).Cmp(BigOf(b)), true
}

// compareFloat compares exactly, as Python does.
func compareFloat(x float64, n *big.Int) (c int, ordered bool) {
	switch {
	case x != x:
		return 0, false
	case math.IsInf(x, 1):
		return 1, true
	case math.IsInf(x, -1):
		return -1, true
	}
	return new(big.Float).SetFloat64(x).Cmp(new(big.Float).SetInt(n)), true
}
