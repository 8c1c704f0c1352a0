package python

import (
	"errors"
	"fmt"
	"math"
	"math/big"
	"strconv"
	"strings"
)

// MaxBits is the size of the largest integer. Python prints none with more than 4300 digits.
const MaxBits = 1 << 14

// ErrInteger reports an integer that is too large.
var ErrInteger = fmt.Errorf("makes an integer of more than %d bits", MaxBits)

// SmallInt returns an int or bool that fits an int64.
func SmallInt(v Value) (int64, bool) {
	switch v := v.(type) {
	case int64:
		return v, true
	case bool:
		if v {
			return 1, true
		}
		return 0, true
	}
	return 0, false
}

// BigOf returns an int or bool of any size.
func BigOf(v Value) *big.Int {
	if n, ok := v.(*big.Int); ok {
		return n
	}
	n, _ := SmallInt(v)
	return big.NewInt(n)
}

// Integer returns n as a value.
func Integer(n *big.Int) (Value, error) {
	if n.IsInt64() {
		return n.Int64(), nil
	}
	if n.BitLen() > MaxBits {
		return nil, ErrInteger
	}
	return n, nil
}

// ParseNumber returns the value of a JSON number, as json.loads of Python does.
func ParseNumber(s string) (Value, error) {
	if strings.ContainsAny(s, ".eE") {
		f, err := strconv.ParseFloat(s, 64)
		if err != nil && !errors.Is(err, strconv.ErrRange) { // too large a number is infinite
			return nil, fmt.Errorf("%q is not a number", s)
		}
		return f, nil
	}
	if n, err := strconv.ParseInt(s, 10, 64); err == nil {
		return n, nil
	}
	if len(s) > MaxBits/3 {
		return nil, ErrInteger
	}
	n, ok := new(big.Int).SetString(s, 10)
	if !ok {
		return nil, fmt.Errorf("%q is not a number", s)
	}
	return Integer(n)
}

// FloatOf is Python's float of a number.
func FloatOf(v Value) (float64, error) {
	switch v := v.(type) {
	case float64:
		return v, nil
	case *big.Int:
		f, _ := new(big.Float).SetInt(v).Float64()
		if math.IsInf(f, 0) {
			return 0, errors.New("int too large to convert to float")
		}
		return f, nil
	}
	n, _ := SmallInt(v)
	return float64(n), nil
}

var errZero = errors.New("division by zero")

// Arithmetic applies an operator to two numbers.
func Arithmetic(op string, a, b Value) (Value, error) {
	_, aFloat := a.(float64)
	_, bFloat := b.(float64)
	if !aFloat && !bFloat {
		return intArithmetic(op, a, b)
	}
	x, err := FloatOf(a)
	if err != nil {
		return nil, err
	}
	y, err := FloatOf(b)
	if err != nil {
		return nil, err
	}
	switch op {
	case "+":
		return x + y, nil
	case "-":
		return x - y, nil
	case "*":
		return x * y, nil
	case "**":
		return power(x, y)
	}
	if y == 0 {
		return nil, errZero
	}
	switch op {
	case "/":
		return x / y, nil
	case "//":
		quotient, _ := floorDivide(x, y)
		return quotient, nil
	}
	_, rest := floorDivide(x, y)
	return rest, nil
}

// floorDivide is float_divmod of CPython's floatobject.c.
func floorDivide(x, y float64) (quotient, rest float64) {
	rest = math.Mod(x, y)
	div := (x - rest) / y
	if rest != 0 {
		if (y < 0) != (rest < 0) {
			rest += y
			div--
		}
	} else {
		rest = math.Copysign(0, y)
	}
	if div == 0 {
		return math.Copysign(0, x/y), rest
	}
	quotient = math.Floor(div)
	if div-quotient > 0.5 {
		quotient++
	}
	return quotient, rest
}

// power is exact up to the last rounding. Other exponents would depend on the C library.
func power(x, y float64) (Value, error) {
	switch {
	case x == 0 && y < 0:
		return nil, errors.New("0.0 cannot be raised to a negative power")
	case x == 0 || x == 1 || y == 0 || math.IsInf(x, 0) || math.IsInf(y, 0) || x != x || y != y:
		return math.Pow(x, y), nil
	case y == 0.5 && x > 0:
		return math.Sqrt(x), nil
	case y != math.Trunc(y):
		return nil, fmt.Errorf("** with the exponent %s is not supported", formatFloat(y))
	}
	base := new(big.Rat).SetFloat64(x)
	if y < 0 {
		base.Inv(base)
	}
	if float64(base.Num().BitLen()+base.Denom().BitLen())*math.Abs(y) > 1<<16 {
		return nil, errors.New("** of such a size is not supported")
	}
	n := big.NewInt(int64(math.Abs(y)))
	exact := new(big.Rat).SetFrac(new(big.Int).Exp(base.Num(), n, nil), new(big.Int).Exp(base.Denom(), n, nil))
	f, _ := exact.Float64()
	if math.IsInf(f, 0) {
		return nil, errors.New("the result of ** is too large")
	}
	return f, nil
}

