package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"thimble"
	"thimble/internal/defect"
)

var (
	folderFlag = &cli.StringFlag{Name: "output", Aliases: []string{"o"}, Usage: "write curve.svg, curve.md and curve.json to `FOLDER`, which may exist"}
	keepFlag   = &cli.BoolFlag{Name: "keep", Usage: "keep the containers in FOLDER, too"}
)

const curveHelp = `Makes the file that thimble quantize would make for each of several sizes,
compares it with MODEL on every text, and prints divergence, top-1 agreement and
perplexity against size, with time and memory: one page from which to choose a
file for a phone. All sizes share one survey. A first run with --chunks 4 shows
the shape quickly.

Calibrate (--calib) on text like the model's future input. Measure on other text
of that kind, and also on text of another kind, to see what calibration costs
there.

--rows names a YAML file of recipes for whatever sizes alone cannot express.
Each row has any of these keys: name; size or bpw, and schemes, as
--target-size, --target-bpw and --schemes of thimble quantize; kl, the target of
the first trial of --max-kl; scheme, embedding, head, method, without and set,
as in a recipe; for, as --for; calib: false for a row without calibration:

   - {name: nearest, scheme: int4/g32, embedding: int8/g32, calib: false}
   - {name: no refit, scheme: int4/g32, without: [refit, descent]}
   - {size: 92MB, schemes: [int4/g32, int8/g32]}
   - {file: peer-q4_k_m.gguf}

The last row measures an existing file, which any tool may have made.

--peers names a YAML or JSON file with the results of other tools, each with
name, bytes, kl and text: the text's file name without directory and extension.

With -o FOLDER, charts in that folder plot rows and peers, one chart for each
text. Divergence is KL(MODEL || file) in nats per token, as thimble verify
measures it.

thimble curve FOLDER draws the results that thimble sweep has stored in FOLDER,
one curve for each model; only --peers, -o, --force and --json apply.

Examples:
   thimble curve SmolLM2-135M --text test.txt --calib valid.txt
   thimble curve SmolLM2-135M --text test.txt --text code.txt \
      --calib valid.txt --sizes 92MB,98.4MB,105.5MB --peers peers.yaml -o curve
   thimble curve SmolLM2-135M --text test.txt --calib valid.txt --chunks 16 \
      --rows docs/curve/rows-ablation.yaml
   thimble curve SmolLM2-135M --text test.txt --calib valid.txt \
      --sizes 92MB,105MB --for llama.cpp -o curve --keep
   thimble curve results -o charts`

func curveCommand() *cli.Command {
	return &cli.Command{
		Name:  "curve",
		Usage: "measure the loss of a model at each of several sizes",
		UsageText: "thimble curve MODEL --text FILE [--calib FILE] [--sizes SIZES | --rows FILE] [--peers FILE] [-o FOLDER]\n" +
			"   thimble curve FOLDER [--peers FILE] [-o FOLDER]",
		Description: curveHelp,
		Flags: slices.Concat([]cli.Flag{
			&cli.StringSliceFlag{Name: "text", Usage: "measure on the text in `FILE` (repeatable)"},
			&cli.StringFlag{Name: "sizes", Usage: "the `SIZES` of files, such as 92MB,105.5MB (default: five from 4.5 to 8 bits per weight)"},
			&cli.StringFlag{Name: "schemes", Usage: "the `SCHEMES` that --sizes choose from, separated by commas"},
			&cli.StringFlag{Name: "for", Usage: "with --sizes: use only schemes that the program `TARGET` has types for: " + strings.Join(thimble.Targets(), ", ")},
			&cli.StringFlag{Name: "rows", Usage: "read rows from a YAML `FILE`"},
			&cli.StringFlag{Name: "peers", Usage: "also show the results of other tools in `FILE`"},
			contextFlag, chunksFlag,
			folderFlag, keepFlag,
			&cli.BoolFlag{Name: "force", Usage: "replace files that exist"},
			setFlag, dropFlag, loraFlag, jsonFlag, quietFlag,
		}, calibrationFlags),
		Action: curveAction,
	}
}

func curveAction(c *cli.Context) error {
	path, err := oneModel(c)
	if err != nil {
		return err
	}
	if thimble.HasResults(path) {
		return curvesAction(c, path)
	}
	o := thimble.CurveOptions{
		Model: path, Set: overridesOf(c), Texts: c.StringSlice("text"), RowsFile: c.String("rows"), PeersFile: c.String("peers"),
		Target: c.String(forFlag.Name), Folder: c.String(folderFlag.Name), Keep: c.Bool(keepFlag.Name), Overwrite: c.Bool(forceFlag.Name),
	}
	if err := checkFolder(c); err != nil {
		return err
	}
	if c.IsSet("sizes") {
		o.Sizes = strings.Split(c.String("sizes"), ",")
	}
	if c.IsSet("schemes") {
		o.Schemes = strings.Split(c.String("schemes"), ",")
	}
	if o.Context, o.Chunks, err = chunksOf(c); err != nil {
		return err
	}
	if o.Calibration, err = calibrationOf(c); err != nil {
		return err
	}
	if err := fetch(c, o.Set, &o.Model); err != nil {
		return err
	}
	progress := newMeter(c)
	defer progress.Done()
	o.Progress = progress.Step
	r, err := thimble.Curve(c.Context, o)
	if err != nil {
		return err
	}
	progress.Done()
	return print(c, r)
}

// curvesAction draws the results of a sweep.
func curvesAction(c *cli.Context, path string) error {
	for _, f := range c.Command.Flags {
		switch name := f.Names()[0]; name {
		case "peers", folderFlag.Name, forceFlag.Name, jsonFlag.Name, quietFlag.Name:
		default:
			if c.IsSet(name) {
				return fmt.Errorf("%s: these are the results of a sweep, which are not measured again; leave out --%s", defect.Printable(path), name)
			}
		}
	}
	if err := checkFolder(c); err != nil {
		return err
	}
	r, err := thimble.SweepCurves(c.Context, thimble.SweepCurvesOptions{
		Results: path, PeersFile: c.String("peers"), Folder: c.String(folderFlag.Name), Overwrite: c.Bool(forceFlag.Name),
	})
	if err != nil {
		return err
	}
	return print(c, r)
}

// checkFolder returns an error if a flag that needs -o is given without it.
func checkFolder(c *cli.Context) error {
	if c.IsSet(folderFlag.Name) {
		if c.String(folderFlag.Name) == "" {
			return errors.New("-o: name a folder")
		}
		return nil
	}
	for _, name := range []string{keepFlag.Name, forceFlag.Name} {
		if c.Bool(name) {
			return errors.New("--" + name + " has no effect without -o FOLDER")
		}
	}
	return nil
}
