package main

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"thimble"
	"thimble/internal/defect"
	"thimble/internal/model"
	"thimble/internal/units"
)

var budgetFlags = []cli.Flag{
	&cli.StringFlag{Name: "target-size", Usage: "choose each matrix's scheme so that the file takes at most `SIZE`, such as 92MB or 88MiB"},
	&cli.Float64Flag{Name: "target-bpw", Usage: "the same for `BITS` per weight"},
	&cli.Float64Flag{Name: "max-kl", Usage: "choose the smallest schemes whose divergence, measured on held-out text, is at most `NATS` per token"},
	&cli.Float64Flag{Name: "min-top1", Usage: "the same for a `SHARE` of positions with the same most likely token, such as 0.9"},
	&cli.StringFlag{Name: "schemes", Usage: "the `SCHEMES` to choose from, with commas between them"},
	statsFlag,
}

func quantizeCommand() *cli.Command {
	return &cli.Command{
		Name:      "quantize",
		Usage:     "store a checkpoint in 4 or 8 bits per weight",
		UsageText: "thimble quantize SRC -o OUT.thimble --scheme SCHEME [--embedding SCHEME] [--set PATTERN=SCHEME ...]",
		Description: "Prints what every tensor will become, then writes the container. Nothing falls back\n" +
			"to another type: what a tensor cannot take is an error before work starts.\n\n" +
			"A scheme is a float type (f32, f16, bf16, or keep for the source's own) or\n" +
			"intBITS/GROUP[/asym]: int4/g32 shares one float16 scale among 32 columns, int8/row\n" +
			"among a whole row, int4/g32/asym adds a minimum. Columns need not divide by the group.\n\n" +
			"The embedding, which is also the output head in tied models, usually deserves more\n" +
			"bits than the layers. Patterns go part by part: 'blocks.*.down', 'blocks.1?.q'.\n\n" +
			"--calib makes rounding make up for its own errors, as a text shows them (method\n" +
			"gptq). Give text of the kind that the model will meet, ten tokens or more for each\n" +
			"column of the widest layer: fewer mislead it (--calib-tokens);\n" +
			"--method gptq alone takes a built-in text. The recipe in the file keeps the text's\n" +
			"SHA-256, so that --recipe makes the same file again or says that the text differs.\n\n" +
			"A file named .jsonl or .ndjson holds a conversation a line, {\"messages\": [{\"role\":\n" +
			"\"user\", \"content\": \"...\"}, ...]}, ShareGPT's {\"conversations\": [...]} or {\"text\":\n" +
			"\"...\"}. Conversations are written out by the model's chat template, without tools,\n" +
			"and packed into pieces one after the other.\n\n" +
			"--target-size, --target-bpw, --max-kl and --min-top1 choose each matrix's scheme: a\n" +
			"survey predicts what every matrix costs in every scheme of --schemes, and the budget\n" +
			"goes where it gains most. Limits on divergence are then measured on pieces of the text\n" +
			"that are held out, and the model is quantized again, up to four times, until it keeps\n" +
			"them closely. --set keeps a matrix out of it; --scheme and --head do not go\n" +
			"with them, --embedding only where it is not the head too. They calibrate, too.\n\n" +
			"--without leaves steps of the method out; the recipe in the file says so. thimble curve\n" +
			"measures what each is worth.\n\n" +
			"The survey does not depend on the budget: --stats FILE keeps it, and takes it from\n" +
			"there the next time, for the same model, texts and --schemes. Given several times, the\n" +
			"mean of the files is taken, weighted by their tokens, whatever texts they are of.\n\n" +
			"A calibrated run keeps each finished block in OUT.unfinished until the output is\n" +
			"there. After Ctrl-C, a full disk or a power cut the same command with --resume continues\n" +
			"from there, to the same bytes; if nothing was kept it starts with the first block.\n" +
			"Without --resume such a file is an error, and --force starts over. --max-kl and\n" +
			"--min-top1 make several runs, which are not kept.\n\n" +
			"--for llama.cpp refuses before work starts what thimble export --to gguf would refuse,\n" +
			"and says which of the types used have fast kernels on phones.\n\n" +
			"Examples:\n" +
			"   thimble quantize SmolLM2-135M -o smol.thimble \\\n" +
			"      --scheme int4/g32 --embedding int8/g32\n" +
			"   thimble quantize SmolLM2-135M -o smol.thimble --scheme int8/g32 --dry-run\n" +
			"   thimble quantize SmolLM2-135M -o smol.thimble \\\n" +
			"      --scheme int4/g32/asym --set 'blocks.*.down=int8/g32'\n" +
			"   thimble quantize smol-bf16.gguf -o smol.thimble --scheme int4/g32\n" +
			"   thimble quantize SmolLM2-135M -o smol.thimble --recipe phone.yaml\n" +
			"   thimble quantize SmolLM2-135M -o smol.thimble \\\n" +
			"      --scheme int4/g32 --embedding int8/g32 --calib chats.txt\n" +
			"   thimble quantize SmolLM2-135M-Instruct -o smol.thimble \\\n" +
			"      --calib chats.jsonl --calib notes.txt --target-size 92MB\n" +
			"   thimble quantize SmolLM2-135M -o smol.thimble --calib chats.txt --max-kl 0.05\n" +
			"   thimble quantize SmolLM2-135M -o smol.thimble --resume \\\n" +
			"      --calib chats.txt --target-size 92MB --stats smol.survey.json\n" +
			"   thimble quantize SmolLM2-135M -o smol.thimble --target-bpw 5 \\\n" +
			"      --calib a.txt --calib b.txt --stats a.json --stats b.json\n" +
			"   thimble quantize SmolLM2-135M -o smol.thimble \\\n" +
			"      --scheme int4/g32 --embedding int8/g32 --for llama.cpp",
		Flags: slices.Concat([]cli.Flag{
			outFlag,
			&cli.StringFlag{Name: "scheme", Usage: "`SCHEME` of the linear layers"},
			&cli.StringFlag{Name: "embedding", Usage: "`SCHEME` of the embedding (default: the linear layers')"},
			&cli.StringFlag{Name: "head", Usage: "`SCHEME` of an untied output head (default: the embedding's)"},
			&cli.StringFlag{Name: "method", Usage: "`METHOD` that chooses the codes: " + strings.Join(thimble.Methods(), ", ") + " (default: " + thimble.PlainMethod + ")"},
			&cli.StringFlag{Name: "without", Usage: "leave out `STEPS` of the method, to see what they are worth; of " + thimble.CalibratedMethod + ": " + strings.Join(thimble.MethodSteps(thimble.CalibratedMethod), ",")},
			&cli.StringSliceFlag{Name: "set", Usage: "`PATTERN=SCHEME` for the tensors that match, the last match winning; or KEY=VALUE overrides the checkpoint's config.json (repeatable)"},
			&cli.StringFlag{Name: "recipe", Usage: "read the same settings from a YAML `FILE`; flags override it"},
			forFlag, dryRunFlag, forceFlag, jsonFlag, quietFlag,
		}, calibrationFlags, budgetFlags),
		Action: quantizeAction,
	}
}

