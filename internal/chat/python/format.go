package python

import (
	"errors"
	"fmt"
	"math"
	"math/big"
	"regexp"
	"strconv"
	"strings"
)

// A formatSpec is how a value is written (Python's "Format Specification Mini-Language").
type formatSpec struct {
	fill         string
	align        byte // one of < > ^ = or 0
	sign         byte
	alternate    bool
	width        int
	group        string
	hasPrecision bool
	precision    int
	kind         byte // or 0
}

var specPattern = regexp.MustCompile(`^(?s:(.)?([<>=^]))?([-+ ])?(#)?(0)?(\d{1,4})?([,_])?(?:\.(\d{1,4}))?([a-zA-Z%])?$`)

func parseSpec(s string) (spec formatSpec, err error) {
	m := specPattern.FindStringSubmatch(s)
	if m == nil {
		return spec, fmt.Errorf("the format %q is not supported", Shortened(s))
	}
	spec.fill = m[1]
	if m[2] != "" {
		spec.align = m[2][0]
	}
	if m[3] != "" {
		spec.sign = m[3][0]
	}
	spec.alternate = m[4] != ""
	if m[5] != "" && m[1] == "" {
		spec.fill = "0"
		if spec.align == 0 {
			spec.align = '='
		}
	}
	spec.width, _ = strconv.Atoi(m[6])
	spec.group = m[7]
	spec.hasPrecision = m[8] != ""
	spec.precision, _ = strconv.Atoi(m[8])
	if m[9] != "" {
		spec.kind = m[9][0]
	}
	return spec, nil
}

// text writes a text: its first characters, padded.
func (f formatSpec) text(s string) string {
	if f.hasPrecision {
		s = s[:offset(s, int64(f.precision))]
	}
	return f.padded("", s, '<')
}

// padded writes a value after its sign.
func (f formatSpec) padded(sign, s string, align byte) string {
	if f.align != 0 {
		align = f.align
	}
	fill := f.fill
	if fill == "" {
		fill = " "
	}
	n := max(0, f.width-int(runes(sign+s)))
	switch align {
	case '<':
		return sign + s + strings.Repeat(fill, n)
	case '^':
		return strings.Repeat(fill, n/2) + sign + s + strings.Repeat(fill, n-n/2)
	case '=':
		return sign + strings.Repeat(fill, n) + s
	}
	return strings.Repeat(fill, n) + sign + s
}

// signed returns the sign that is written.
func (f formatSpec) signed(negative bool) string {
	switch {
	case negative:
		return "-"
	case f.sign == '+' || f.sign == ' ':
		return string(rune(f.sign))
	}
	return ""
}

func (f formatSpec) integer(n *big.Int) (string, error) {
	base, ok := map[byte]int{0: 10, 'd': 10, 'x': 16, 'X': 16, 'o': 8, 'b': 2}[f.kind]
	if !ok || f.hasPrecision || f.group != "" && (base != 10 || f.align == '=') {
		return "", errors.New("this format of an integer is not supported")
	}
	digits := new(big.Int).Abs(n).Text(base)
	sign := f.signed(n.Sign() < 0)
	if f.alternate && base != 10 {
		sign += "0" + string(rune(f.kind))
	}
	if f.kind == 'X' {
		digits = strings.ToUpper(digits)
	}
	return f.padded(sign, grouped(digits, f.group), '>'), nil
}

// grouped separates the digits at the start of a number in groups of three.
func grouped(number, sep string) string {
	n := len(number) - len(strings.TrimLeft(number, "0123456789"))
	if sep == "" || n <= 3 {
		return number
	}
	var b strings.Builder
	for i, c := range number[:n] {
		if i > 0 && (n-i)%3 == 0 {
			b.WriteString(sep)
		}
		b.WriteRune(c)
	}
	return b.String() + number[n:]
}

func (f formatSpec) float(v float64) (string, error) {
	precision := 6
	if f.hasPrecision {
		precision = f.precision
	}
	kind, suffix := f.kind, ""
	switch {
	case kind == '%':
		v, kind, suffix = v*100, 'f', "%"
	case kind == 0 && !f.hasPrecision:
		return f.padded(f.signed(math.Signbit(v) && v == v), grouped(strings.TrimPrefix(formatFloat(v), "-"), f.group), '>'), nil
	case !strings.ContainsRune("eEfFgG", rune(kind)) || kind == 0 || f.alternate || f.group != "" && f.align == '=':
		return "", errors.New("this format of a float is not supported")
	case kind == 'F':
		kind = 'f'
	}
	if (kind == 'g' || kind == 'G') && precision == 0 {
		precision = 1
	}
	s := strconv.FormatFloat(math.Abs(v), kind, precision, 64)
	if math.IsInf(v, 0) || math.IsNaN(v) {
		s = map[bool]string{true: "inf", false: "nan"}[math.IsInf(v, 0)]
		if kind == 'E' || kind == 'G' || f.kind == 'F' {
			s = strings.ToUpper(s)
		}
		if f.fill == "0" {
			return "", errors.New("this format of a float that is not a number is not supported")
		}
	} else {
		s = grouped(s, f.group)
	}
	return f.padded(f.signed(math.Signbit(v) && v == v), s+suffix, '>'), nil
}

