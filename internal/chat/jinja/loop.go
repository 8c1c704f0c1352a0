package jinja

import (
	"errors"
	"fmt"

	"thimble/internal/chat/python"
)

// stepsOfItem are the steps of beginning the body of a loop, which makes a scope.
const stepsOfItem = 3

// A loop is the variable loop in the body of a for (LoopContext of Jinja2's runtime.py). It
// reads ahead no further than a template asks.
type loop struct {
	r        *run
	of       python.Value // has a length, or is nil
	it       *python.Iterator
	ahead    []python.Value // read, not yet used
	index0   int64
	before   python.Value
	current  python.Value
	depth0   int64
	n        int64        // or -1
	last     python.Value // of changed
	compared bool
	code     *forLoop
	around   *scope
}

func (n *forLoop) exec(r *run, s *scope) (signal, error) {
	r.line = n.line
	v, err := r.eval(n.of, s)
	if err != nil {
		return proceed, err
	}
	return proceed, n.over(r, v, s, 0)
}

// Over runs the body for each item of v.
func (n *forLoop) over(r *run, v python.Value, s *scope, depth int64) error {
	r.line = n.line
	it, err := r.Iterate(v)
	if err != nil {
		return err
	}
	l := &loop{r: r, of: v, it: it, index0: -1, depth0: depth, n: -1, code: n, around: s}
	if n.test != nil {
		l.of, l.it = nil, n.filtered(r, it, s)
	}
	completed := false
	for {
		item, more, err := l.next()
		if err != nil {
			return err
		}
		if !more {
			break
		}
		if err := r.Step(stepsOfItem); err != nil {
			return err
		}
		inner := newScope(s)
		inner.set("loop", l)
		if err := r.assign(&n.target, item, inner); err != nil {
			return err
		}
		signal, err := r.inner(n.body, inner)
		if err != nil {
			return err
		}
		completed = completed || signal == proceed
		if signal == breakLoop {
			break
		}
	}
	if completed { // in Jinja2, break and continue leave no trace of an item
		return nil
	}
	_, err = r.inner(n.no, newScope(s))
	return err
}

// filtered returns the items for which the test of the loop is true.
func (n *forLoop) filtered(r *run, it *python.Iterator, s *scope) *python.Iterator {
	return &python.Iterator{Next: func() (python.Value, bool, error) {
		for {
			item, more, err := it.Next()
			if err != nil || !more {
				return nil, false, err
			}
			inner := newScope(s)
			if err := r.assign(&n.target, item, inner); err != nil {
				return nil, false, err
			}
			v, err := r.eval(n.test, inner)
			if err != nil {
				return nil, false, err
			}
			if python.Truth(v) {
				return item, true, nil
			}
		}
	}}
}

func (l *loop) next() (python.Value, bool, error) {
	var item python.Value
	if len(l.ahead) > 0 {
		item, l.ahead = l.ahead[0], l.ahead[1:]
	} else {
		next, more, err := l.it.Next()
		if err != nil || !more {
			return nil, false, err
		}
		item = next
	}
	l.index0++
	l.before, l.current = l.current, item
	return item, true, nil
}

// peek reads one item ahead.
func (l *loop) peek() (python.Value, bool, error) {
	if len(l.ahead) == 0 {
		item, more, err := l.it.Next()
		if err != nil || !more {
			return nil, false, err
		}
		l.ahead = append(l.ahead, item)
	}
	return l.ahead[0], true, nil
}

func (l *loop) Len() (int64, error) {
	if l.n >= 0 {
		return l.n, nil
	}
	if _, isIterator := l.of.(*python.Iterator); l.of != nil && !isIterator {
		n, err := l.r.Length(l.of)
		l.n = n
		return n, err
	}
	for {
		item, more, err := l.it.Next()
		if err != nil {
			return 0, err
		}
		if !more {
			break
		}
		if err := l.r.Charge(python.SizeOfItem); err != nil {
			return 0, err
		}
		l.ahead = append(l.ahead, item)
	}
	l.n = l.index0 + 1 + int64(len(l.ahead))
	return l.n, nil
}

func (l *loop) TypeName() string { return "LoopContext" }

func (l *loop) Repr() (string, error) { return "", errors.New("a LoopContext cannot be printed") }

func (l *loop) Attribute(name string) (python.Value, bool, error) {
	v, err := l.attribute(name)
	return v, true, err
}

func (l *loop) attribute(name string) (python.Value, error) {
	switch name {
	case "index":
		return l.index0 + 1, nil
	case "index0":
		return l.index0, nil
	case "first":
		return l.index0 == 0, nil
	case "last":
		_, more, err := l.peek()
		return !more, err
	case "length", "revindex", "revindex0":
		n, err := l.Len()
		switch name {
		case "revindex":
			n -= l.index0
		case "revindex0":
			n -= l.index0 + 1
		}
		return n, err
	case "depth":
		return l.depth0 + 1, nil
	case "depth0":
		return l.depth0, nil
	case "previtem":
		if l.index0 == 0 {
			return &python.Undefined{Why: "there is no previous item"}, nil
		}
		return l.before, nil
	case "nextitem":
		v, more, err := l.peek()
		if err == nil && !more {
			v = &python.Undefined{Why: "there is no next item"}
		}
		return v, err
	case "cycle":
		return &python.Builtin{Name: "cycle", Call: l.cycle}, nil
	case "changed":
		return &python.Builtin{Name: "changed", Call: l.changed}, nil
	}
	return nil, fmt.Errorf("loop.%s is not supported", name)
}

func (l *loop) cycle(_ *python.Run, args python.Arguments) (python.Value, error) {
	if len(args.Pos) == 0 || len(args.Kw) > 0 {
		return nil, errors.New("no items for cycling given")
	}
	return args.Pos[l.index0%int64(len(args.Pos))], nil
}

func (l *loop) changed(r *python.Run, args python.Arguments) (python.Value, error) {
	if len(args.Kw) > 0 {
		return nil, errors.New("changed takes no keyword arguments")
	}
	now := &python.Tuple{Items: args.Pos}
	if l.compared {
		same, err := r.Equal(l.last, now)
		if err != nil || same {
			return false, err
		}
	}
	l.last, l.compared = now, true
	return true, nil
}

// recurse renders the body of a recursive loop for other items.
func (l *loop) recurse(r *run, args python.Arguments) (python.Value, error) {
	if !l.code.recursive {
		return nil, errors.New("the loop must be recursive to be called")
	}
	v, err := args.Bind("loop", 1, "iterable")
	if err != nil {
		return nil, err
	}
	return r.capture(innerBody{statements: []statement{&again{l, v[0]}}}, l.around)
}

// again is the call of a recursive loop.
type again struct {
	l *loop
	v python.Value
}

func (a *again) exec(r *run, s *scope) (signal, error) {
	return proceed, a.l.code.over(r, a.v, s, a.l.depth0+1)
}
