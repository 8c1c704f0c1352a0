package main

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"thimble"
	"thimble/cmd/thimble/internal/terminal"
	"thimble/cmd/thimble/internal/text"
	"thimble/internal/model"
	"thimble/internal/units"
)

var budgetFlags = []cli.Flag{
	&cli.StringFlag{Name: "target-size", Usage: "choose each matrix's scheme so that the file takes at most `SIZE`, such as 92MB"},
	&cli.StringFlag{Name: "max-resident", Usage: "with an entropy-coded file: keep the tensors below `SIZE` once they are loaded, by narrower codes"},
	&cli.Float64Flag{Name: "target-bpw", Usage: "choose each matrix's scheme so that the file takes at most `BITS` per weight"},
	&cli.Float64Flag{Name: "max-kl", Usage: "choose the smallest schemes whose KL divergence on held-out text is at most `NATS` per token"},
	&cli.Float64Flag{Name: "min-top1", Usage: "choose the smallest schemes with which the most likely token stays the same at a `SHARE` of held-out positions, such as 0.9, or more"},
	&cli.StringFlag{Name: "schemes", Usage: "the `SCHEMES` to choose from, separated by commas"},
	statsFlag,
}

const quantizeHelp = `Prints a plan for every tensor, then writes the file. It never falls back to
another type: a scheme that a tensor cannot have is an error before any work
starts.

The ending of -o, or --to, names the format: .gguf for llama.cpp, Ollama and LM
Studio, .thimble for thimble run; --to mlx, compressed-tensors and safetensors
write a folder, whose weights --shard-size divides into files. A .gguf file
implies --for llama.cpp, and the others likewise: schemes are limited to those
that the format stores. --modelfile FILE also writes a Modelfile for ollama
create.

--preset NAME stands for these flags, which the plan shows. Flags that are given
override them:
PRESETS
A scheme is a float type (f32, f16, bf16, or keep for the source's own type) or
intBITS/GROUP, with /sym, /asym, /s4 or /nl after it. int4/g32 stores one
float16 scale for each 32 columns, and int8/row one for each row. Symmetric
schemes, /sym, are the default and need not say so; plans do. int4/g32/asym
stores a minimum as well. int4/g16/s4 stores a scale of 4 bits for each 16
columns: at equal size, it loses about a third less. Only .thimble files have
that, but for int6/g16/s4, which GGUF can store as Q6_K. The number of columns
need not be a multiple of the group size. Q4_0, IQ4_NL, Q4_1, Q5_0, Q5_1 and
Q8_0 are llama.cpp's names for int4/g32, int4/g32/nl (uneven levels, for GGUF),
int4/g32/asym, int5/g32, int5/g32/asym and int8/g32.

The embedding, which is also the output head of a tied model, usually deserves
more bits than the layers. Patterns match a name part by part: 'blocks.*.down',
'blocks.1?.q'.

--calib FILE calibrates with the method gptq, in which later weights of a row
compensate for the rounding errors of earlier ones, weighted by the activations
that the text produces. Use text like the model's future input, at least eight
tokens for each column of the widest layer (--calib-tokens); with fewer the
result gets worse. Without --calib, a method that needs text uses a built-in mix
of prose, code and chat, and the plan says so. The file records the recipe and
the SHA-256 of the text, so --recipe makes the same file again or reports that
the text differs.

A file named .jsonl or .ndjson has one conversation per line: {"messages":
[{"role": "user", "content": "..."}, ...]}, ShareGPT's {"conversations": [...]}
or {"text": "..."}. The model's chat template renders each conversation, without
tools, and the results are packed end to end into pieces.

--target-size, --target-bpw, --max-kl and --min-top1 choose a scheme for each
matrix. A survey predicts the loss of each matrix in each scheme of --schemes,
and the bits go where they reduce the loss most. For --max-kl and --min-top1 the
result is measured on held-out pieces of the text, and the model is quantized
again, up to four times, until it is just within the limit. All four calibrate.
--set fixes the scheme of a matrix. --scheme and --head cannot be combined with
them; --embedding can if the head is a separate matrix.

Groups lose less if channels of the residual stream that need similar steps are
beside each other, so quantize reorders them, which changes nothing that the
model computes. LoRA adapters and image parts made for the source do not fit
such a file; merge an adapter with --lora, or use --without reorder.

--without omits steps of the method, and the recipe in the file records it.
thimble curve measures the gain of each step.

The survey does not depend on the budget. --stats FILE saves it, and loads it on
the next run with the same model, texts and --schemes. Repeat --stats to use the
mean of several surveys, weighted by their tokens; their texts may differ.

A calibrated run keeps each finished block in OUT.unfinished until the output is
complete. After Ctrl-C, a full disk or a power cut, the same command with
--resume continues from there and writes the same bytes; without such a file, it
starts with the first block. Without --resume such a file is an error, and
--force starts over. Runs with --max-kl or --min-top1 keep no blocks.

--entropy-coded makes a .thimble file smaller: it stores integers in as many bits
as their entropy takes, and all cores decode them when the file is opened. With
--scheme it leaves the model the same. With --target-size or --target-bpw, codes
are multiples of one step for a whole matrix, and the steps are chosen so that
the bits go where they reduce the loss most: a file of the same size loses less
than half as much. int8/row@4.5 is such a scheme, of 4.5 bits per weight in the
file and 8 in memory; --max-resident SIZE bounds the latter.

--tune TOKENS goes on after rounding: it changes the scales, minima, norm gains
and biases, while all codes and scales of 4 bits stay, so that the logits come
closer to those of the source on the calibration text. It takes as many tokens
of that text, of which it holds out an eighth, at most 8 pieces, and keeps the
values that are best on those. The size, the types and what runs the file stay
the same; norms and biases are stored as f32. Use 16384 tokens or more of text
like the model's future input.

--shard I/N divides a run without calibration among N machines that share a
folder: each rounds its share of the matrices into OUT.shard-I-of-N, and
continues there if it was interrupted. Then --merge in place of --shard writes
OUT, with the bytes of an undivided run, and removes the parts. --shard auto
takes the share from a Slurm array, and auto/N from an indexed Kubernetes Job.

--max-mem SIZE bounds the peak of memory, mapped files included, without changing
a byte of the result. A calibrated run then keeps what does not fit in a
temporary file next to OUT. A bound that is too small is refused before any
work, with the least that would do.

--for llama.cpp refuses, before any work starts, models and schemes that GGUF
cannot store, and reports which types have fast kernels on phones. Of types
for all widths they are Q4_0, IQ4_NL and Q8_0: --schemes int4/g32/nl,int8/g32
keeps to the better two. --target-size then limits the GGUF file, which is what
ships. --for mlx, vllm, transformers and onnxruntime do the same for what
thimble export --to writes.

Examples:
   thimble quantize SmolLM2-135M -o smol.gguf --preset phone
   thimble quantize SmolLM2-135M -o smol.gguf --target-size 92MB \
      --calib chats.jsonl --modelfile Modelfile
   thimble quantize SmolLM2-135M -o smol.thimble \
      --scheme int4/g32 --embedding int8/g32
   thimble quantize SmolLM2-135M -o smol.thimble \
      --entropy-coded --target-size 80MB --calib chats.txt
   thimble quantize SmolLM2-135M -o smol-mlx --to mlx --scheme int4/g64 \
      --embedding int8/g64
   thimble quantize SmolLM2-135M -o smol-ct --to compressed-tensors \
      --scheme int4/g64 --embedding keep
   thimble quantize SmolLM2-135M -o smol.thimble --scheme int8/g32 --dry-run
   thimble quantize SmolLM2-135M -o smol.thimble \
      --scheme int4/g32/asym --set 'blocks.*.down=int8/g32'
   thimble quantize smol-bf16.gguf -o smol.thimble --scheme int4/g32
   thimble quantize SmolLM2-135M -o smol.thimble --recipe phone.yaml
   thimble quantize SmolLM2-135M -o smol.thimble \
      --scheme int4/g32 --embedding int8/g32 --calib chats.txt
   thimble quantize SmolLM2-135M-Instruct -o smol.thimble \
      --calib chats.jsonl --calib notes.txt --target-size 92MB
   thimble quantize SmolLM2-135M -o smol.gguf --target-size 92MB \
      --calib chats.jsonl --tune 65536
   thimble quantize SmolLM2-135M -o smol.thimble --calib chats.txt --max-kl 0.05
   thimble quantize SmolLM2-135M -o smol.thimble --resume \
      --calib chats.txt --target-size 92MB --stats smol.survey.json
   thimble quantize Llama-70B -o l.thimble --scheme int4/g32 --shard 1/2
   thimble quantize Llama-70B -o l.thimble --scheme int4/g32 --shard 2/2
   thimble quantize Llama-70B -o l.thimble --scheme int4/g32 --merge
   thimble quantize SmolLM2-135M -o smol.thimble --target-bpw 5 \
      --calib a.txt --calib b.txt --stats a.json --stats b.json`

