package jinja

import "thimble/internal/chat/python"

// globals are the functions of Jinja2 and transformers. raise_exception is one, while
// strftime_now depends on a date and comes with the variables.
var globals map[string]python.Value

func init() { // dict has a method
	globals = map[string]python.Value{
		"range":           &python.Builtin{Name: "range", Call: python.Range},
		"namespace":       &python.Builtin{Name: "namespace", Call: python.NamespaceFrom},
		"raise_exception": &python.Builtin{Name: "raise_exception", Call: raise},
		"dict":            &python.Builtin{Name: "dict", Call: func(r *python.Run, a python.Arguments) (python.Value, error) { return python.DictFrom(r, a) }},
	}
}

func raise(r *python.Run, a python.Arguments) (python.Value, error) {
	v, err := a.Bind("raise_exception", 1, "message")
	if err != nil {
		return nil, err
	}
	message, err := r.Str(v[0])
	if err != nil {
		return nil, err
	}
	return nil, &Rejection{message}
}
