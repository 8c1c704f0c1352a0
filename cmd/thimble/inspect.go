package main

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/urfave/cli/v2"

	"thimble"
	"thimble/internal/defect"
)

const inspectHelp = `Opening a container verifies its header and accounts for every byte of the file.
--check also reads every tensor and compares its SHA-256: it finds a single
flipped bit and names the tensor.

--recipe prints how a container was quantized, as YAML that quantize --recipe
takes: the same model and texts then give the same bytes again.

If the file is not a model, the error says what it looks like, and which command
or option takes such a file.

Examples:
   thimble inspect smol.thimble --check
   thimble inspect smol.thimble --recipe > smol.yaml
   thimble inspect SmolLM2-135M --tensors
   thimble inspect smol-Q4_K_M.gguf
   thimble inspect smol.thimble --json | jq .provenance.sources`

func inspectCommand() *cli.Command {
	return &cli.Command{
		Name:        "inspect",
		Usage:       "describe a model, and check a container for damage",
		UsageText:   "thimble inspect MODEL [--check] [--tensors | --recipe | --json]",
		Description: inspectHelp,
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "tensors", Usage: "list every tensor"},
			&cli.BoolFlag{Name: "recipe", Usage: "print the recipe of a container as YAML"},
			&cli.BoolFlag{Name: "check", Usage: "read the whole file and verify every digest (containers only)"},
			setFlag, dropFlag, loraFlag, jsonFlag, quietFlag,
		},
		Action: inspectAction,
	}
}

func inspectAction(c *cli.Context) error {
	path, err := oneModel(c)
	if err != nil {
		return err
	}
	if c.Bool("recipe") && (c.Bool("tensors") || c.Bool(jsonFlag.Name)) {
		return errors.New("--recipe prints only the recipe, as YAML; leave out --tensors and --json, or use --json alone and read provenance.recipe")
	}
	set := overridesOf(c)
	if err := fetch(c, set, &path); err != nil {
		return err
	}
	progress := newMeter(c)
	defer progress.done()
	r, err := thimble.Inspect(c.Context, thimble.InspectOptions{
		Model: path, Set: set, Check: c.Bool("check"), Progress: progress.step,
	})
	if err != nil {
		return err
	}
	progress.done()
	if c.Bool("recipe") {
		if r.Provenance.Recipe == "" {
			return fmt.Errorf("%s: no recipe, because it was not quantized by thimble; quantize writes containers with their recipe", defect.Printable(path))
		}
		_, err := io.WriteString(c.App.Writer, strings.TrimRight(r.Provenance.Recipe, "\n")+"\n")
		return err
	}
	return printText(c, r, func() string { return inspectText(r, c.Bool("tensors")) })
}