func intArithmetic(op string, a, b Value) (Value, error) {
	i, iSmall := SmallInt(a)
	j, jSmall := SmallInt(b)
	if iSmall && jSmall {
		if v, ok := smallArithmetic(op, i, j); ok {
			return v, nil
		}
	}
	x, y, z := BigOf(a), BigOf(b), new(big.Int)
	switch op {
	case "+":
		return Integer(z.Add(x, y))
	case "-":
		return Integer(z.Sub(x, y))
	case "*":
		return Integer(z.Mul(x, y))
	case "**":
		return intPower(x, y)
	}
	if y.Sign() == 0 {
		return nil, errZero
	}
	if op == "/" {
		f, _ := new(big.Rat).SetFrac(x, y).Float64()
		if math.IsInf(f, 0) {
			return nil, errors.New("integer division result too large for a float")
		}
		return f, nil
	}
	quotient, rest := z.QuoRem(x, y, new(big.Int))
	if rest.Sign() != 0 && rest.Sign() != y.Sign() { // Python rounds down
		quotient.Sub(quotient, big.NewInt(1))
		rest.Add(rest, y)
	}
	if op == "//" {
		return Integer(quotient)
	}
	return Integer(rest)
}

// smallArithmetic is intArithmetic where neither an overflow nor rounding is possible.
func smallArithmetic(op string, i, j int64) (Value, bool) {
	const half = 1 << 62
	const root = 1 << 31
	switch op {
	case "+":
		return i + j, -half < i && i < half && -half < j && j < half
	case "-":
		return i - j, -half < i && i < half && -half < j && j < half
	case "*":
		return i * j, -root < i && i < root && -root < j && j < root
	case "//", "%":
		if j == 0 || j == -1 {
			return nil, false
		}
		quotient, rest := i/j, i%j
		if rest != 0 && (rest < 0) != (j < 0) {
			quotient--
			rest += j
		}
		if op == "//" {
			return quotient, true
		}
		return rest, true
	}
	return nil, false
}

func intPower(x, y *big.Int) (Value, error) {
	if y.Sign() < 0 {
		f, err := FloatOf(x)
		if err != nil {
			return nil, err
		}
		g, err := FloatOf(y)
		if err != nil {
			return nil, err
		}
		return power(f, g)
	}
	if x.BitLen() > 1 && (!y.IsInt64() || y.Int64() > MaxBits || int64(x.BitLen()-1)*y.Int64() > MaxBits) {
		return nil, ErrInteger
	}
	return Integer(new(big.Int).Exp(x, y, nil))
}

// formatFloat is Python's repr of a float.
func formatFloat(f float64) string {
	switch {
	case math.IsNaN(f):
		return "nan"
	case math.IsInf(f, 1):
		return "inf"
	case math.IsInf(f, -1):
		return "-inf"
	}
	s := strconv.FormatFloat(f, 'e', -1, 64)
	e := strings.IndexByte(s, 'e')
	exponent, _ := strconv.Atoi(s[e+1:])
	if exponent < -4 || exponent >= 16 {
		return s
	}
	s = strconv.FormatFloat(f, 'f', -1, 64)
	if !strings.Contains(s, ".") {
		s += ".0"
	}
	return s
}

// Round is Python's round with a number of digits.
func Round(v Value, digits int64) (Value, error) {
	f, isFloat := v.(float64)
	switch {
	case !IsNumber(v):
		return nil, fmt.Errorf("type %s doesn't define __round__ method", TypeName(v))
	case digits < 0:
		return nil, errors.New("rounding to a negative number of digits is not supported")
	case !isFloat:
		return Integer(BigOf(v))
	case math.IsNaN(f) || math.IsInf(f, 0) || digits > 323:
		return f, nil
	}
	rounded, _ := strconv.ParseFloat(strconv.FormatFloat(f, 'f', int(digits), 64), 64)
	return rounded, nil
}

// Truncate is Python's int of a float.
func Truncate(f float64) (Value, error) {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return nil, fmt.Errorf("cannot convert float %s to integer", formatFloat(f))
	}
	n, _ := big.NewFloat(f).Int(nil)
	return Integer(n)
}

// ParseInt is Python's int of a text.
func ParseInt(s string, base int) (Value, bool) {
	s = strings.ToLower(TrimSpace(s))
	sign := ""
	if s != "" && (s[0] == '-' || s[0] == '+') {
		sign, s = s[:1], s[1:]
	}
	for prefix, b := range map[string]int{"0x": 16, "0o": 8, "0b": 2} {
		if strings.HasPrefix(s, prefix) && (base == b || base == 0) {
			s, base = strings.TrimPrefix(s[2:], "_"), b
		}
	}
	if s == "" || s[0] == '_' || s[len(s)-1] == '_' || strings.Contains(s, "__") || strings.ContainsAny(s, "+-") || len(s) > MaxBits/3 {
		return nil, false
	}
	if base == 0 {
		if len(s) > 1 && s[0] == '0' && strings.Trim(s, "0_") != "" {
			return nil, false
		}
		base = 10
	}
	n, ok := new(big.Int).SetString(sign+strings.ReplaceAll(s, "_", ""), base)
	if !ok {
		return nil, false
	}
	v, err := Integer(n)
	return v, err == nil
}

// ParseFloat is Python's float of a text.
func ParseFloat(s string) (float64, bool) {
	s = TrimSpace(s)
	switch strings.ToLower(strings.TrimLeft(s, "+-")) {
	case "inf", "infinity", "nan":
		f, err := strconv.ParseFloat(s, 64)
		return f, err == nil
	}
	if strings.ContainsAny(s, "xXpP") || strings.Contains(s, "__") || strings.Contains(s, "_.") || strings.Contains(s, "._") || strings.HasPrefix(s, "_") || strings.HasSuffix(s, "_") {
		return 0, false
	}
	f, err := strconv.ParseFloat(strings.ReplaceAll(s, "_", ""), 64)
	if err != nil && !errors.Is(err, strconv.ErrRange) {
		return 0, false
	}
	return f, true
}
