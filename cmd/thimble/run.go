package main

import (
	"errors"
	"fmt"
	"io"

	"thimble/cmd/thimble/internal/terminal"

	"github.com/urfave/cli/v2"

	"thimble"
)

const runHelp = `Always takes the most likely token. With --temperature it samples from the
model's distribution; the same seed gives the same text on every machine. The
prompt is used as it is, without a chat template.

Linear layers that are stored as integers compute in integers, with inputs
rounded to 8 bits, as on a phone. --arithmetic float computes in float32, which
is slower for such files.

Examples:
   thimble run smol.thimble -p 'The capital of France is'
   thimble run SmolLM2-135M -p 'Once upon a time' -n 200 --temperature 0.8
   thimble run smol.thimble -p 'Once upon a time' --activations int8 --kv k8v4`

func runCommand() *cli.Command {
	return &cli.Command{
		Name:        "run",
		Usage:       "continue a prompt with text from a model",
		UsageText:   "thimble run MODEL -p PROMPT [-n 64] [--temperature T --seed S]",
		Description: runHelp,
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "prompt", Aliases: []string{"p"}, Usage: "continue `TEXT` (- reads standard input)"},
			&cli.IntFlag{Name: "tokens", Aliases: []string{"n"}, Value: 64, Usage: "stop after `N` tokens"},
			&cli.Float64Flag{Name: "temperature", Usage: "sample at temperature `T`; 0 takes the most likely token"},
			&cli.Uint64Flag{Name: "seed", Usage: "seed sampling with `NUMBER`"},
			arithmeticFlag, activationsFlag, kvFlag, setFlag, dropFlag, loraFlag, jsonFlag,
		},
		Action: runAction,
	}
}

func runAction(c *cli.Context) error {
	path, err := oneModel(c)
	if err != nil {
		return err
	}
	if !c.IsSet("prompt") {
		return errors.New("run needs a prompt: -p TEXT, or -p - to read it from standard input")
	}
	o := thimble.GenerateOptions{
		Model: path, Set: overridesOf(c), Prompt: c.String("prompt"), Tokens: c.Int("tokens"), FitContext: !c.IsSet("tokens"),
		Temperature: c.Float64("temperature"), Seed: c.Uint64("seed"),
	}
	if o.Prompt == "-" {
		o.Prompt, o.PromptFile = "", "-"
	}
	if o.Arithmetic, err = arithmeticOf(c); err != nil {
		return err
	}
	o.Integers = !choosesArithmetic(c)
	if err := fetch(c, o.Set, &o.Model); err != nil {
		return err
	}
	if c.Bool(jsonFlag.Name) {
		r, err := thimble.Generate(c.Context, o)
		if err != nil {
			return err
		}
		return printJSON(c.App.Writer, r)
	}
	out := &countingWriter{w: c.App.Writer}
	o.Stream = out
	if terminal.IsTerminal(c.App.Writer) {
		out.w = terminal.PlainText{W: c.App.Writer}
	}
	_, err = thimble.Generate(c.Context, o)
	if out.n > 0 {
		fmt.Fprintln(c.App.Writer) // so that an error starts on its own line
	}
	return err
}

// A countingWriter counts the bytes written to w.
type countingWriter struct {
	w io.Writer
	n int
}

func (c *countingWriter) Write(text []byte) (int, error) {
	c.n += len(text)
	return c.w.Write(text)
}