// formatted is Python's format(v, spec).
func (r *Run) formatted(v Value, text string) (string, error) {
	if text == "" {
		return r.Str(v)
	}
	spec, err := parseSpec(text)
	if err != nil {
		return "", err
	}
	s, isText := TextOf(v)
	f, isFloat := v.(float64)
	switch {
	case isText:
		if spec.kind != 0 && spec.kind != 's' || spec.sign != 0 || spec.alternate || spec.group != "" || spec.align == '=' {
			return "", fmt.Errorf("the format %q of a text is not supported", Shortened(text))
		}
		return spec.text(s), nil
	case isFloat:
		return spec.float(f)
	case IsNumber(v):
		if strings.ContainsRune("eEfFgG%", rune(spec.kind)) && spec.kind != 0 {
			if f, err = FloatOf(v); err != nil {
				return "", err
			}
			return spec.float(f)
		}
		return spec.integer(BigOf(v))
	}
	return "", fmt.Errorf("unsupported format string passed to %s.__format__", TypeName(v))
}

// formatOf is str.format.
func formatOf(r *Run, s string, a Arguments) (Value, error) {
	f := &formatter{r: r, args: a}
	text, err := f.format(s, 2)
	return text, err
}

type formatter struct {
	r      *Run
	args   Arguments
	next   int // of the fields without a name
	manual bool
}

func (f *formatter) format(s string, depth int) (string, error) {
	if depth == 0 {
		return "", errors.New("fields of format nest too deep")
	}
	var b strings.Builder
	for s != "" {
		at := strings.IndexAny(s, "{}")
		if at < 0 {
			b.WriteString(s)
			break
		}
		b.WriteString(s[:at])
		brace := s[at]
		s = s[at+1:]
		if s != "" && s[0] == brace {
			b.WriteByte(brace)
			s = s[1:]
			continue
		}
		if brace == '}' {
			return "", errors.New("single '}' encountered in format string")
		}
		end := closingBrace(s)
		if end < 0 {
			return "", errors.New("expected '}' before end of string")
		}
		text, err := f.field(s[:end], depth)
		if err != nil {
			return "", err
		}
		b.WriteString(text)
		s = s[end+1:]
		if err := f.r.CheckText(b.Len()); err != nil {
			return "", err
		}
	}
	return b.String(), f.r.CheckText(b.Len())
}

// closingBrace returns where the field that s begins with ends.
func closingBrace(s string) int {
	open := 1
	for i := range len(s) {
		switch s[i] {
		case '{':
			open++
		case '}':
			if open--; open == 0 {
				return i
			}
		}
	}
	return -1
}

var fieldPattern = regexp.MustCompile(`^([^.\[!:{}]*)((?:\.[^.\[!:{}]+|\[[^\]{}]+\])*)(?:!([rs]))?(?s::(.*))?$`)

var accessor = regexp.MustCompile(`\.[^.\[]+|\[[^\]]+\]`)

func (f *formatter) field(s string, depth int) (string, error) {
	m := fieldPattern.FindStringSubmatch(s)
	if m == nil {
		return "", fmt.Errorf("the field {%s} is not supported", Shortened(s))
	}
	v, err := f.value(m[1])
	if err != nil {
		return "", err
	}
	for _, access := range accessor.FindAllString(m[2], -1) {
		if access[0] == '.' {
			v, err = f.r.Getattr(v, access[1:])
		} else {
			var key Value = access[1 : len(access)-1]
			if n, err := strconv.ParseInt(key.(string), 10, 64); err == nil {
				key = n
			}
			v, err = f.r.Getitem(v, key)
		}
		if err != nil {
			return "", err
		}
	}
	switch m[3] {
	case "r":
		var b strings.Builder
		if err := f.r.repr(&b, v); err != nil {
			return "", err
		}
		v = b.String()
	case "s":
		text, err := f.r.Str(v)
		if err != nil {
			return "", err
		}
		v = text
	}
	spec, err := f.format(m[4], depth-1)
	if err != nil {
		return "", err
	}
	return f.r.formatted(v, spec)
}

// Value returns the argument of a field.
func (f *formatter) value(name string) (Value, error) {
	i, err := strconv.Atoi(name)
	switch {
	case name == "":
		if f.manual {
			return nil, errors.New("cannot switch from manual field specification to automatic field numbering")
		}
		i = f.next
		f.next++
	case err == nil && name[0] != '+' && name[0] != '-':
		if f.next > 0 {
			return nil, errors.New("cannot switch from automatic field numbering to manual field specification")
		}
		f.manual = true
	default:
		for _, kw := range f.args.Kw {
			if kw.Name == name {
				return kw.Value, nil
			}
		}
		return nil, fmt.Errorf("no argument '%s'", Shortened(name))
	}
	if i >= len(f.args.Pos) {
		return nil, errors.New("format has fewer arguments than fields")
	}
	return f.args.Pos[i], nil
}
