package python

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// percentDirective is a conversion of Python's % on a text.
var percentDirective = regexp.MustCompile(`^%(?:\(([^()]*)\))?([-+ #0]*)(\d{1,4})?(?:\.(\d{1,4})?)?[hlL]?(.)`)

// percent is Python's s % args. given is the right operand.
func (r *Run) percent(s string, args []Value, given Value) (Value, error) {
	var b strings.Builder
	used := 0
	for {
		at := strings.IndexByte(s, '%')
		if at < 0 {
			b.WriteString(s)
			break
		}
		b.WriteString(s[:at])
		s = s[at:]
		m := percentDirective.FindStringSubmatch(s)
		if m == nil {
			return nil, fmt.Errorf("the format %q is not supported", Shortened(s))
		}
		hasPrecision := strings.Contains(m[0], ".")
		s = s[len(m[0]):]
		if m[5] == "%" {
			b.WriteByte('%')
			continue
		}
		var v Value
		switch d, isDict := given.(*Dict); {
		case strings.HasPrefix(m[0], "%("):
			if !isDict {
				return nil, errors.New("format requires a mapping")
			}
			i := d.find(m[1])
			if i < 0 {
				return nil, fmt.Errorf("no key '%s'", Shortened(m[1]))
			}
			v = d.Values[i]
		case used == len(args):
			return nil, errors.New("not enough arguments for format string")
		default:
			v = args[used]
			used++
		}
		spec := formatSpec{align: '>', kind: m[5][0], hasPrecision: hasPrecision}
		spec.width, _ = strconv.Atoi(m[3])
		spec.precision, _ = strconv.Atoi(m[4])
		spec.alternate = strings.Contains(m[2], "#")
		switch {
		case strings.Contains(m[2], "+"):
			spec.sign = '+'
		case strings.Contains(m[2], " "):
			spec.sign = ' '
		}
		if strings.Contains(m[2], "-") {
			spec.align = '<'
		} else if strings.Contains(m[2], "0") && !strings.Contains("scra", m[5]) {
			spec.align, spec.fill = '=', "0"
		}
		text, err := r.percentOne(v, spec)
		if err != nil {
			return nil, err
		}
		b.WriteString(text)
		if err := r.CheckText(b.Len()); err != nil {
			return nil, err
		}
	}
	if used < len(args) {
		switch given.(type) {
		case *Dict, *List, *Undefined, *Integers:
		default:
			return nil, errors.New("not all arguments converted during string formatting")
		}
	}
	return b.String(), r.CheckText(b.Len())
}

func (r *Run) percentOne(v Value, spec formatSpec) (string, error) {
	switch spec.kind {
	case 's', 'r':
		text, err := r.Str(v)
		if spec.kind == 'r' {
			var b strings.Builder
			err = r.repr(&b, v)
			text = b.String()
		}
		if err != nil {
			return "", err
		}
		return spec.text(text), nil
	case 'd', 'i', 'u':
		spec.kind = 'd'
		if f, ok := v.(float64); ok {
			n, err := Truncate(f)
			if err != nil {
				return "", err
			}
			v = n
		}
		if !IsNumber(v) {
			return "", fmt.Errorf("%%d format: a real number is required, not %s", TypeName(v))
		}
		if spec.hasPrecision {
			return "", errors.New("a precision of an integer is not supported")
		}
		return spec.integer(BigOf(v))
	case 'x', 'X', 'o':
		if _, isFloat := v.(float64); isFloat || !IsNumber(v) || spec.hasPrecision {
			return "", fmt.Errorf("%%%c format: an integer is required, not %s", spec.kind, TypeName(v))
		}
		return spec.integer(BigOf(v))
	case 'e', 'E', 'f', 'F', 'g', 'G':
		if !IsNumber(v) {
			return "", fmt.Errorf("must be real number, not %s", TypeName(v))
		}
		f, err := FloatOf(v)
		if err != nil {
			return "", err
		}
		return spec.float(f)
	}
	return "", fmt.Errorf("the format %%%c is not supported", spec.kind)
}
