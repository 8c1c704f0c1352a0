package python

import (
	"errors"
	"fmt"
)

// Range is Python's range, with the limit of Jinja2's sandbox.
func Range(_ *Run, a Arguments) (Value, error) {
	v, err := a.Bind("range", 1, ".start", ".stop", ".step")
	if err != nil {
		return nil, err
	}
	var n [3]int64
	for i := range n {
		if n[i], err = Limit(v[i], int64(i)/2); err != nil {
			return nil, err
		}
		if n[i] > 1<<60 || n[i] < -1<<60 {
			return nil, errors.New("range of such numbers is not supported")
		}
	}
	if v[1] == Missing {
		n[0], n[1] = 0, n[0]
	}
	if n[2] == 0 {
		return nil, errors.New("range() arg 3 must not be zero")
	}
	count := int64(0)
	if n[2] > 0 && n[0] < n[1] {
		count = (n[1]-n[0]-1)/n[2] + 1
	} else if n[2] < 0 && n[0] > n[1] {
		count = (n[0]-n[1]-1)/-n[2] + 1
	}
	if count > MaxRange {
		return nil, fmt.Errorf("a range has more than %d numbers", MaxRange)
	}
	return &Integers{n[0], n[1], n[2], count}, nil
}

// DictFrom is Python's dict.
func DictFrom(r *Run, a Arguments) (*Dict, error) {
	d := NewDict()
	if len(a.Pos) > 1 {
		return nil, fmt.Errorf("dict expected at most 1 argument, got %d", len(a.Pos))
	}
	for _, from := range a.Pos {
		var pairs []Value
		if of, ok := from.(*Dict); ok {
			pairs = of.Pairs()
		} else {
			var err error
			if pairs, err = r.Items(from); err != nil {
				return nil, err
			}
		}
		for _, p := range pairs {
			pair, err := r.Items(p)
			if err != nil {
				return nil, err
			}
			if len(pair) != 2 {
				return nil, errors.New("dict takes pairs of a key and a value")
			}
			if err := d.Put(pair[0], pair[1]); err != nil {
				return nil, err
			}
		}
	}
	for _, kw := range a.Kw {
		d.Set(kw.Name, kw.Value)
	}
	return d, r.Charge(3 * len(d.Keys) * SizeOfItem)
}

// NamespaceFrom is namespace of Jinja2.
func NamespaceFrom(r *Run, a Arguments) (Value, error) {
	d, err := DictFrom(r, a)
	if err != nil {
		return nil, err
	}
	ns := &Namespace{}
	for i, k := range d.Keys {
		name, ok := k.(string)
		if !ok || name == "" {
			return nil, errors.New("the attributes of a namespace are texts")
		}
		if err := ns.Set(name, d.Values[i]); err != nil {
			return nil, err
		}
	}
	return ns, nil
}
