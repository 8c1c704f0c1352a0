package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"

	"thimble"
	"thimble/cmd/thimble/internal/manual"
	"thimble/internal/spell"
	"thimble/verify"
)

func completionCommand() *cli.Command {
	return &cli.Command{
		Name:      "completion",
		Usage:     "print a shell's completion script",
		UsageText: "thimble completion bash|zsh|fish|powershell",
		Description: "Examples:\n" +
			"   source <(thimble completion bash)\n" +
			"   source <(thimble completion zsh)\n" +
			"   thimble completion fish > ~/.config/fish/completions/thimble.fish\n" +
			"   thimble completion powershell | Out-String | Invoke-Expression",
		Action: func(c *cli.Context) error {
			script, ok := manual.Script(c.Args().First())
			if !ok || c.NArg() != 1 {
				return fmt.Errorf("completion needs one of %s%s", strings.Join(manual.Shells, ", "), spell.Suggest(c.Args().First(), manual.Shells))
			}
			_, err := fmt.Fprint(c.App.Writer, script)
			return err
		},
	}
}

// completeCommand serves the completion scripts. Its arguments are the words after
// "thimble" up to the cursor. It prints the candidates for the last one, one per
// line, or nothing if that word names a file.
func completeCommand() *cli.Command {
	return &cli.Command{
		Name:            "__complete",
		Hidden:          true,
		SkipFlagParsing: true,
		Action: func(c *cli.Context) error {
			words := c.Args().Slice()
			if len(words) == 0 {
				return errors.New("__complete is for the scripts that thimble completion prints")
			}
			for _, candidate := range manual.Candidates(c.App, words, valuesOf) {
				fmt.Fprintln(c.App.Writer, candidate)
			}
			return nil
		},
	}
}

// valuesOf returns the common values of a flag of cmd.
func valuesOf(cmd *cli.Command, flag string) []string {
	if cmd.Name == "logits" && flag == "to" {
		return thimble.ReferenceForms
	}
	return flagValues[flag]
}

// flagValues holds the common values of the flags that do not take files.
var flagValues = map[string][]string{
	"scheme":      schemes,
	"embedding":   schemes,
	"head":        schemes,
	"dtype":       dtypes,
	"to":          thimble.OutputFormats(),
	"preset":      presetNames(),
	"method":      thimble.Methods(),
	"for":         thimble.Targets(),
	"gate":        verify.MetricNames(),
	"arithmetic":  {"float", "int8"},
	"activations": activationTypes,
	"kv":          cacheTypes,
	"color":       {"auto", "always", "never"},
	"set":         {"layer_sharing=true", "share_embedding=true"},
	"schemes":     append(thimble.DefaultSchemes(), thimble.WideSchemes()...),
	"without":     thimble.MethodSteps(thimble.CalibratedMethod),
}

var schemes = []string{
	"int4/g16/s4", "int4/g32", "int4/g64", "int4/g128", "int4/row", "int4/g32/nl", "int4/g32/asym", "int4/g64/asym", "int4/g128/asym",
	"int8/g32", "int8/g64", "int8/g128", "int8/row", thimble.Keep, "f32", "f16", "bf16",
}
