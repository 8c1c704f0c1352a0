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

--trust FILE requires a signature that thimble sign or ssh-keygen made, MODEL.sig,
and checks all digests. FILE is a public key such as id_ed25519.pub, or a list of
them, an allowed_signers file. The exit status is 1 if the signature is by
another key or of other bytes, and 2 if there is none or the file is damaged.

--bom prints a bill of materials (CycloneDX 1.6, JSON) with the digests of the
model, its source files and calibration texts, its recipe, the metrics of gates
it has passed, and the name, author, licence and the like that the keys of a
.gguf file, --set general.license=ID or a folder's README.md state. The same
model gives the same bytes.

--device estimates what the model costs on phones: memory, the fastest decoding
that the memory's bandwidth allows, and the share of a battery. --device NAME
shows one phone with the sources of its figures, --kv another type of the KV
cache. docs/MOBILE.md has the formulas.

If the file is not a model, the error says what it looks like, and which command
or option takes such a file.

Examples:
   thimble inspect smol.thimble --check
   thimble inspect smol.thimble --trust release-key.pub
   thimble inspect smol.thimble --bom > smol.cdx.json
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
		UsageText:   "thimble inspect MODEL [--check] [--trust FILE] [--tensors | --recipe | --bom | --device [NAME] | --json]",
		Description: inspectHelp,
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "tensors", Usage: "list every tensor"},
			&cli.BoolFlag{Name: "recipe", Usage: "print the recipe of a container as YAML"},
			&cli.BoolFlag{Name: "check", Usage: "read the whole file and verify every digest (containers only)"},
			deviceFlag, kvFlag,
			&cli.BoolFlag{Name: "bom", Usage: "print what the model was made from as a CycloneDX 1.6 bill of materials in JSON"},
			&cli.StringFlag{Name: "trust", Usage: "require a signature by a key in `FILE`, a public key or an allowed_signers file of OpenSSH, and check all digests"},
			&cli.StringFlag{Name: "signature", Usage: "with --trust: the signature is in `FILE` (default: beside the model, with .sig appended)"},
			setFlag, dropFlag, loraFlag, jsonFlag, quietFlag,
		},
		Action: inspectAction,
	}
}

// deviceFlag is followed by the name of a phone or by none; see flagsFirst.
var deviceFlag = &cli.StringFlag{Name: "device", Usage: "show what the model costs on the phone `NAME`, or without a name on all of the table"}

// checkInspect returns an error if flags exclude each other. phone is the value of --device.
func checkInspect(c *cli.Context, phone string) error {
	switch {
	case c.Bool("recipe") && (c.Bool("tensors") || c.Bool(jsonFlag.Name) || phone != ""):
		return errors.New("--recipe prints only the recipe, as YAML; leave out --tensors, --device and --json, or use --json alone and read provenance.recipe")
	case c.Bool("bom") && (c.Bool("recipe") || c.Bool("tensors") || phone != ""):
		return errors.New("--bom prints only the bill of materials, as JSON; leave out --recipe, --tensors and --device")
	case phone != "" && c.Bool("tensors"):
		return errors.New("--device and --tensors are two tables; use one of them, or --json for both")
	case c.IsSet("trust") && c.String("trust") == "" || c.IsSet("signature") && !c.IsSet("trust"):
		return errors.New("inspect: --trust names the keys that a signature must be by, and --signature where it is; give --trust FILE")
	case phone == "" && (c.IsSet(kvFlag.Name) || c.IsSet(deviceFlag.Name)):
		return fmt.Errorf("inspect: --kv changes the costs that --device shows, which names a phone: %s", strings.Join(device.Names(), ", "))
	}
	return nil
}

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
	if err := checkInspect(c, phone); err != nil {
		return err
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
		Trust: c.String("trust"), Signature: c.String("signature"), Bill: c.Bool("bom"),
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
	if c.Bool("bom") {
		return printJSON(c.App.Writer, r.Bill)
	}
	if r.Device != nil {
		return printText(c, r, func() string { return text.Device(r) })
	}
	return printText(c, r, func() string { return text.Inspection(r, c.Bool("tensors")) })
}
