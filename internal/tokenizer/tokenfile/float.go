package tokenfile

import (
	"math"
	"strconv"
	"strings"
)

// pow10 holds the powers of ten, each rounded to the nearest float64. math.Pow10 is less
// exact, because it multiplies.
var pow10 = func() (p [309]float64) {
	for i := range p {
		p[i], _ = strconv.ParseFloat("1e"+strconv.Itoa(i), 64)
	}
	return p
}()

// scoreOf converts a JSON number in the same way as Hugging Face. serde_json rounds the
// digits to a float64 and multiplies or divides by a power of ten, so the result can
// differ from the nearest float64 by one unit in the last place (serde_json, de.rs,
// f64_from_parts). Whether two sums of scores are equal depends on it.
func scoreOf(text string) float64 {
	number, exponent, _ := strings.Cut(strings.ToLower(text), "e")
	digits, negative := strings.CutPrefix(number, "-")
	whole, fraction, _ := strings.Cut(digits, ".")
	significand, shift, full := uint64(0), 0, false
	add := func(c byte) bool {
		d := uint64(c - '0')
		if full = full || significand > (math.MaxUint64-d)/10; !full {
			significand = significand*10 + d
		}
		return !full
	}
	for i := range len(whole) {
		if !add(whole[i]) {
			shift++
		}
	}
	full = false
	for i := range len(fraction) {
		if !add(fraction[i]) {
			break
		}
		shift--
	}
	if n, err := strconv.Atoi(exponent); err == nil {
		shift += max(-1<<20, min(n, 1<<20))
	}
	f := float64(significand)
	for ; shift < -308 && f != 0; shift += 308 {
		f /= 1e308
	}
	switch {
	case f == 0:
	case shift < 0:
		f /= pow10[-shift]
	case shift > 308:
		f = math.Inf(1)
	default:
		f *= pow10[shift]
	}
	if negative {
		return -f
	}
	return f
}
