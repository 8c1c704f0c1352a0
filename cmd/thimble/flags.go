package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"

	"thimble"
	"thimble/verify"
)

// Flags that several commands have.
var (
	outFlag    = &cli.StringFlag{Name: "output", Aliases: []string{"o"}, Usage: "write the container to `FILE`"}
	forceFlag  = &cli.BoolFlag{Name: "force", Usage: "replace FILE if it exists"}
	dryRunFlag = &cli.BoolFlag{Name: "dry-run", Usage: "print the plan and stop"}
	setFlag    = &cli.StringSliceFlag{
		Name: "set", Usage: "override `KEY=VALUE` of the checkpoint's config.json, such as layer_sharing=true (repeatable)",
	}
	jsonFlag  = &cli.BoolFlag{Name: "json", Usage: "print one JSON document instead of a table"}
	quietFlag = &cli.BoolFlag{Name: "quiet", Aliases: []string{"q"}, Usage: "no progress on standard error"}

	contextFlag = &cli.IntFlag{Name: "context", Value: thimble.ChunkContext, Usage: "with --text: `TOKENS` in a chunk, of which the second half is scored"}
	chunksFlag  = &cli.IntFlag{Name: "chunks", Usage: "with --text: use the first `N` chunks (default: all)"}

	activationsFlag = &cli.StringFlag{Name: "activations", Usage: "round the inputs of integer layers to `TYPE` as integer kernels do: int8 (a scale for each group of the weights), int8/row, int8/g32 and the like"}
	kvFlag          = &cli.StringFlag{Name: "kv", Usage: "keep keys and values of attention as `TYPE`: int8, k8v4, f16, a scheme, or two with a comma between them"}

	forFlag    = &cli.StringFlag{Name: "for", Usage: "refuse what the program `TARGET` has no type for, and say what it computes fast: " + strings.Join(thimble.Targets(), ", ")}
	resumeFlag = &cli.BoolFlag{Name: "resume", Usage: "continue what an interrupted calibrated run left beside OUTPUT, if it left something"}
	statsFlag  = &cli.StringSliceFlag{
		Name: "stats", Usage: "keep the survey that a budget needs in `FILE`, or take it from there (repeatable: the mean of several)",
	}
)

// The usual values of flags, for completion.
var (
	activationTypes = []string{"int8", "int8/row", "int8/g32", "f32"}
	cacheTypes      = []string{"int8", "k8v4", "f16", "f32"}
)

var calibrationFlags = []cli.Flag{
	&cli.StringSliceFlag{Name: "calib", Usage: "calibrate on the text in `FILE`, or the chats of one named .jsonl (repeatable); implies --method gptq"},
	&cli.IntFlag{Name: "calib-tokens", Value: thimble.CalibrationTokens, Usage: "use `N` tokens of it, in pieces spread evenly"},
	&cli.IntFlag{Name: "calib-context", Value: thimble.CalibrationContext, Usage: "of `TOKENS` each"},
	&cli.Uint64Flag{Name: "calib-seed", Usage: "draw the pieces by `N`, each from its own stretch of the text (0: its first)"},
	resumeFlag,
}

// calibrationOf reads calibrationFlags. Those that are not set leave the recipe's
// numbers.
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

// oneModel returns the single argument of a command that takes a model.
func oneModel(c *cli.Context) (string, error) {
	switch {
	case c.NArg() == 1 && c.Args().First() == "":
		return "", fmt.Errorf("%s: the model's path is empty", c.Command.Name)
	case c.NArg() != 1:
		return "", fmt.Errorf("%s takes one model, got %d arguments; see thimble %s --help", c.Command.Name, c.NArg(), c.Command.Name)
	}
	return c.Args().First(), nil
}

// chunksOf reads contextFlag and chunksFlag. A context that is not set is 0, which
// the operations take for their own default.
func chunksOf(c *cli.Context) (context, chunks int, err error) {
	if c.IsSet(contextFlag.Name) {
		if context = c.Int(contextFlag.Name); context == 0 {
			return 0, 0, errors.New("--context 0: want 3 tokens or more")
		}
	}
	return context, c.Int(chunksFlag.Name), nil
}

// arithmeticOf reads activationsFlag and kvFlag.
func arithmeticOf(c *cli.Context) (thimble.Arithmetic, error) {
	for _, name := range []string{activationsFlag.Name, kvFlag.Name} {
		if c.IsSet(name) && c.String(name) == "" {
			return thimble.Arithmetic{}, fmt.Errorf("--%s needs a type, such as int8", name)
		}
	}
	a, err := verify.ParseArithmetic(c.String(activationsFlag.Name), c.String(kvFlag.Name))
	if err != nil {
		return a, fmt.Errorf("--%w", err)
	}
	return a, nil
}
