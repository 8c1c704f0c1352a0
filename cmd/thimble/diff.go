package main

import (
	"errors"
	"fmt"

	"github.com/urfave/cli/v2"

	"thimble"
	"thimble/verify/diff"
)

func diffCommand() *cli.Command {
	return &cli.Command{
		Name:      "diff",
		Usage:     "compare two models tensor by tensor, whatever their formats",
		UsageText: "thimble diff A B [--values] [--all] [--json]",
		Description: "Says what differs in what the models compute and in their tokenizers, and for each\n" +
			"tensor how it is stored, bits per weight, NMSE (the squared difference of all values\n" +
			"over the squares of A's), and how many groups of 32 columns hold another value. The\n" +
			"most different tensors come first.\n\n" +
			"Exit status: 0 the same, 1 they differ, 2 could not compare. Where a model came from is\n" +
			"shown and does not count, nor does the format of the file: Q4_0 is int4/g32.\n\n" +
			"Examples:\n" +
			"   thimble diff SmolLM2-135M smol.thimble\n" +
			"   thimble diff smol.thimble smol.gguf --values\n" +
			"   thimble diff old.thimble new.thimble --json | jq .nmse",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "values", Usage: "the same values stored in another way are the same"},
			&cli.BoolFlag{Name: "all", Usage: "list every tensor, also those that are the same"},
			setFlag, jsonFlag, quietFlag,
		},
		Action: diffAction,
	}
}

func diffAction(c *cli.Context) error {
	if c.NArg() != 2 {
		return fmt.Errorf("diff takes two models, got %d arguments; see thimble diff --help", c.NArg())
	}
	a, b := c.Args().Get(0), c.Args().Get(1)
	if a == "" || b == "" {
		return errors.New("diff: a model's path is empty")
	}
	progress := newMeter(c)
	defer progress.done()
	r, err := thimble.Diff(c.Context, thimble.DiffOptions{A: a, B: b, Set: c.StringSlice(setFlag.Name), Values: c.Bool("values"), Progress: progress.step})
	if err != nil {
		return err
	}
	progress.done()
	if err := printText(c, r, func() string { return diff.Text(r, c.Bool("all")) }); err != nil {
		return err
	}
	if !r.Same {
		return errRefused
	}
	return nil
}
