package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"

	"thimble"
	"thimble/cmd/thimble/internal/manual"
	"thimble/internal/units"
	"thimble/verify"
)

// Flags of several commands.
var (
	outFlag       = &cli.StringFlag{Name: "output", Aliases: []string{"o"}, Usage: "write to `FILE`; its ending names the format, such as .thimble or .gguf"}
	toFlag        = &cli.StringFlag{Name: "to", Usage: "write `FORMAT` whatever FILE's ending is: " + strings.Join(thimble.OutputFormats(), ", ")}
	shardSizeFlag = &cli.StringFlag{Name: "shard-size", Usage: "with --to safetensors, mlx and compressed-tensors: begin a new file of weights after `SIZE`, such as 2GB (default: 5GB)"}
	textsFlag     = &cli.IntFlag{Name: "context", Usage: "for a .gguf file: write it for texts of up to `N` tokens (default: the model's context)"}
	forceFlag     = &cli.BoolFlag{Name: "force", Usage: "replace FILE if it exists"}
	dryRunFlag    = &cli.BoolFlag{Name: "dry-run", Usage: "print the plan and stop"}
	ollamaFlag    = &cli.StringFlag{Name: "modelfile", Usage: "with a .gguf file: also write `FILE` for ollama create, with the chat template and stop texts"}
	setFlag       = &cli.StringSliceFlag{
		Name: "set", Usage: "override a key of the checkpoint's config.json with `KEY=VALUE`, such as layer_sharing=true, or record a fact for .gguf files, such as general.license=mit (repeatable)",
	}
	dropFlag = &cli.StringSliceFlag{
		Name: "drop", Usage: "leave out the checkpoint's tensors that match `PATTERN`, such as '*.router.*' (repeatable)",
	}
	codedFlag = &cli.BoolFlag{
		Name: "entropy-coded", Usage: "store integers in as many bits as their entropy takes (.thimble only); the model stays the same, all cores decode it when it is opened",
	}
	maxMemFlag = &cli.StringFlag{
		Name: "max-mem", Usage: "keep the peak of memory, mapped files included, below `SIZE`, such as 800MB; what does not fit goes to a temporary file",
	}
	loraFlag = &cli.StringSliceFlag{
		Name: "lora", Usage: "merge the LoRA adapter of peft in `DIR` into the checkpoint's weights (repeatable, in this order)",
	}
	jsonFlag  = &cli.BoolFlag{Name: "json", Usage: "print one JSON document instead of a table"}
	quietFlag = &cli.BoolFlag{Name: "quiet", Aliases: []string{"q"}, Usage: "do not show progress on standard error"}

	contextFlag = &cli.IntFlag{Name: "context", Value: thimble.ChunkContext, Usage: "with --text: split the text into chunks of `TOKENS`; the second half of each is scored"}
	chunksFlag  = &cli.IntFlag{Name: "chunks", Usage: "with --text: use the first `N` chunks (default: all)"}

	arithmeticFlag  = &cli.StringFlag{Name: "arithmetic", Usage: "compute linear layers in `NAME`: float (float32), or int8 (weights stored as integers times inputs rounded to 8 bits, as phones do)"}
	activationsFlag = &cli.StringFlag{Name: "activations", Usage: "round the inputs of integer layers to `TYPE` as integer kernels do: int8 (a scale for each group of the weights), int8/row, int8/g32 and the like"}
	kvFlag          = &cli.StringFlag{Name: "kv", Usage: "store the KV cache as `TYPE`: int8, k8v4, f16, a scheme, or two separated by a comma"}

	forFlag    = &cli.StringFlag{Name: "for", Usage: "refuse schemes that the program `TARGET` lacks, and report which it computes fast: " + strings.Join(thimble.Targets(), ", ")}
	resumeFlag = &cli.BoolFlag{Name: "resume", Usage: "continue an interrupted calibrated run from OUT.unfinished, if there is one"}
	statsFlag  = &cli.StringSliceFlag{
		Name: "stats", Usage: "save the survey that a budget needs to `FILE`, or load it from there (repeatable: uses the mean)",
	}
)

// overridesOf returns what --set, --drop and --lora change in a checkpoint, as
// convert.Options wants it.
func overridesOf(c *cli.Context) []string {
	return append(c.StringSlice(setFlag.Name), changesOf(c)...)
}

// changesOf returns what --drop and --lora change.
func changesOf(c *cli.Context) (changes []string) {
	for _, f := range []*cli.StringSliceFlag{dropFlag, loraFlag} {
		for _, value := range c.StringSlice(f.Name) {
			changes = append(changes, "--"+f.Name+"="+value)
		}
	}
	return changes
}

// The common values of flags, for completion.
var (
	activationTypes = []string{"int8", "int8/row", "int8/g32", "f32"}
	cacheTypes      = []string{"int8", "k8v4", "f16", "f32"}
)

