package units

import (
	"strings"
	"testing"
)

func TestSize(t *testing.T) {
	for n, want := range map[int64]string{0: "0 B", 9999: "9999 B", 10000: "10.0 kB", 92_000_000: "92.0 MB", 13_500_000_000: "13.50 GB"} {
		if got := Size(n); got != want {
			t.Errorf("Size(%d) is %q, want %q", n, got, want)
		}
	}
}

func TestParseSize(t *testing.T) {
	for text, want := range map[string]int64{
		"92MB": 92e6, "92 MB": 92e6, "88MiB": 88 << 20, "92000000": 92e6, "1.5GB": 15e8, "2GiB": 2 << 30, "900kB": 900e3, "7B": 7, "1e6": 1e6,
		"10KB": 10000, "0.7M": 7e5, "0.7 mb": 7e5, "92mib": 92 << 20, "92mb": 92e6, "92Mb": 92e6, "1.5g": 15e8, "4k": 4000, "0.29MB": 290000, "0.57 m": 570000,
		"3KiB": 3 << 10, "5B": 5,
	} {
		if got, err := ParseSize(text); got != want || err != nil {
			t.Errorf("ParseSize(%q) is %d, %v, want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"", "MB", "0", "-1MB", "NaN", "1e300", "92 megs",
		"92BM", "-5", "inf", "1e30GB", "9.3e18", "1MBMB", "\x00"} {
		if got, err := ParseSize(text); err == nil || !strings.Contains(err.Error(), "is not a size such as 92MB") {
			t.Errorf("ParseSize(%q) is %d, %v", text, got, err)
		}
	}
}

func TestFractionOfAByte(t *testing.T) {
	for _, text := range []string{"105.5", "105.5B", "0.5"} {
		if _, err := ParseSize(text); err == nil || !strings.HasSuffix(err.Error(), "5MB?") || !strings.HasPrefix(err.Error(), text+" is not a whole number of bytes") {
			t.Errorf("ParseSize(%q): %v", text, err)
		}
	}
}

func TestExact(t *testing.T) {
	for n, want := range map[int64]string{92: "92B", 92_000: "92kB", 92_000_000: "92MB", 105_500_000: "105.5MB", 1_500_000_000: "1.5GB", 123_456_789: "123.456789MB"} {
		got := Exact(n)
		if read, err := ParseSize(got); got != want || read != n || err != nil {
			t.Errorf("Exact(%d) is %s, read as %d, %v; want %s", n, got, read, err, want)
		}
	}
}

func TestAtLeast(t *testing.T) {
	for n, want := range map[int64]string{
		7: "7B", 999: "999B", 1000: "1kB", 1001: "1.01kB", 99_901: "100kB", 110_000: "110kB", 71_234_567: "71.3MB", 999_999_999: "1GB", 13_520_000_001: "13.6GB",
	} {
		got := AtLeast(n)
		if read, err := ParseSize(got); got != want || err != nil || read < n || float64(read) > 1.01*float64(n)+1 {
			t.Errorf("AtLeast(%d) is %s, read as %d, %v; want %s", n, got, read, err, want)
		}
	}
}

// Any text is a size that is not negative, or an error in one line.
func FuzzParseSize(f *testing.F) {
	for _, text := range []string{"92MB", "1.5GiB", "-1", "1e400", "9223372036854775807", "8EiB", "", "0x1p3MB", "NaN", "\x00"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if n, err := ParseSize(text); n < 0 || err != nil && strings.ContainsFunc(err.Error(), func(r rune) bool { return r < ' ' }) {
			t.Errorf("%q: %d, %q", text, n, err)
		}
	})
}
