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
		"10KB": 10000, "3KiB": 3 << 10, "5B": 5,
	} {
		if got, err := ParseSize(text); got != want || err != nil {
			t.Errorf("ParseSize(%q) is %d, %v, want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"", "MB", "0", "-1MB", "NaN", "1e300", "92 megs", "92mb",
		"92BM", "92Mb", "-5", "0.5", "inf", "1e30GB", "9.3e18", "1MBMB", "\x00"} {
		if got, err := ParseSize(text); err == nil || !strings.Contains(err.Error(), "is not a size such as 92MB") {
			t.Errorf("ParseSize(%q) is %d, %v", text, got, err)
		}
	}
}
