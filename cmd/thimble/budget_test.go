package main

import "testing"

func TestParseSize(t *testing.T) {
	for text, want := range map[string]int64{
		"92MB": 92e6, "92 MB": 92e6, "1.5GB": 15e8, "10kB": 10000, "10KB": 10000, "88MiB": 88 << 20, "2GiB": 2 << 30, "3KiB": 3 << 10,
		"92000000": 92e6, "5B": 5, "1e6": 1e6,
	} {
		if got, err := parseSize(text); got != want || err != nil {
			t.Errorf("%s is %d, %v, want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"", "MB", "92BM", "92Mb", "-5", "-5MB", "0", "0.5", "nan", "inf", "1e30GB", "9.3e18", "1MBMB", "\x00"} {
		if got, err := parseSize(text); err == nil {
			t.Errorf("%q is %d, want an error", text, got)
		}
	}
}