var tuneFlag = &cli.IntFlag{Name: "tune", Usage: "after rounding, tune scales and norm gains on `TOKENS` of the calibration text, such as 65536 (experimental: gains on a small test model, not yet on SmolLM2-135M)"}

func quantizeCommand() *cli.Command {
	return &cli.Command{
		Name:        "quantize",
		Usage:       "store a model in 2 to 8 bits per weight",
		UsageText:   "thimble quantize SRC -o OUT.gguf|OUT.thimble (--preset NAME | --scheme SCHEME | --target-size SIZE) [--embedding SCHEME] [--set PATTERN=SCHEME ...]",
		Description: strings.Replace(quantizeHelp, "PRESETS", presetHelp(), 1),
		Flags: slices.Concat([]cli.Flag{
			outFlag, toFlag, textsFlag, shardSizeFlag, ollamaFlag, presetFlag,
			&cli.StringFlag{Name: "scheme", Usage: "the `SCHEME` of the linear layers"},
			&cli.StringFlag{Name: "embedding", Usage: "the `SCHEME` of the embedding (default: the linear layers')"},
			&cli.StringFlag{Name: "head", Usage: "the `SCHEME` of an untied output head (default: the embedding's)"},
			&cli.StringFlag{Name: "method", Usage: "the `METHOD` that rounds weights: " + strings.Join(thimble.Methods(), ", ") + " (default: " + thimble.PlainMethod + ")"},
			&cli.StringFlag{Name: "without", Usage: "omit `STEPS` of the method, to measure their gain; steps of " + thimble.CalibratedMethod + ": " + strings.Join(thimble.MethodSteps(thimble.CalibratedMethod), ",")},
			&cli.StringSliceFlag{Name: "set", Usage: "`PATTERN=SCHEME` sets the scheme of matching tensors (the last match wins); KEY=VALUE overrides the checkpoint's config.json (repeatable)"},
			tuneFlag, codedFlag, dropFlag, loraFlag,
			&cli.StringFlag{Name: "recipe", Usage: "read these settings from a YAML `FILE`; flags override it"},
			partFlag, mergeFlag, forFlag, maxMemFlag, dryRunFlag, forceFlag, jsonFlag, quietFlag,
		}, calibrationFlags, budgetFlags),
		Action: quantizeAction,
	}
}

