package speed

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// fakeBench writes a program that prints what llama-bench prints.
func fakeBench(t *testing.T, dir, script string) {
	t.Helper()
	if runtime.GOOS == "windows" {
		t.Skip("the program is a shell script")
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "llama-bench"), []byte("#!/bin/sh\n"+script), 0o755); err != nil {
		t.Fatal(err)
	}
}

func TestLlamaBench(t *testing.T) {
	const good = `if [ $4 = 8 ]; then s=120.5; else s=30.25; fi; echo "[{\"n_prompt\": $4, \"n_gen\": $6, \"avg_ts\": $s}]"`
	for name, c := range map[string]struct{ script, err string }{
		"good":       {`[ "$*" = "-m x.gguf -p 8 -n 0 -d 0 -r 1 -t 2 -o json" ] || [ "$*" = "-m x.gguf -p 0 -n 4 -d 8 -r 1 -t 2 -o json" ] || exit 3` + "\n" + good, ""},
		"other runs": {strings.Replace(good, "$4,", "9,", 1), "lacks a speed"},
		"no JSON":    {"echo none", "is no JSON"},
		"fails":      {"echo loading >&2; echo no such model >&2; exit 1", "exit status 1: no such model"},
	} {
		dir := t.TempDir()
		fakeBench(t, filepath.Join(dir, "build/bin"), c.script)
		b, err := FindLlamaBench(dir, "x.gguf", 2)
		if err != nil {
			t.Fatal(err)
		}
		prefill, decode, err := b.Run(t.Context(), 8, 4)
		switch {
		case c.err == "" && (err != nil || prefill != 120.5 || decode != 30.25):
			t.Errorf("%s: %v and %v tokens per second, %v", name, prefill, decode, err)
		case c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)):
			t.Errorf("%s: error %v, want %s", name, err, c.err)
		}
	}
	if _, err := FindLlamaBench(t.TempDir(), "x.gguf", 2); err == nil || !strings.Contains(err.Error(), "has a program llama-bench") {
		t.Errorf("error %v", err)
	}
}

func TestLlamaBenchStops(t *testing.T) {
	dir := t.TempDir()
	fakeBench(t, dir, "exec sleep 60")
	b, err := FindLlamaBench(dir, "x.gguf", 2)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := b.Run(ctx, 8, 4); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}

// A counter that starts again at 0, and a part of a package, which is not counted twice.
func TestMeter(t *testing.T) {
	dir := t.TempDir()
	write := func(zone, name, value string) {
		t.Helper()
		path := filepath.Join(dir, zone)
		if err := os.MkdirAll(path, 0o755); err != nil {
			t.Skip(err) // no colons in names on Windows
		}
		if err := os.WriteFile(filepath.Join(path, name), []byte(value+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	pattern := filepath.Join(dir, "intel-rapl:[0-9]*")
	if _, ok := startMeter(pattern); ok {
		t.Error("there is no counter, and the measurement started")
	}
	for zone, value := range map[string]string{"intel-rapl:0": "9000000", "intel-rapl:0:0": "1", "intel-rapl:1": "500000"} {
		write(zone, "energy_uj", value)
		write(zone, "max_energy_range_uj", "10000000")
	}
	m, ok := startMeter(pattern)
	write("intel-rapl:0", "energy_uj", "2000000")
	write("intel-rapl:0:0", "energy_uj", "9999999")
	write("intel-rapl:1", "energy_uj", "1500000")
	if got := m.Joules(); !ok || got != 4 {
		t.Errorf("%v J, want 4", got)
	}
}

func TestRoof(t *testing.T) {
	if testing.Short() {
		t.Skip("takes a second")
	}
	r, err := MeasureRoof(t.Context())
	// The slowest machine that runs this reaches a hundredth of these.
	if err != nil || !(r.Bandwidth > 1e8 && r.Bandwidth < 1e13) || !(r.Float > 1e8 && r.Float < 1e14) || !(r.Integer > 1e8 && r.Integer < 1e15) {
		t.Errorf("%+v, %v", r, err)
	}
}
