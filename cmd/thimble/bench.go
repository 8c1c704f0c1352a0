package main

import (
	"fmt"

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

Examples:
   thimble bench smol.thimble
   thimble bench smol.thimble --prefill 128 --decode 128 --runs 5 --json`

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
			arithmeticFlag, activationsFlag, kvFlag, setFlag, dropFlag, jsonFlag,
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
	}
	if o.Arithmetic, err = arithmeticOf(c); err != nil {
		return err
	}
	o.Integers = !choosesArithmetic(c)
	s, err := thimble.Bench(c.Context, o)
	if err != nil {
		return err
	}
	return printText(c, s, func() string { return speedText(s) })
}

// speedText formats s for a terminal.
func speedText(s *verify.Speed) string {
	p, d := verify.Median(s.Prefill), verify.Median(s.Decode)
	text := fmt.Sprintf("prefill %4d tokens  %8.1f tokens/s  %6.1f GFLOP/s in linear layers\ndecode  %4d tokens  %8.1f tokens/s  on %d cores\n"+
		"cache   %4d tokens  %8.2f MB        %v\n",
		s.Prompt, p, p*s.FLOP/1e9, s.Steps, d, s.Cores, s.Prompt+s.Steps, float64(s.Cache)/1e6, s.Arithmetic)
	if s.Memory > 0 {
		text += fmt.Sprintf("memory              %8.1f MB        peak resident, including the mapped file\n", float64(s.Memory)/1e6)
	}
	return text
}