func quantizeAction(c *cli.Context) error {
	path, err := oneModel(c)
	if err != nil {
		return err
	}
	o := thimble.QuantizeOptions{
		Model: path, Overwrite: c.Bool(forceFlag.Name), Surveys: c.StringSlice(statsFlag.Name), Target: c.String(forFlag.Name),
		Resume: c.Bool(resumeFlag.Name), Inputs: []string{c.String("recipe")},
	}
	if o.Recipe, o.Set, err = recipeOf(c); err != nil {
		return err
	}
	if o.Output, err = containerOutput(c); err != nil {
		return err
	}
	if o.Budget, err = budgetOf(c); err != nil {
		return err
	}
	if o.Calibration, err = calibrationOf(c); err != nil {
		return err
	}
	progress := newMeter(c)
	defer progress.done()
	o.Progress, o.Planned = progress.step, announce(c, progress)
	r, err := thimble.Quantize(c.Context, o)
	if err != nil {
		return err
	}
	progress.done()
	return printQuantized(c, r)
}

// containerOutput is the file that a command writes, "" for a dry run.
func containerOutput(c *cli.Context) (string, error) {
	switch out := c.String(outFlag.Name); {
	case c.Bool(dryRunFlag.Name):
		return "", nil
	case out == "":
		return "", fmt.Errorf("%s needs -o FILE for the container it writes, or --dry-run", c.Command.Name)
	default:
		return out, nil
	}
}

// recipeOf reads --recipe, lays the other flags over it, and returns apart the
// config overrides among the --set values.
func recipeOf(c *cli.Context) (recipe thimble.Recipe, overrides []string, err error) {
	if path := c.String("recipe"); path != "" {
		read, err := thimble.ReadRecipe(c.Context, path)
		if err != nil {
			return recipe, nil, err
		}
		recipe = *read
	}
	for name, field := range map[string]*string{
		"scheme": &recipe.Scheme, "embedding": &recipe.Embedding, "head": &recipe.Head, "method": &recipe.Method,
	} {
		if c.IsSet(name) {
			*field = c.String(name)
		}
	}
	if c.IsSet("without") {
		recipe.Without = strings.Split(c.String("without"), ",")
	}
	for _, text := range c.StringSlice(setFlag.Name) {
		if isConfig(text) {
			overrides = append(overrides, text)
			continue
		}
		rule, err := thimble.ParseRule(text)
		if err != nil {
			return recipe, nil, fmt.Errorf("--set %w", err)
		}
		recipe.Rules = append(recipe.Rules, rule)
	}
	return recipe, overrides, nil
}