var calibrationFlags = []cli.Flag{
	&cli.StringSliceFlag{Name: "calib", Usage: "calibrate on the text in `FILE`, or on its conversations if it is named .jsonl (repeatable), or, with the word self, on text that the model writes; implies --method gptq"},
	&cli.IntFlag{Name: "calib-tokens", Value: thimble.CalibrationTokens, Usage: "calibrate on `N` tokens, in pieces spread evenly over the text"},
	&cli.IntFlag{Name: "calib-context", Value: thimble.CalibrationContext, Usage: "length of a piece in `TOKENS`"},
	&cli.Uint64Flag{Name: "calib-seed", Usage: "seed the choice of each piece within its part of the text with `N`; 0 takes the start of each part"},
	resumeFlag,
}

// calibrationOf reads calibrationFlags. A flag that is not set leaves the recipe's
// value.
func calibrationOf(c *cli.Context) (cal thimble.Calibration, err error) {
	cal.Texts = c.StringSlice("calib")
	for name, field := range map[string]*int{"calib-tokens": &cal.Tokens, "calib-context": &cal.Context} {
		if !c.IsSet(name) {
			continue
		}
		if *field = c.Int(name); *field == 0 {
			return cal, fmt.Errorf("--%s 0: want a positive number of tokens", name)
		}
	}
	if c.IsSet("calib-seed") {
		seed := c.Uint64("calib-seed")
		cal.Seed = &seed
	}
	cal.Render, err = renderCommandLine()
	return cal, err
}

// modelfileOf reads ollamaFlag.
func modelfileOf(c *cli.Context) (m thimble.Modelfile, err error) {
	m.Path = c.String(ollamaFlag.Name)
	m.Render, err = renderCommandLine()
	return m, err
}

// maxMemOf reads maxMemFlag. It returns 0 if it is not set.
func maxMemOf(c *cli.Context) (int64, error) {
	if !c.IsSet(maxMemFlag.Name) {
		return 0, nil
	}
	size, err := units.ParseSize(c.String(maxMemFlag.Name))
	if err != nil {
		return 0, fmt.Errorf("--max-mem %w", err)
	}
	return size, nil
}

// oneModel returns the single argument of a command that takes a model.
func oneModel(c *cli.Context) (string, error) {
	switch {
	case c.NArg() == 1 && c.Args().First() == "":
		return "", fmt.Errorf("%s: the model's path is empty", c.Command.Name)
	case c.NArg() > 1 && manual.FlagNamed(c.Command, "prompt") != nil:
		return "", fmt.Errorf("%s takes one model, got %d arguments; give the prompt with -p; see thimble %[1]s --help", c.Command.Name, c.NArg())
	case c.NArg() != 1:
		return "", fmt.Errorf("%s takes one model, got %d arguments; see thimble %s --help", c.Command.Name, c.NArg(), c.Command.Name)
	}
	return c.Args().First(), nil
}

// chunksOf reads contextFlag and chunksFlag. A context that is not set is 0, for
// which each operation has its own default.
func chunksOf(c *cli.Context) (context, chunks int, err error) {
	if c.IsSet(contextFlag.Name) {
		if context = c.Int(contextFlag.Name); context == 0 {
			return 0, 0, errors.New("--context 0: want 3 tokens or more")
		}
	}
	return context, c.Int(chunksFlag.Name), nil
}

// arithmetics are the values of arithmeticFlag, with those of activationsFlag that they
// stand for.
var arithmetics = map[string]string{"float": "f32", "int8": "int8"}

// choosesArithmetic reports whether a flag says what the linear layers compute in.
func choosesArithmetic(c *cli.Context) bool {
	return c.IsSet(arithmeticFlag.Name) || c.IsSet(activationsFlag.Name)
}

// arithmeticOf reads arithmeticFlag, activationsFlag and kvFlag.
func arithmeticOf(c *cli.Context) (thimble.Arithmetic, error) {
	for _, name := range []string{activationsFlag.Name, kvFlag.Name} {
		if c.IsSet(name) && c.String(name) == "" {
			return thimble.Arithmetic{}, fmt.Errorf("--%s needs a type, such as int8", name)
		}
	}
	activations := c.String(activationsFlag.Name)
	if name := c.String(arithmeticFlag.Name); c.IsSet(arithmeticFlag.Name) {
		stands, ok := arithmetics[name]
		switch {
		case !ok:
			return thimble.Arithmetic{}, fmt.Errorf("--arithmetic %q: want float or int8", name)
		case activations != "":
			return thimble.Arithmetic{}, errors.New("--arithmetic and --activations exclude each other: int8 is --activations int8")
		}
		activations = stands
	}
	a, err := verify.ParseArithmetic(activations, c.String(kvFlag.Name))
	if err != nil {
		return a, fmt.Errorf("--%w", err)
	}
	return a, nil
}
