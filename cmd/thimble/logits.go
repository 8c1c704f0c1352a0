package main

import (
	"strings"

	"github.com/urfave/cli/v2"

	"thimble"
)

func logitsCommand() *cli.Command {
	return &cli.Command{
		Name:      "logits",
		Usage:     "write a reference file of a model's logits",
		UsageText: "thimble logits MODEL -o REF (-p TEXT ... | --text FILE) [--top-k K | --to kld-base]",
		Description: "The file can be compared with by \"thimble verify --reference\", and read by any\n" +
			"safetensors library. --top-k keeps the K largest logits of each position and the\n" +
			"log of the sum of all: small enough to commit, with a stated bound on what it hides.\n\n" +
			"--to kld-base writes what llama-perplexity reads as --kl-divergence-base, and what it\n" +
			"writes is a reference for verify: either tool can check the other.\n\n" +
			"Examples:\n" +
			"   thimble logits SmolLM2-135M -o ref.safetensors -p 'The capital of France is'\n" +
			"   thimble logits SmolLM2-135M -o ref.safetensors \\\n" +
			"      --text test.txt --chunks 4 --top-k 64\n" +
			"   thimble logits SmolLM2-135M -o smol.base --to kld-base \\\n" +
			"      --text test.txt --chunks 4",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "output", Aliases: []string{"o"}, Usage: "write the reference to `REF`"},
			&cli.StringFlag{Name: "to", Value: thimble.ReferenceForms[0], Usage: "write `FORM`: " + strings.Join(thimble.ReferenceForms, " or ")},
			&cli.StringSliceFlag{Name: "prompt", Aliases: []string{"p"}, Usage: "score `TEXT` (repeatable)"},
			&cli.StringFlag{Name: "text", Usage: "score the text in `FILE` in chunks"},
			contextFlag, chunksFlag,
			&cli.IntFlag{Name: "top-k", Usage: "keep the `K` largest logits of a position; 0 keeps all"},
			activationsFlag, kvFlag, setFlag, forceFlag, jsonFlag, quietFlag,
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
		Model: path, Set: c.StringSlice(setFlag.Name), Output: c.String("output"), Overwrite: c.Bool(forceFlag.Name), Form: c.String("to"),
		Prompts: c.StringSlice("prompt"), Text: c.String("text"), TopK: c.Int("top-k"),
	}
	if o.Context, o.Chunks, err = chunksOf(c); err != nil {
		return err
	}
	if o.Arithmetic, err = arithmeticOf(c); err != nil {
		return err
	}
	progress := newMeter(c)
	defer progress.done()
	o.Progress = progress.step
	r, err := thimble.Logits(c.Context, o)
	if err != nil {
		return err
	}
	progress.done()
	return print(c, r)
}