func quantizeAction(c *cli.Context) error {
	path, err := oneModel(c)
	if err != nil {
		return err
	}
	note, err := applyPreset(c)
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
	out, err := outputOf(c)
	if err != nil {
		return err
	}
	o.Output, o.Format, o.Context, o.ShardSize = out.path, out.format, out.context, out.shardSize
	if o.Modelfile, err = modelfileOf(c); err != nil {
		return err
	}
	if o.MaxMem, err = maxMemOf(c); err != nil {
		return err
	}
	o.Merge = c.Bool(mergeFlag.Name)
	if o.Shard, err = shardOf(c, false); err != nil {
		return err
	}
	if o.Budget, err = budgetOf(c); err != nil {
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
	o.Progress, o.Planned = progress.Step, announce(c, progress)
	o.Warned = func(text string) { progress.Note("warning: " + text) }
	o.Noted = func(text string) { progress.Note("note: " + terminal.OneLine(text)) }
	if note != "" {
		o.Notes = []string{note}
	}
	r, err := thimble.Quantize(c.Context, o)
	if err != nil {
		return err
	}
	progress.Done()
	return printQuantized(c, r)
}

// An output is the file or folder that a command writes.
type output struct {
	path      string // "" for a dry run, which still has a format
	format    string
	context   int
	shardSize int64
}

// outputOf reads outFlag, toFlag, textsFlag and shardSizeFlag.
func outputOf(c *cli.Context) (o output, err error) {
	o.path = c.String(outFlag.Name)
	if o.format, err = thimble.OutputFormat(c.String(toFlag.Name), o.path); err != nil {
		return o, err
	}
	if !c.IsSet(toFlag.Name) && filepath.Ext(o.path) == "" {
		o.format = "" // nobody chose it, so the result has a note
	}
	if o.context = c.Int(textsFlag.Name); c.IsSet(textsFlag.Name) && o.context < 1 {
		return o, fmt.Errorf("--context %d: want the number of tokens in the longest text", o.context)
	}
	if o.shardSize, err = shardSizeOf(c); err != nil {
		return o, err
	}
	switch {
	case c.Bool(dryRunFlag.Name):
		o.path = ""
	case o.path == "":
		return o, fmt.Errorf("%s needs -o FILE for the file it writes, such as model.gguf or model.thimble, or --dry-run", c.Command.Name)
	}
	return o, nil
}

// shardSizeOf reads shardSizeFlag.
func shardSizeOf(c *cli.Context) (size int64, err error) {
	if c.IsSet(shardSizeFlag.Name) {
		if size, err = units.ParseSize(c.String(shardSizeFlag.Name)); err != nil {
			err = fmt.Errorf("--shard-size %w", err)
		}
	}
	return size, err
}

// recipeOf reads --recipe and applies the other flags to it. It returns the config
// overrides among the --set values separately.
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
	if c.IsSet(tuneFlag.Name) {
		if recipe.Tune = c.Int(tuneFlag.Name); recipe.Tune < 1 {
			return recipe, nil, fmt.Errorf("--tune %d: want a number of tokens, such as 65536", recipe.Tune)
		}
	}
	if c.IsSet(codedFlag.Name) {
		recipe.EntropyCoded = c.Bool(codedFlag.Name)
	}
	overrides = changesOf(c)
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

// isConfig reports whether a --set value is a config override, such as
// "layer_sharing=true", or a fact, such as "general.license=mit". Otherwise it is a rule, in
// which the value is a scheme, or the key is a tensor's name or contains a dot or a wildcard.
func isConfig(set string) bool {
	key, value, _ := strings.Cut(set, "=")
	_, err := thimble.ParseScheme(value)
	if strings.HasPrefix(key, model.FactPrefix) {
		return true // no tensor has such a name
	}
	return err != nil && value != thimble.Keep && !strings.ContainsAny(key, ".*?[") &&
		!slices.Contains([]string{model.Embed, model.Head, model.Norm}, key)
}

// limitsSet reports whether flags set a limit for a budget, or returns an error if several are that
// exclude each other, or none is and another flag needs one.
func limitsSet(c *cli.Context) (bool, error) {
	kinds := 0
	for _, given := range []bool{c.IsSet("target-size"), c.IsSet("target-bpw"), c.IsSet("max-kl") || c.IsSet("min-top1")} {
		if given {
			kinds++
		}
	}
	switch {
	case kinds > 1:
		return false, errors.New("--target-size, --target-bpw and limits on divergence (--max-kl, --min-top1) exclude each other; give one")
	case kinds == 0 && c.IsSet("schemes"):
		return false, errors.New("--schemes has no effect without --target-size, --target-bpw, --max-kl or --min-top1")
	case kinds == 0 && c.IsSet("max-resident"):
		return false, errors.New("--max-resident has no effect without --target-size or --target-bpw, and --entropy-coded")
	}
	return kinds == 1, nil
}

// budgetOf reads budgetFlags. It returns nil if they set no limit.
func budgetOf(c *cli.Context) (*thimble.Budget, error) {
	if set, err := limitsSet(c); err != nil || !set {
		return nil, err
	}
	b := &thimble.Budget{Bits: c.Float64("target-bpw"), KL: c.Float64("max-kl"), Top1: c.Float64("min-top1")}
	for _, limit := range []struct {
		name  string
		below float64
		want  string
	}{
		{"target-bpw", 64, "a number of bits between 0 and 64"}, {"max-kl", 1e6, "a positive number of nats"}, {"min-top1", 1, "a fraction between 0 and 1"},
	} {
		if v := c.Float64(limit.name); c.IsSet(limit.name) && !(v > 0 && v < limit.below) {
			return nil, fmt.Errorf("--%s %g: want %s", limit.name, v, limit.want)
		}
	}
	var err error
	if c.IsSet("schemes") {
		if b.Schemes, err = thimble.ParseSchemes(strings.Split(c.String("schemes"), ",")); err != nil {
			return nil, fmt.Errorf("--schemes: %w", err)
		}
	}
	if c.IsSet("max-resident") {
		if b.KL != 0 || b.Top1 != 0 {
			return nil, errors.New("--max-resident goes with --target-size or --target-bpw, not with limits on divergence")
		}
		if b.Resident, err = units.ParseSize(c.String("max-resident")); err != nil {
			return nil, fmt.Errorf("--max-resident %w", err)
		}
	}
	if c.IsSet("target-size") {
		if b.File, err = units.ParseSize(c.String("target-size")); err != nil {
			return nil, fmt.Errorf("--target-size %w", err)
		}
	}
	return b, nil
}

// announce returns a callback that prints the plan before the work starts. With
// --json the only output is the document at the end.
func announce(c *cli.Context, progress *terminal.Meter) func(*thimble.Quantized) error {
	return func(r *thimble.Quantized) error {
		progress.Done()
		if c.Bool(jsonFlag.Name) {
			return nil
		}
		shown := *r
		shown.Notes = progress.Untold(c.App.Writer, "note: ", r.Notes)
		if r.Calibration != nil {
			health := *r.Calibration
			health.Warnings = progress.Untold(c.App.Writer, "warning: ", health.Warnings)
			shown.Calibration = &health
		}
		_, err := io.WriteString(c.App.Writer, text.Plan(&shown))
		return err
	}
}

// printQuantized prints the result of Quantize or Convert, after announce has printed
// the plan.
func printQuantized(c *cli.Context, r *thimble.Quantized) error {
	return printText(c, r, func() string { return text.Quantized(r) })
}
