package main

import (
	"errors"
	"fmt"

	"github.com/urfave/cli/v2"

	"thimble"
	"thimble/verify/diff"
)

const diffHelp = `Lists the differences between the two models' architectures, tokenizers and
tensors. For each tensor it shows the scheme and bits per weight in each model,
the NMSE (the sum of squared differences over the sum of A's squares), and the
share of groups of 32 columns with a different value. The most different tensors
come first. A calibrated recipe rotates heads without changing what the model
computes: such tensors are marked * and compared after the same rotation.

Exit status: 0 the models are the same, 1 they differ, 2 they could not be
compared. Provenance is listed but ignored, and so is the file format: Q4_0
equals int4/g32, and bf16 widened to f32 without loss equals bf16.

Examples:
   thimble diff SmolLM2-135M smol.thimble
   thimble diff smol.thimble smol.gguf --values
   thimble diff old.thimble new.thimble --json | jq .nmse`

func diffCommand() *cli.Command {
	return &cli.Command{
		Name:        "diff",
		Usage:       "compare two models tensor by tensor, whatever their formats",
		UsageText:   "thimble diff A B [--values] [--all] [--json]",
		Description: diffHelp,
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "values", Usage: "compare values only, not the schemes that store them"},
			&cli.BoolFlag{Name: "all", Usage: "list every tensor, including equal ones"},
			setFlag, dropFlag, loraFlag, colorFlag, jsonFlag, quietFlag,
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
	colors, err := colorsOf(c)
	if err != nil {
		return err
	}
	set := overridesOf(c)
	if err := fetch(c, set, &a, &b); err != nil {
		return err
	}
	progress := newMeter(c)
	defer progress.Done()
	r, err := thimble.Diff(c.Context, thimble.DiffOptions{A: a, B: b, Set: set, Values: c.Bool("values"), Progress: progress.Step})
	if err != nil {
		return err
	}
	progress.Done()
	if err := printVerdict(c, r, colors, func() string { return diff.Text(r, c.Bool("all")) }); err != nil {
		return err
	}
	if !r.Same {
		return errRefused
	}
	return nil
}
