package main

import (
	"fmt"
	"runtime"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"thimble"
	"thimble/verify"
)

const benchHelp = `Times a prompt fed at once, then tokens fed one by one, on GOMAXPROCS cores.
Prints the median of the runs; a warm-up run does not count. Machines drift: to
compare two files or two tools, run them in the same minute.

Linear layers that are stored as integers compute in integers, with inputs
rounded to 8 bits, as on a phone; --arithmetic float computes in float32. --kv
shows how much memory a smaller cache saves.

The roof is what this machine reaches at most: reading memory in order limits
single tokens, which read all weights; products of operands in the caches limit
prompts. --against-llama-cpp exports the model to a temporary GGUF file, runs
llama-bench on it in turn with each run, and prints the ratios.

Examples:
   thimble bench smol.thimble
   thimble bench smol.thimble --prefill 128 --decode 128 --runs 5 --json
   thimble bench smol.thimble --runs 5 --against-llama-cpp ~/llama.cpp/build`

func benchCommand() *cli.Command {
	return &cli.Command{
		Name:        "bench",
		Usage:       "measure the speed of a model on this machine",
		UsageText:   "thimble bench MODEL [--prefill 512] [--decode 64] [--runs 3]",
		Description: benchHelp,
		Flags: []cli.Flag{
			&cli.IntFlag{Name: "prefill", Value: 512, Usage: "feed a prompt of `N` tokens at once"},
			&cli.IntFlag{Name: "decode", Value: 64, Usage: "then feed `N` tokens one by one"},
			&cli.IntFlag{Name: "runs", Value: 3, Usage: "number of `RUNS`, not counting the warm-up"},
			&cli.IntFlag{Name: "cores", Usage: "use `N` cores instead of all"},
			&cli.StringFlag{Name: "against-llama-cpp", Usage: "run llama-bench of the folder `DIR`, its bin or its build/bin in turn, and print ratios"},
			arithmeticFlag, activationsFlag, kvFlag, setFlag, dropFlag, loraFlag, jsonFlag,
		},
		Action: benchAction,
	}
}

func benchAction(c *cli.Context) error {
	path, err := oneModel(c)
	if err != nil {
		return err
	}
	o := thimble.BenchOptions{
		Model: path, Set: overridesOf(c), Prefill: c.Int("prefill"), Decode: c.Int("decode"), Runs: c.Int("runs"), FitContext: !c.IsSet("prefill"),
		LlamaCpp: c.String("against-llama-cpp"),
	}
	if c.IsSet("cores") {
		if n := c.Int("cores"); n < 1 || n > runtime.NumCPU() {
			return fmt.Errorf("--cores %d is out of range, want 1 to %d", n, runtime.NumCPU())
		}
		runtime.GOMAXPROCS(c.Int("cores"))
	}
	if o.Arithmetic, err = arithmeticOf(c); err != nil {
		return err
	}
	o.Integers = !choosesArithmetic(c)
	if err := fetch(c, o.Set, &o.Model); err != nil {
		return err
	}
	s, err := thimble.Bench(c.Context, o)
	if err != nil {
		return err
	}
	return printText(c, s, func() string { return speedText(s) })
}

// speedText formats s for a terminal.
func speedText(s *verify.Speed) string {
	p, d := verify.Median(s.Prefill), verify.Median(s.Decode)
	var b strings.Builder
	line := func(name, count, value, format string, args ...any) {
		fmt.Fprintf(&b, "%-8s%5s%8s  %s\n", name, count, value, strings.TrimSpace(fmt.Sprintf(format, args...)))
	}
	peak, unit := s.Roof.Float, "GFLOP/s"
	if s.Arithmetic.Activations != "f32" {
		peak, unit = s.Roof.Integer, "GOP/s"
	}
	line("prefill", fmt.Sprint(s.Prompt), fmt.Sprintf("%.1f", p), "tokens/s  %5.1f %s, %.0f%% of %.1f", p*s.FLOP/1e9, unit, 100*p*s.FLOP/peak, peak/1e9)
	read := float64(s.Bytes + s.Read)
	line("decode", fmt.Sprint(s.Steps), fmt.Sprintf("%.1f", d), "tokens/s  %5.1f GB/s, %.0f%% of %.1f, on %d cores", d*read/1e9, 100*d*read/s.Roof.Bandwidth, s.Roof.Bandwidth/1e9, s.Cores)
	if s.Peer != nil {
		for _, x := range []struct {
			name        string
			ours, peers []float64
		}{{"prefill", s.Prefill, s.Peer.Prefill}, {"decode", s.Decode, s.Peer.Decode}} {
			ratios := verify.Ratios(x.ours, x.peers)
			line("  "+x.name, "", fmt.Sprintf("%.2fx", verify.Median(ratios)), "of llama.cpp's %.1f tokens/s; %.2f to %.2f in %d pairs", verify.Median(x.peers), slices.Min(ratios), slices.Max(ratios), len(ratios))
		}
	}
	line("load", "", fmt.Sprintf("%.0f ms", 1e3*s.Load), "to open the file and check its digests")
	line("cache", fmt.Sprint(s.Prompt+s.Steps), fmt.Sprintf("%.1f", float64(s.Cache)/1e6), "MB  keys %s, values %s; activations %s", s.Arithmetic.Keys, s.Arithmetic.Values, s.Arithmetic.Activations)
	if s.Memory > 0 {
		line("memory", "", fmt.Sprintf("%.1f", float64(s.Memory)/1e6), "MB  peak resident, including the mapped file")
	}
	energy := "unknown: the system has no energy counters that this process may read"
	if s.Energy != nil {
		energy = fmt.Sprintf("%.3f J per token of decode, by the whole machine", verify.Median(s.Energy))
	}
	line("energy", "", "", "%s", energy)
	return b.String()
}
