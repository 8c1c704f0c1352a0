package main

import (
	"fmt"

	"github.com/urfave/cli/v2"

	"thimble"
	"thimble/verify"
)

func benchCommand() *cli.Command {
	return &cli.Command{
		Name:      "bench",
		Usage:     "measure how fast this machine runs a model",
		UsageText: "thimble bench MODEL [--prefill 512] [--decode 64] [--runs 3]",
		Description: "Times a prompt fed at once and tokens fed one by one, in float32 arithmetic on\n" +
			"GOMAXPROCS cores, after one run that is not counted, and prints the median.\n" +
			"Compare two files, or two tools, in the same minute: machines drift.\n\n" +
			"--activations int8 is computed in float32, too, to the bits of integer kernels but at\n" +
			"none of their speed. --kv shows how little memory a cache takes.",
		Flags: []cli.Flag{
			&cli.IntFlag{Name: "prefill", Value: 512, Usage: "prompt of `N` tokens"},
			&cli.IntFlag{Name: "decode", Value: 64, Usage: "then `N` tokens one by one"},
			&cli.IntFlag{Name: "runs", Value: 3, Usage: "counted `RUNS`"},
			activationsFlag, kvFlag, setFlag, jsonFlag,
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
		Model: path, Set: c.StringSlice(setFlag.Name), Prefill: c.Int("prefill"), Decode: c.Int("decode"), Runs: c.Int("runs"), FitContext: !c.IsSet("prefill"),
	}
	if o.Arithmetic, err = arithmeticOf(c); err != nil {
		return err
	}
	s, err := thimble.Bench(c.Context, o)
	if err != nil {
		return err
	}
	return printText(c, s, func() string { return speedText(s) })
}

// speedText is what bench prints.
func speedText(s *verify.Speed) string {
	p, d := verify.Median(s.Prefill), verify.Median(s.Decode)
	text := fmt.Sprintf("prefill %4d tokens  %8.1f tokens/s  %6.1f GFLOP/s in linear layers\ndecode  %4d tokens  %8.1f tokens/s  on %d cores\n"+
		"cache   %4d tokens  %8.2f MB        %v\n",
		s.Prompt, p, p*s.FLOP/1e9, s.Steps, d, s.Cores, s.Prompt+s.Steps, float64(s.Cache)/1e6, s.Arithmetic)
	if s.Memory > 0 {
		text += fmt.Sprintf("memory              %8.1f MB        most that was resident, the mapped file included\n", float64(s.Memory)/1e6)
	}
	return text
}
