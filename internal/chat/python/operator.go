package python

import (
	"fmt"
	"math/big"
	"strings"
)

// Binary applies an operator of arithmetic.
func (r *Run) Binary(op string, a, b Value) (Value, error) {
	if IsNumber(a) && IsNumber(b) {
		return Arithmetic(op, a, b)
	}
	if s, ok := TextOf(a); ok && op == "%" {
		args := []Value{b}
		if t, ok := b.(*Tuple); ok {
			args = t.Items
		}
		_, marked := a.(Markup)
		if marked {
			return nil, fmt.Errorf("%% of a text that is marked as safe is not supported")
		}
		return r.percent(s, args, b)
	}
	for _, v := range []Value{a, b} {
		if u, ok := v.(*Undefined); ok {
			return nil, u.Fail()
		}
	}
	for _, v := range []Value{a, b} {
		if v, ok := v.(*View); ok {
			return nil, fmt.Errorf("an operation on %s is not supported", v.kind)
		}
	}
	switch op {
	case "+":
		if v, ok, err := r.add(a, b); ok || err != nil {
			return v, err
		}
	case "*":
		if v, ok, err := r.repeat(a, b); ok || err != nil {
			return v, err
		}
		if v, ok, err := r.repeat(b, a); ok || err != nil {
			return v, err
		}
	}
	return nil, fmt.Errorf("unsupported operand type(s) for %s: '%s' and '%s'", op, TypeName(a), TypeName(b))
}

// Add joins two texts, lists or tuples.
func (r *Run) add(a, b Value) (v Value, ok bool, err error) {
	if s, ok := TextOf(a); ok {
		t, ok := TextOf(b)
		if !ok {
			return nil, false, nil
		}
		_, aMarked := a.(Markup)
		_, bMarked := b.(Markup)
		if aMarked != bMarked {
			if err := r.CheckText(MaxEscape * (len(s) + len(t))); err != nil {
				return nil, false, err
			}
		}
		switch {
		case aMarked && !bMarked:
			t = EscapeHTML(t)
		case bMarked && !aMarked:
			s = EscapeHTML(s)
		}
		if err := r.CheckText(len(s) + len(t)); err != nil {
			return nil, false, err
		}
		if aMarked || bMarked {
			return Markup(s + t), true, nil
		}
		return s + t, true, nil
	}
	switch a := a.(type) {
	case *List:
		if b, ok := b.(*List); ok {
			items, err := r.joined(a.Items, b.Items)
			return &List{items}, true, err
		}
	case *Tuple:
		if b, ok := b.(*Tuple); ok {
			items, err := r.joined(a.Items, b.Items)
			return &Tuple{items}, true, err
		}
	}
	return nil, false, nil
}

func (r *Run) joined(a, b []Value) ([]Value, error) {
	if err := r.Charge((len(a) + len(b)) * SizeOfItem); err != nil {
		return nil, err
	}
	return append(a[:len(a):len(a)], b...), nil
}

// repeat is a text, list or tuple times a number.
func (r *Run) repeat(a, times Value) (v Value, ok bool, err error) {
	n, isInt := SmallInt(times)
	if big, ok := times.(*big.Int); ok {
		n, isInt = int64(big.Sign())<<40, true
	}
	if !isInt {
		return nil, false, nil
	}
	n = max(0, min(n, 1<<40))
	switch a := a.(type) {
	case string:
		s, err := r.RepeatText(a, n)
		return s, true, err
	case Markup:
		s, err := r.RepeatText(string(a), n)
		return Markup(s), true, err
	case *List:
		items, err := r.RepeatItems(a.Items, n)
		return &List{items}, true, err
	case *Tuple:
		items, err := r.RepeatItems(a.Items, n)
		return &Tuple{items}, true, err
	}
	return nil, false, nil
}

// RepeatText is Python's s * n.
func (r *Run) RepeatText(s string, n int64) (string, error) {
	if s == "" {
		return "", nil
	}
	if n > MaxText {
		return "", ErrText
	}
	if err := r.CheckText(len(s) * int(n)); err != nil {
		return "", err
	}
	return strings.Repeat(s, int(n)), nil
}

// RepeatItems is Python's items * n.
func (r *Run) RepeatItems(items []Value, n int64) ([]Value, error) {
	if len(items) == 0 {
		return nil, nil
	}
	if n > maxMemory/SizeOfItem {
		return nil, errMemory
	}
	if err := r.Charge(len(items) * int(n) * SizeOfItem); err != nil {
		return nil, err
	}
	all := make([]Value, 0, len(items)*int(n))
	for range n {
		all = append(all, items...)
	}
	return all, nil
}

// Compare applies an operator of comparison, which includes in and not in.
func (r *Run) Compare(op string, a, b Value) (bool, error) {
	switch op {
	case "==", "!=":
		same, err := r.Equal(a, b)
		return same == (op == "=="), err
	case "in", "not in":
		found, err := r.contains(b, a)
		return found == (op == "in"), err
	}
	c, ordered, err := r.Order(a, b)
	if err != nil || !ordered {
		return false, err
	}
	switch op {
	case "<":
		return c < 0, nil
	case "<=":
		return c <= 0, nil
	case ">":
		return c > 0, nil
	}
	return c >= 0, nil
}
