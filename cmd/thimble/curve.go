package main

import (
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"thimble/internal/defect"
	"thimble/verify/metric"
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
			&cli.StringFlag{Name: "for", Usage: "with --sizes: use what the program `TARGET` has types for: " + strings.Join(targetNames(), ", ")},
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

// A curve is the report of curve.
type curve struct {
	Model       string         `json:"model"`
	Weights     int64          `json:"weights"`
	Calibration *curveText     `json:"calibration,omitempty"`
	Texts       []curveMeasure `json:"texts"`
	Cores       int            `json:"cores"`
	Survey      *cost          `json:"survey,omitempty"` // once for all rows with a budget
	Rows        []curveRow     `json:"rows"`
	Peers       []peer         `json:"peers,omitempty"`
	Notes       []string       `json:"notes,omitempty"`
	Folder      string         `json:"folder,omitempty"`
	Output      []string       `json:"output,omitempty"` // files in it
}

// A curveText is what rows were calibrated on.
type curveText struct {
	SHA256  []string `json:"sha256"`
	Tokens  int      `json:"tokens"`
	Context int      `json:"context"`
	Seed    uint64   `json:"seed,omitempty"`
}

// A curveMeasure is a text that rows are measured on.
type curveMeasure struct {
	Name    string       `json:"name"`
	Chunks  int          `json:"chunks"`
	Context int          `json:"context"`
	Tokens  int          `json:"tokens"` // scored
	PPL     metric.Value `json:"ppl"`    // of the model itself
}

// A cost is what something took.
type cost struct {
	Seconds float64 `json:"seconds"`
	Peak    int64   `json:"peak_resident_bytes,omitempty"` // of the process meanwhile, mapped files included; 0 where not known
}

// A curveRow is one file.
type curveRow struct {
	Name          string  `json:"name"`
	Bytes         int64   `json:"bytes"` // of the file
	SHA256        string  `json:"sha256"`
	BitsPerWeight float64 `json:"bits_per_weight"`
	PredictedKL   float64 `json:"predicted_kl,omitempty"`
	File          string  `json:"file,omitempty"`   // that was given; then there is no recipe and no cost
	Recipe        string  `json:"recipe,omitempty"` // canonical YAML
	cost
	Measured []curvePoint `json:"measured"` // by text
	kind     string
}

// A curvePoint is a file measured on a text.
type curvePoint struct {
	KLMean   metric.Value `json:"kl_mean"` // nats per token
	KLMeanSE metric.Value `json:"kl_mean_se"`
	KLP99    metric.Value `json:"kl_p99"`
	Top1     metric.Value `json:"top1_agreement"`
	PPL      metric.Value `json:"ppl"`
	PPLRatio metric.Value `json:"ppl_ratio"` // to the model's own
}

func curveAction(c *cli.Context) error {
	path, err := oneModel(c)
	if err != nil {
		return err
	}
	rows, err := rowsOf(c)
	if err != nil {
		return err
	}
	texts := c.StringSlice("text")
	names, err := textNames(texts)
	if err != nil {
		return err
	}
	peers, note, err := peersOf(c, names)
	if err != nil {
		return err
	}
	m, err := openSound(path, c.StringSlice(setFlag.Name))
	if err != nil {
		return err
	}
	defer m.Close()
	containers, err := containerNames(c, rows)
	if err != nil {
		return err
	}
	inputs := slices.Concat(m.Files, givenFiles(rows), texts, c.StringSlice("calib"), []string{c.String("rows"), c.String("peers")})
	out, err := folderOf(c, slices.Concat(containers, curveFiles(names)), inputs)
	if err != nil {
		return err
	}
	weights, _ := m.Size()
	d := &drafting{c: c, m: m, rows: rows, out: out, curve: &curve{Model: path, Weights: weights, Peers: peers, Cores: runtime.GOMAXPROCS(0)}}
	if note != "" {
		d.curve.Notes = append(d.curve.Notes, note)
	}
	for i, text := range texts {
		prompts, err := textPrompts(c, m, text)
		if err != nil {
			return err
		}
		d.prompts = append(d.prompts, prompts)
		d.curve.Texts = append(d.curve.Texts, curveMeasure{Name: names[i], Chunks: len(prompts), Context: len(prompts[0].IDs)})
	}
	if err := d.choose(); err != nil {
		return fmt.Errorf("%s: %w", defect.Printable(path), err)
	}
	if err := out.open(); err != nil {
		return err
	}
	defer out.close()
	if err := d.measure(); err != nil {
		return err
	}
	if out.path != "" {
		files := d.curve.files()
		if err := c.Context.Err(); err != nil {
			return err
		}
		if err := out.publish(containers, files); err != nil {
			return err
		}
		d.curve.Folder, d.curve.Output = out.path, append(d.curve.Output, containers...)
		for _, f := range files {
			d.curve.Output = append(d.curve.Output, f.name)
		}
	}
	return print(c, d.curve)
}

// textNames are what the texts are called, all different.
func textNames(paths []string) (names []string, err error) {
	if len(paths) == 0 {
		return nil, errors.New("curve needs a text to measure on: --text FILE")
	}
	for _, path := range paths {
		name := textName(path)
		if slices.ContainsFunc(names, func(other string) bool { return fileName(other) == fileName(name) }) {
			return nil, fmt.Errorf("--text: two texts are called %s; give one file another name", name)
		}
		names = append(names, name)
	}
	return names, nil
}

// givenFiles are the files of rows that are measured as they are.
func givenFiles(rows []*row) (files []string) {
	for _, r := range rows {
		if r.file != "" {
			files = append(files, r.file)
		}
	}
	return files
}

// containerNames are the files that --keep asks for.
func containerNames(c *cli.Context, rows []*row) (names []string, err error) {
	if !c.Bool(keepFlag.Name) {
		return nil, nil
	}
	for _, r := range rows {
		if r.file != "" {
			continue
		}
		name := fileName(r.name) + ".thimble"
		if slices.Contains(names, name) {
			return nil, fmt.Errorf("--keep: two rows would be %s; give one another name", name)
		}
		names = append(names, name)
	}
	return names, nil
}
