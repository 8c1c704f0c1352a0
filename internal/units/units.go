// Package units formats and parses sizes in bytes for people.
package units

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"thimble/internal/defect"
)

// Size formats n bytes in decimal units (B, kB, MB or GB).
func Size(n int64) string {
	switch {
	case n < 1e4:
		return fmt.Sprintf("%d B", n)
	case n < 1e6:
		return fmt.Sprintf("%.1f kB", float64(n)/1e3)
	case n < 1e9:
		return fmt.Sprintf("%.1f MB", float64(n)/1e6)
	}
	return fmt.Sprintf("%.2f GB", float64(n)/1e9)
}

// Exact formats n bytes in the largest decimal unit that it fills, without rounding, as
// ParseSize reads it: 92MB, 1.5GB.
func Exact(n int64) string {
	for _, u := range []struct {
		name  string
		bytes int64
	}{{"GB", 1e9}, {"MB", 1e6}, {"kB", 1e3}} {
		if n >= u.bytes {
			return strconv.FormatFloat(float64(n)/float64(u.bytes), 'f', -1, 64) + u.name
		}
	}
	return fmt.Sprintf("%dB", n)
}

// AtLeast formats n rounded up to three digits, such as 71.3MB: a lower limit that a person
// can copy. ParseSize reads it as n or slightly more.
func AtLeast(n int64) string {
	step := int64(1)
	for n/step >= 1000 {
		step *= 10
	}
	return Exact((n + step - 1) / step * step)
}

// ParseSize parses a number of bytes with an optional unit in any case: B, kB, MB, GB, KiB,
// MiB, GiB, or k, M and G for kB, MB and GB.
func ParseSize(text string) (int64, error) {
	number, unit := text, 1.0
	lower := strings.ToLower(text)
	for _, u := range []struct {
		name  string
		bytes float64
	}{{"kib", 1 << 10}, {"mib", 1 << 20}, {"gib", 1 << 30}, {"kb", 1e3}, {"mb", 1e6}, {"gb", 1e9}, {"k", 1e3}, {"m", 1e6}, {"g", 1e9}, {"b", 1}} {
		if rest, ok := strings.CutSuffix(lower, u.name); ok {
			number, unit = strings.TrimSpace(rest), u.bytes
			break
		}
	}
	v, err := strconv.ParseFloat(number, 64)
	if err == nil && unit == 1 && v > 0 && v < math.MaxInt32 && v != math.Trunc(v) {
		return 0, fmt.Errorf("%s is not a whole number of bytes; did you mean %gMB?", defect.Printable(text), v)
	}
	if size := v * unit; err == nil && size >= 1 && size < math.MaxInt64/2 {
		return int64(math.Round(size)), nil // 0.29*1e6 is a fraction more than 290000
	}
	return 0, fmt.Errorf("%s is not a size such as 92MB, 1.5GB or 92000000", defect.Printable(text))
}
