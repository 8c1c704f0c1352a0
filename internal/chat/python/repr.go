package python

import (
	"fmt"
	"math/big"
	"strconv"
	"strings"
	"unicode"
)

// Str is Python's str.
func (r *Run) Str(v Value) (string, error) {
	switch v := v.(type) {
	case string:
		return v, nil
	case Markup:
		return string(v), nil
	case *Undefined:
		return "", nil
	}
	var b strings.Builder
	err := r.repr(&b, v)
	if err == nil {
		err = r.Charge(b.Len())
	}
	return b.String(), err
}

// repr writes Python's repr of v.
func (r *Run) repr(b *strings.Builder, v Value) error {
	if err := r.Enter(); err != nil {
		return err
	}
	defer r.Leave()
	var err error
	switch v := v.(type) {
	case nil:
		b.WriteString("None")
	case bool:
		if v {
			b.WriteString("True")
		} else {
			b.WriteString("False")
		}
	case int64:
		b.WriteString(strconv.FormatInt(v, 10))
	case *big.Int:
		s := v.String()
		if len(s) > 4300 { // as in Python
			return ErrInteger
		}
		b.WriteString(s)
	case float64:
		b.WriteString(formatFloat(v))
	case string:
		err = r.quote(b, v)
	case Markup:
		b.WriteString("Markup(")
		err = r.quote(b, string(v))
		b.WriteByte(')')
	case *List:
		err = r.reprItems(b, "[", v.Items, "]")
	case *Tuple:
		end := ")"
		if len(v.Items) == 1 {
			end = ",)"
		}
		err = r.reprItems(b, "(", v.Items, end)
	case *Dict:
		err = r.reprDict(b, v)
	case *View:
		err = r.reprItems(b, v.kind+"([", v.Items, "])")
	case *Undefined:
		b.WriteString("Undefined")
	case *Integers:
		fmt.Fprintf(b, "range(%d, %d", v.start, v.stop)
		if v.step != 1 {
			fmt.Fprintf(b, ", %d", v.step)
		}
		b.WriteByte(')')
	case *Namespace:
		b.WriteString("<Namespace ")
		err = r.reprDict(b, &v.Attributes)
		b.WriteByte('>')
	case Object:
		var s string
		s, err = v.Repr()
		b.WriteString(s)
	default: // Python prints an address
		err = fmt.Errorf("a %s cannot be printed", TypeName(v))
	}
	if err == nil && b.Len() > MaxText {
		return ErrText
	}
	return err
}

func (r *Run) reprItems(b *strings.Builder, open string, items []Value, end string) error {
	b.WriteString(open)
	for i, item := range items {
		if i > 0 {
			b.WriteString(", ")
		}
		if err := r.repr(b, item); err != nil {
			return err
		}
	}
	b.WriteString(end)
	return nil
}

func (r *Run) reprDict(b *strings.Builder, d *Dict) error {
	b.WriteByte('{')
	for i, k := range d.Keys {
		if i > 0 {
			b.WriteString(", ")
		}
		if err := r.repr(b, k); err != nil {
			return err
		}
		b.WriteString(": ")
		if err := r.repr(b, d.Values[i]); err != nil {
			return err
		}
	}
	b.WriteByte('}')
	return nil
}

// quote writes the repr of a text.
func (r *Run) quote(b *strings.Builder, s string) error {
	if err := r.Charge(len(s)); err != nil {
		return err
	}
	mark := byte('\'')
	if strings.Contains(s, "'") && !strings.Contains(s, `"`) {
		mark = '"'
	}
	b.WriteByte(mark)
	for _, c := range s {
		switch {
		case c == rune(mark) || c == '\\':
			b.WriteByte('\\')
			b.WriteRune(c)
		case c == '\n':
			b.WriteString(`\n`)
		case c == '\r':
			b.WriteString(`\r`)
		case c == '\t':
			b.WriteString(`\t`)
		case unicode.IsPrint(c):
			b.WriteRune(c)
		default:
			b.WriteString(EscapeRune(c))
		}
	}
	b.WriteByte(mark)
	return nil
}

// EscapeRune writes a character as Python's backslashreplace does.
func EscapeRune(c rune) string {
	switch {
	case c < 0x100:
		return fmt.Sprintf(`\x%02x`, c)
	case c < 0x10000:
		return fmt.Sprintf(`\u%04x`, c)
	}
	return fmt.Sprintf(`\U%08x`, c)
}

// Shortened keeps texts of a template in messages short.
func Shortened(s string) string {
	if len(s) > 60 {
		return string([]rune(s[:60])) + "..."
	}
	return s
}
