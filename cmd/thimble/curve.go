package main

import (
	"errors"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"thimble"
)

var (
	folderFlag = &cli.StringFlag{Name: "output", Aliases: []string{"o"}, Usage: "write curve.svg, curve.md and curve.json into `FOLDER`, which may exist"}
	keepFlag   = &cli.BoolFlag{Name: "keep", Usage: "keep the containers there, too"}
)

func curveCommand() *cli.Command {
	return &cli.Command{
		Name:      "curve",
		Usage:     "measure what a model loses at each of several sizes",
		UsageText: "thimble curve MODEL --text FILE [--calib FILE] [--sizes SIZES | --rows FILE] [--peers FILE] [-o FOLDER]",
		Description: "Makes the file that thimble quantize would make, once for each size, compares it with\n" +
			"MODEL on every text, and prints divergence, top-1 agreement and perplexity against\n" +
			"size, with time and memory: what to choose for a phone, on one page. One survey\n" +
			"serves all sizes. A first run with --chunks 4 shows the shape in little time.\n\n" +
			"Calibrate (--calib) on text of the kind that the model will meet, and measure on other\n" +
			"text: some of that kind, and some that is not, which shows what calibration costs\n" +
			"where it was not aimed at.\n\n" +
			"--rows names a YAML file for what sizes alone do not say, a list of recipes, each with\n" +
			"any of these keys: name; size or bpw, and schemes, as --target-size, --target-bpw and\n" +
			"--schemes of thimble quantize; kl, which is aimed at as the first try of --max-kl does;\n" +
			"scheme, embedding, head, method, without and set as in a recipe; for, as --for; calib:\n" +
			"false for a row made without the text:\n\n" +
			"   - {name: nearest, scheme: int4/g32, embedding: int8/g32, calib: false}\n" +
			"   - {name: no refit, scheme: int4/g32, without: [refit, descent]}\n" +
			"   - {size: 92MB, schemes: [int4/g32, int8/g32]}\n" +
			"   - {file: peer-q4_k_m.gguf}\n\n" +
			"The last measures a file that is there already, which any tool may have made.\n\n" +
			"--peers names a YAML or JSON file of points that other tools reach, each with name,\n" +
			"bytes, kl and text, the name of the text less folder and ending.\n\n" +
			"In the folder of -o, curve.svg shows it all, one picture for each text. Divergence is\n" +
			"KL(MODEL || file) in nats per token, as thimble verify measures it.\n\n" +
			"Examples:\n" +
			"   thimble curve SmolLM2-135M --text test.txt --calib valid.txt\n" +
			"   thimble curve SmolLM2-135M --text test.txt --text code.txt \\\n" +
			"      --calib valid.txt --sizes 92MB,98.4MB,105.5MB --peers peers.yaml -o curve\n" +
			"   thimble curve SmolLM2-135M --text test.txt --calib valid.txt --chunks 16 \\\n" +
			"      --rows docs/curve/rows-ablation.yaml\n" +
			"   thimble curve SmolLM2-135M --text test.txt --calib valid.txt \\\n" +
			"      --sizes 92MB,105MB --for llama.cpp -o curve --keep",
		Flags: slices.Concat([]cli.Flag{
			&cli.StringSliceFlag{Name: "text", Usage: "measure on the text in `FILE` (repeatable)"},
			&cli.StringFlag{Name: "sizes", Usage: "the `SIZES` of files, such as 92MB,105.5MB (default: five from 4.5 to 8 bits per weight)"},
			&cli.StringFlag{Name: "schemes", Usage: "the `SCHEMES` that --sizes choose from, with commas between them"},
			&cli.StringFlag{Name: "for", Usage: "with --sizes: use what the program `TARGET` has types for: " + strings.Join(thimble.Targets(), ", ")},
			&cli.StringFlag{Name: "rows", Usage: "read rows from a YAML `FILE`"},
			&cli.StringFlag{Name: "peers", Usage: "show the points in `FILE` beside them"},
			contextFlag, chunksFlag,
			folderFlag, keepFlag,
			&cli.BoolFlag{Name: "force", Usage: "replace files that exist"},
			setFlag, jsonFlag, quietFlag,
		}, calibrationFlags),
		Action: curveAction,
	}
}

func curveAction(c *cli.Context) error {
	path, err := oneModel(c)
	if err != nil {
		return err
	}
	o := thimble.CurveOptions{
		Model: path, Set: c.StringSlice(setFlag.Name), Texts: c.StringSlice("text"), RowsFile: c.String("rows"), PeersFile: c.String("peers"),
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
	progress := newMeter(c)
	defer progress.done()
	o.Progress = progress.step
	r, err := thimble.Curve(c.Context, o)
	if err != nil {
		return err
	}
	progress.done()
	return print(c, r)
}

// checkFolder refuses flags about a folder that is not named.
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
