package checkpoint

// Types for the values of a pickle that have no type in Go.
type (
	tuple []any
	list  struct{ items []any }
	// A dict keeps its keys, which are strings or integers, in order. A later value of
	// a key replaces an earlier one, as in Python.
	dict struct {
		keys   []any
		values map[any]any
	}
	// A global is a name in the table globals.
	global struct{ module, name string }
)

func newDict() *dict { return &dict{values: map[any]any{}} }

// kindOf returns the kind of a value, for an error.
func kindOf(v any) string {
	switch v := v.(type) {
	case nil:
		return "None"
	case bool:
		return "a bool"
	case int64:
		return "an integer"
	case float64:
		return "a float"
	case string:
		return "a string"
	case tuple:
		return "a tuple"
	case *list:
		return "a list"
	case *dict:
		return "a dict"
	case global:
		return v.module + "." + v.name
	case *storage:
		return "a storage"
	}
	return "a tensor"
}
