// Package jinja runs chat templates as Jinja2 does in the way that transformers sets it up:
// an ImmutableSandboxedEnvironment with trim_blocks, lstrip_blocks and loopcontrols, its own
// tojson, and the tag generation. Values behave as Python's do.
//
// A template is an untrusted program. It can call only what is in this package and the
// functions it is given, and it ends within limits: see the constants. What Jinja2 or Python
// has and this package lacks is an error that names it, never another text.
//
// The reference is https://jinja.palletsprojects.com/en/stable/templates/ and the source of
// Jinja2 3.1.6, on Python 3.11.
package jinja

import (
	"errors"
	"fmt"
	"strings"

	"thimble/internal/chat/python"
)

// A Template is a compiled template. It is safe for concurrent use.
type Template struct{ body innerBody }

// Compile compiles a template.
func Compile(source string) (*Template, error) {
	tokens, err := lex(source)
	if err != nil {
		return nil, err
	}
	root := newFrame(nil)
	p := &parser{tokens: tokens, frame: root, frames: []*frame{root}}
	body, err := p.statements()
	if err != nil {
		return nil, err
	}
	for _, u := range p.unknown {
		if !u.soft {
			return nil, u.err
		}
	}
	for _, f := range p.frames {
		f.hide()
	}
	return &Template{innerBody{body, root}}, nil
}

// A Rejection is the error of a template that calls raise_exception.
type Rejection struct{ Message string }

func (r *Rejection) Error() string { return r.Message }

// Render runs the template with variables.
func (t *Template) Render(variables map[string]python.Value) (string, error) {
	r := &run{globals: variables}
	r.out = &strings.Builder{}
	_, err := r.inner(t.body, newScope(nil))
	if err != nil {
		if rejection := (*Rejection)(nil); errors.As(err, &rejection) {
			return "", rejection
		}
		return "", fmt.Errorf("line %d: %w", max(1, r.line), err)
	}
	return r.out.String(), nil
}

// A run is one rendering.
type run struct {
	python.Run
	globals map[string]python.Value
	out     *strings.Builder
	line    int // of what was evaluated last, for errors
}

func (r *run) write(s string) error {
	if r.out.Len()+len(s) > python.MaxText {
		return python.ErrText
	}
	r.out.WriteString(s)
	return r.Charge(len(s))
}

// capture returns what body writes.
func (r *run) capture(body innerBody, s *scope) (string, error) {
	out := r.out
	r.out = &strings.Builder{}
	_, err := r.inner(body, s)
	written := r.out.String()
	r.out = out
	return written, err
}

// A scope has the variables of one body. Those of the bodies around it can be read, but not
// set.
type scope struct {
	own    []named
	room   [4]named       // for the first
	index  map[string]int // of own; nil while there are few
	around *scope
}

type named struct {
	name string
	v    python.Value
}

func newScope(around *scope) *scope {
	s := &scope{around: around}
	s.own = s.room[:0]
	return s
}

func (s *scope) find(name string) int {
	if s.index != nil {
		if i, ok := s.index[name]; ok {
			return i
		}
		return -1
	}
	for i := range s.own {
		if s.own[i].name == name {
			return i
		}
	}
	return -1
}

func (s *scope) set(name string, v python.Value) {
	if i := s.find(name); i >= 0 {
		s.own[i].v = v
		return
	}
	s.own = append(s.own, named{name, v})
	switch {
	case s.index != nil:
		s.index[name] = len(s.own) - 1
	case len(s.own) > 2*python.Few:
		s.index = map[string]int{}
		for i, n := range s.own {
			s.index[n.name] = i
		}
	}
}

func (r *run) lookup(name string, s *scope) python.Value {
	for ; s != nil; s = s.around {
		if i := s.find(name); i >= 0 {
			if s.own[i].v == python.Missing {
				return noName(name)
			}
			return s.own[i].v
		}
	}
	if v, ok := r.globals[name]; ok {
		return v
	}
	if v, ok := globals[name]; ok {
		return v
	}
	return noName(name)
}

func noName(name string) python.Value {
	return &python.Undefined{Why: "'" + python.Shortened(name) + "' is undefined"}
}
