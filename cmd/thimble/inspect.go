package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/urfave/cli/v2"

	"thimble"
	"thimble/cmd/thimble/internal/text"
	"thimble/internal/defect"
	"thimble/internal/device"
)

const inspectHelp = `Opening a container verifies its header and accounts for every byte of the file.
--check also reads every tensor and compares its SHA-256: it finds a single
flipped bit and names the tensor.

--recipe prints how a container was quantized, as YAML that quantize --recipe
takes: the same model and texts then give the same bytes again.

--device estimates what the model costs on phones: memory, the fastest decoding
that the memory's bandwidth allows, and the share of a battery. --device NAME
shows one phone with the sources of its figures, --kv another type of the KV
cache. docs/MOBILE.md has the formulas.

If the file is not a model, the error says what it looks like, and which command
or option takes such a file.

Examples:
   thimble inspect smol.thimble --check
   thimble inspect smol.thimble --recipe > smol.yaml
   thimble inspect SmolLM2-135M --tensors
   thimble inspect smol.thimble --device
   thimble inspect smol.thimble --device iphone-15 --kv int8
   thimble inspect smol-Q4_K_M.gguf
   thimble inspect smol.thimble --json | jq .provenance.sources`

func inspectCommand() *cli.Command {
	return &cli.Command{
		Name:        "inspect",
		Usage:       "describe a model, and check a container for damage",
		UsageText:   "thimble inspect MODEL [--check] [--tensors | --recipe | --device [NAME] | --json]",
		Description: inspectHelp,
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "tensors", Usage: "list every tensor"},
			&cli.BoolFlag{Name: "recipe", Usage: "print the recipe of a container as YAML"},
			&cli.BoolFlag{Name: "check", Usage: "read the whole file and verify every digest (containers only)"},
			deviceFlag, kvFlag,
			setFlag, dropFlag, loraFlag, jsonFlag, quietFlag,
		},
		Action: inspectAction,
	}
}

// deviceFlag is followed by the name of a phone or by none; see flagsFirst.
var deviceFlag = &cli.StringFlag{Name: "device", Usage: "show what the model costs on the phone `NAME`, or without a name on all of the table"}

func inspectAction(c *cli.Context) error {
	phone := c.String(deviceFlag.Name)
	if phone == device.All && c.NArg() > 1 { // none of the words is a phone
		for _, word := range c.Args().Slice() {
			if _, err := os.Stat(word); err != nil {
				return device.Unknown(word)
			}
		}
	}
	path, err := oneModel(c)
	if err != nil {
		return err
	}
	switch {
	case c.Bool("recipe") && (c.Bool("tensors") || c.Bool(jsonFlag.Name) || phone != ""):
		return errors.New("--recipe prints only the recipe, as YAML; leave out --tensors, --device and --json, or use --json alone and read provenance.recipe")
	case phone != "" && c.Bool("tensors"):
		return errors.New("--device and --tensors are two tables; use one of them, or --json for both")
	case phone == "" && (c.IsSet(kvFlag.Name) || c.IsSet(deviceFlag.Name)):
		return fmt.Errorf("inspect: --kv changes the costs that --device shows, which names a phone: %s", strings.Join(device.Names(), ", "))
	}
	arithmetic, err := arithmeticOf(c)
	if err != nil {
		return err
	}
	set := overridesOf(c)
	if err := fetch(c, set, &path); err != nil {
		return err
	}
	progress := newMeter(c)
	defer progress.Done()
	r, err := thimble.Inspect(c.Context, thimble.InspectOptions{
		Model: path, Set: set, Check: c.Bool("check"), Device: phone, Arithmetic: arithmetic, Progress: progress.Step,
	})
	if err != nil {
		return err
	}
	progress.Done()
	if c.Bool("recipe") {
		if r.Provenance.Recipe == "" {
			return fmt.Errorf("%s: no recipe, because it was not quantized by thimble; quantize writes containers with their recipe", defect.Printable(path))
		}
		_, err := io.WriteString(c.App.Writer, strings.TrimRight(r.Provenance.Recipe, "\n")+"\n")
		return err
	}
	if r.Device != nil {
		return printText(c, r, func() string { return text.Device(r) })
	}
	return printText(c, r, func() string { return text.Inspection(r, c.Bool("tensors")) })
}
