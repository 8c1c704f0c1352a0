package main

import (
	"strings"

	"github.com/urfave/cli/v2"

	"thimble"
)

const logitsHelp = `"thimble verify --reference" compares a model with this file, and any
safetensors library can read it. With --text, it holds the positions that
"thimble verify --text" scores. --top-k keeps the K largest logits of each
position and a sample of the others: a file small enough to commit, which
determines the mean KL within about 1% and says so in the report.

--to kld-base writes the format of llama-perplexity's --kl-divergence-base.
verify also reads the files that llama-perplexity writes, so either tool can
check the other.

Examples:
   thimble logits SmolLM2-135M -o ref.safetensors -p 'The capital of France is'
   thimble logits SmolLM2-135M -o ref.safetensors \
      --text test.txt --chunks 4 --top-k 64
   thimble logits SmolLM2-135M -o smol.base --to kld-base \
      --text test.txt --chunks 4`

func logitsCommand() *cli.Command {
	return &cli.Command{
		Name:        "logits",
		Usage:       "write a reference file of a model's logits",
		UsageText:   "thimble logits MODEL -o REF (-p TEXT ... | --text FILE) [--top-k K | --to kld-base]",
		Description: logitsHelp,
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "output", Aliases: []string{"o"}, Usage: "write the reference to `REF`"},
			&cli.StringFlag{Name: "to", Value: thimble.ReferenceForms[0], Usage: "write `FORM`: " + strings.Join(thimble.ReferenceForms, " or ")},
			&cli.StringSliceFlag{Name: "prompt", Aliases: []string{"p"}, Usage: "score `TEXT` (repeatable)"},
			&cli.StringFlag{Name: "text", Usage: "score the text in `FILE` in chunks"},
			contextFlag, chunksFlag,
			&cli.IntFlag{Name: "top-k", Usage: "keep the `K` largest logits of each position and a sample of the others; 0 keeps all"},
			arithmeticFlag, activationsFlag, kvFlag, setFlag, dropFlag, loraFlag, forceFlag, jsonFlag, quietFlag,
		},
		Action: logitsAction,
	}
}

func logitsAction(c *cli.Context) error {
	path, err := oneModel(c)
	if err != nil {
		return err
	}
	o := thimble.LogitsOptions{
		Model: path, Set: overridesOf(c), Output: c.String("output"), Overwrite: c.Bool(forceFlag.Name), Form: c.String("to"),
		Prompts: c.StringSlice("prompt"), Text: c.String("text"), TopK: c.Int("top-k"),
	}
	if o.Context, o.Chunks, err = chunksOf(c); err != nil {
		return err
	}
	if o.Arithmetic, err = arithmeticOf(c); err != nil {
		return err
	}
	if err := fetch(c, o.Set, &o.Model); err != nil {
		return err
	}
	progress := newMeter(c)
	defer progress.Done()
	o.Progress = progress.Step
	r, err := thimble.Logits(c.Context, o)
	if err != nil {
		return err
	}
	progress.Done()
	return print(c, r)
}
