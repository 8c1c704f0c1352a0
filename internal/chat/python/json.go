package python

import (
	"errors"
	"fmt"
	"math"
	"math/big"
	"slices"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// A jsonWriter writes JSON as json.dumps of Python does.
type jsonWriter struct {
	r                *Run
	b                strings.Builder
	ascii, sorted    bool
	indent           string // of one level
	lines            bool   // one line for each item
	itemSep, pairSep string
}

// ToJSON is the filter tojson of transformers.
func ToJSON(r *Run, of Value, a Arguments) (Value, error) {
	v, err := a.Bind("tojson", 0, "ensure_ascii", "indent", "separators", "sort_keys")
	if err != nil {
		return nil, err
	}
	w := &jsonWriter{r: r, itemSep: ", ", pairSep: ": "}
	w.ascii = v[0] != Missing && Truth(v[0])
	w.sorted = v[3] != Missing && Truth(v[3])
	if v[1] != Missing && v[1] != nil {
		w.lines, w.itemSep = true, ","
		if s, ok := TextOf(v[1]); ok {
			w.indent = s
		} else {
			n, err := Limit(v[1], 0)
			if err != nil {
				return nil, err
			}
			if w.indent, err = r.RepeatText(" ", max(0, n)); err != nil {
				return nil, err
			}
		}
	}
	if v[2] != Missing && v[2] != nil {
		pair, err := r.Items(v[2])
		if err != nil {
			return nil, err
		}
		ok := len(pair) == 2
		if ok {
			var ok1, ok2 bool
			w.itemSep, ok1 = TextOf(pair[0])
			w.pairSep, ok2 = TextOf(pair[1])
			ok = ok1 && ok2
		}
		if !ok {
			return nil, errors.New("tojson: separators must be two texts")
		}
	}
	if err := w.value(of, 0); err != nil {
		return nil, err
	}
	return w.b.String(), nil
}

func (w *jsonWriter) value(v Value, level int) error {
	if err := w.r.Enter(); err != nil {
		return err
	}
	defer w.r.Leave()
	var err error
	switch v := v.(type) {
	case *List:
		err = w.list(v.Items, level)
	case *Tuple:
		err = w.list(v.Items, level)
	case *Dict:
		err = w.dict(v, level)
	default:
		var s string
		if t, ok := TextOf(v); ok {
			err = w.text(t)
		} else if s, err = scalar(v); err == nil {
			w.b.WriteString(s)
		}
	}
	if err == nil {
		if w.b.Len() > MaxText {
			return ErrText
		} else if level == 0 {
			err = w.r.Charge(w.b.Len())
		}
	}
	return err
}

// scalar returns the JSON of a number, None or bool.
func scalar(v Value) (string, error) {
	switch v := v.(type) {
	case nil:
		return "null", nil
	case bool:
		if v {
			return "true", nil
		}
		return "false", nil
	case float64:
		switch {
		case math.IsNaN(v):
			return "NaN", nil
		case math.IsInf(v, 1):
			return "Infinity", nil
		case math.IsInf(v, -1):
			return "-Infinity", nil
		}
		return formatFloat(v), nil
	case int64:
		return fmt.Sprint(v), nil
	case *big.Int:
		return v.String(), nil
	}
	return "", fmt.Errorf("Object of type %s is not JSON serializable", TypeName(v))
}

// newline begins a line of its own, if there is an indent.
func (w *jsonWriter) newline(level int) error {
	if !w.lines {
		return nil
	}
	if w.b.Len()+level*len(w.indent) > MaxText {
		return ErrText
	}
	w.b.WriteByte('\n')
	for range level {
		w.b.WriteString(w.indent)
	}
	return nil
}

func (w *jsonWriter) separate(first bool, level int) error {
	if !first {
		if w.b.Len()+len(w.itemSep) > MaxText {
			return ErrText
		}
		w.b.WriteString(w.itemSep)
	}
	return w.newline(level)
}

func (w *jsonWriter) list(items []Value, level int) error {
	if len(items) == 0 {
		w.b.WriteString("[]")
		return nil
	}
	w.b.WriteByte('[')
	for i, item := range items {
		if err := w.separate(i == 0, level+1); err != nil {
			return err
		}
		if err := w.value(item, level+1); err != nil {
			return err
		}
	}
	err := w.newline(level)
	w.b.WriteByte(']')
	return err
}

func (w *jsonWriter) dict(d *Dict, level int) error {
	if len(d.Keys) == 0 {
		w.b.WriteString("{}")
		return nil
	}
	pairs := make([]int, len(d.Keys))
	for i := range pairs {
		pairs[i] = i
	}
	if w.sorted {
		var failed error
		slices.SortStableFunc(pairs, func(i, j int) int {
			c, _, err := w.r.Order(d.Keys[i], d.Keys[j])
			if err != nil {
				failed = err
			}
			return c
		})
		if failed != nil {
			return failed
		}
	}
	w.b.WriteByte('{')
	for n, i := range pairs {
		if err := w.separate(n == 0, level+1); err != nil {
			return err
		}
		key, ok := TextOf(d.Keys[i])
		if !ok {
			var err error
			if key, err = scalar(d.Keys[i]); err != nil {
				return err
			}
		}
		if err := w.text(key); err != nil {
			return err
		}
		w.b.WriteString(w.pairSep)
		if err := w.value(d.Values[i], level+1); err != nil {
			return err
		}
	}
	err := w.newline(level)
	w.b.WriteByte('}')
	return err
}

// text writes a string.
func (w *jsonWriter) text(s string) error {
	if w.b.Len()+len(s) > MaxText {
		return ErrText
	}
	w.b.WriteByte('"')
	from := 0
	for i, c := range s {
		escaped := ""
		switch {
		case c == '"':
			escaped = `\"`
		case c == '\\':
			escaped = `\\`
		case c == '\n':
			escaped = `\n`
		case c == '\r':
			escaped = `\r`
		case c == '\t':
			escaped = `\t`
		case c == '\f':
			escaped = `\f`
		case c == '\b':
			escaped = `\b`
		case c < ' ' || c == 0x7f && w.ascii:
			escaped = fmt.Sprintf(`\u%04x`, c)
		case c >= utf8.RuneSelf && w.ascii:
			if high, low := utf16.EncodeRune(c); high != utf8.RuneError {
				escaped = fmt.Sprintf(`\u%04x\u%04x`, high, low)
			} else {
				escaped = fmt.Sprintf(`\u%04x`, c)
			}
		default:
			continue
		}
		w.b.WriteString(s[from:i])
		w.b.WriteString(escaped)
		from = i + FirstRune(s[i:])
	}
	w.b.WriteString(s[from:])
	w.b.WriteByte('"')
	return nil
}