// isConfig tells a config override, "layer_sharing=true", from a rule: a rule's key
// is a tensor's name or has a dot or a star, or its value is a scheme.
func isConfig(set string) bool {
	key, value, _ := strings.Cut(set, "=")
	return !thimble.IsScheme(value) && !strings.ContainsAny(key, ".*?[") &&
		!slices.Contains([]string{model.Embed, model.Head, model.Norm}, key)
}

// limits are the flags of which a budget needs one.
var limits = []string{"target-size", "target-bpw", "max-kl", "min-top1"}

// budgetOf reads budgetFlags. It returns nil if schemes are not to be chosen.
func budgetOf(c *cli.Context) (*thimble.Budget, error) {
	if !slices.ContainsFunc(limits, c.IsSet) {
		if c.IsSet("schemes") {
			return nil, errors.New("--schemes has no effect without --target-size, --target-bpw, --max-kl or --min-top1")
		}
		return nil, nil
	}
	b := &thimble.Budget{Bits: c.Float64("target-bpw"), KL: c.Float64("max-kl"), Top1: c.Float64("min-top1")}
	for _, limit := range []struct{ name, want string }{
		{"target-bpw", "a number of bits between 0 and 64"}, {"max-kl", "a positive number of nats"}, {"min-top1", "a share between 0 and 1"},
	} {
		if c.IsSet(limit.name) && c.Float64(limit.name) == 0 {
			return nil, fmt.Errorf("--%s 0: want %s", limit.name, limit.want)
		}
	}
	if c.IsSet("schemes") {
		b.Schemes = strings.Split(c.String("schemes"), ",")
	}
	if !c.IsSet("target-size") {
		return b, nil
	}
	var err error
	if b.File, err = units.ParseSize(c.String("target-size")); err != nil {
		return nil, fmt.Errorf("--target-size %w", err)
	}
	return b, nil
}

// announce prints a plan before it is carried out, unless one JSON document is to be
// printed at the end.
func announce(c *cli.Context, progress *meter) func(*thimble.Quantized) error {
	return func(r *thimble.Quantized) error {
		progress.done()
		if c.Bool(jsonFlag.Name) {
			return nil
		}
		_, err := io.WriteString(c.App.Writer, planText(r))
		return err
	}
}

// planText is what is known of r before any of it is carried out.
func planText(r *thimble.Quantized) string {
	var b strings.Builder
	for _, note := range r.Notes {
		fmt.Fprintln(&b, "note:", defect.Printable(note))
	}
	fmt.Fprint(&b, r.Plan)
	switch {
	case r.Measured != nil:
		fmt.Fprintf(&b, "measured on %d held-out tokens: KL %.4f nats per token, top-1 agreement %.2f %%\n", r.Measured.Tokens, r.Measured.KL, 100*r.Measured.Top1)
	case r.PredictedKL > 0:
		fmt.Fprintf(&b, "predicted divergence: KL %.4f nats per token; verify --against measures it\n", r.PredictedKL)
	}
	if len(r.Types) > 0 {
		b.WriteString(typesText(r.Types))
	}
	if r.Calibration != nil {
		fmt.Fprint(&b, r.Calibration)
	}
	return b.String()
}

// typesText lists the types of a target that a plan uses.
func typesText(types []thimble.TargetType) string {
	var b strings.Builder
	all := int64(0)
	for _, t := range types {
		all += t.Weights
	}
	fmt.Fprintf(&b, "for %s:\n", types[0].Target)
	for _, t := range types {
		fmt.Fprintf(&b, "  %-5s %4d matrices, %5.1f%% of their weights: %s\n", t.Type, t.Tensors, 100*float64(t.Weights)/float64(all), t.Speed)
	}
	return b.String()
}

// printQuantized prints what Quantize or Convert did, after planText.
func printQuantized(c *cli.Context, r *thimble.Quantized) error {
	return printText(c, r, func() string {
		if r.Output == "" {
			return "dry run: nothing was written\n"
		}
		text := ""
		if r.Calibration != nil {
			text = r.Calibration.Table()
			for _, warning := range r.NewWarnings() {
				text += "warning: " + warning + "\n"
			}
		}
		return text + fmt.Sprintf("wrote %s, %s, %.2f bits per weight\nheader sha256 %v\n", defect.Printable(r.Output), units.Size(r.Bytes), r.BitsPerWeight, r.HeaderSHA256)
	})
}
