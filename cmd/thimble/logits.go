package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"thimble/internal/atomicfile"
	"thimble/internal/defect"
	"thimble/internal/model"
	"thimble/internal/spell"
	"thimble/verify"
	"thimble/verify/reference"
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
			&cli.StringFlag{Name: "to", Value: referenceForms[0], Usage: "write `FORM`: " + strings.Join(referenceForms, " or ")},
			&cli.StringSliceFlag{Name: "prompt", Aliases: []string{"p"}, Usage: "score `TEXT` (repeatable)"},
			&cli.StringFlag{Name: "text", Usage: "score the text in `FILE` in chunks"},
			contextFlag, chunksFlag,
			&cli.IntFlag{Name: "top-k", Usage: "keep the `K` largest logits of a position; 0 keeps all"},
			activationsFlag, kvFlag, setFlag, forceFlag, jsonFlag, quietFlag,
		},
		Action: logitsAction,
	}
}

// referenceForms are what logits can write; kld-base is llama.cpp's.
var referenceForms = []string{"safetensors", kldBase}

const kldBase = "kld-base"

func logitsAction(c *cli.Context) error {
	path, err := oneModel(c)
	if err != nil {
		return err
	}
	out := c.String("output")
	if out == "" {
		return errors.New("logits needs -o FILE for the reference it writes")
	}
	if len(c.StringSlice("prompt")) > 0 == (c.String("text") != "") {
		return errors.New("logits needs prompts (-p TEXT) or a text (--text FILE), one of the two")
	}
	to := c.String("to")
	switch {
	case !slices.Contains(referenceForms, to):
		return fmt.Errorf("--to %q is not one of %s%s", to, strings.Join(referenceForms, ", "), spell.Suggest(to, referenceForms))
	case to == kldBase && c.String("text") == "":
		return errors.New("--to kld-base holds chunks of a text: give --text FILE")
	case to == kldBase && c.Int("top-k") != 0:
		return errors.New("--to kld-base keeps all logits, in 16 bits; leave out --top-k")
	}
	arithmetic, err := arithmeticOf(c)
	if err != nil {
		return err
	}
	m, err := openSound(path, c.StringSlice(setFlag.Name))
	if err != nil {
		return err
	}
	defer m.Close()
	if err := mayWrite(c, out, m); err != nil {
		return err
	}
	prompts, err := scoredPrompts(c, m)
	if err != nil {
		return err
	}
	s, err := reference.NewScorer(m, arithmetic, 0)
	if err != nil {
		return err
	}
	progress := newMeter(c, "logits", "tokens", 1)
	o := reference.WriteOptions{
		TopK:     c.Int("top-k"),
		Metadata: map[string]string{"framework": tool, "compute": verify.Describe(arithmetic).String()},
		Output:   atomicfile.Options{Overwrite: c.Bool(forceFlag.Name), Inputs: m.Files},
		Progress: func(done, total int) { progress.at(int64(done), int64(total)) },
	}
	report := &recorded{Output: out, Prompts: len(prompts)}
	if to == kldBase {
		err = reference.WriteKLDBase(c.Context, out, s, prompts, o)
	} else {
		ids := make([][]int, len(prompts))
		for i := range prompts {
			ids[i] = prompts[i].IDs
		}
		err = reference.Write(c.Context, out, s, ids, o)
	}
	progress.done()
	if err != nil {
		return fmt.Errorf("%s: %w", defect.Printable(path), forceHint(err))
	}
	for _, p := range prompts {
		report.Tokens += len(p.IDs)
	}
	return print(c, report)
}

// A recorded is the report of logits.
type recorded struct {
	Output  string `json:"output"`
	Prompts int    `json:"prompts"`
	Tokens  int    `json:"tokens"`
}

func (r *recorded) String() string {
	return fmt.Sprintf("wrote %s: prompts %d, tokens %d\n", defect.Printable(r.Output), r.Prompts, r.Tokens)
}

// scoredPrompts returns the --prompt texts or the chunks of --text.
func scoredPrompts(c *cli.Context, m *model.Model) (prompts []reference.Prompt, err error) {
	if file := c.String("text"); file != "" {
		return textPrompts(c, m, file)
	}
	tok, err := openTokenizer(m)
	if err != nil {
		return nil, err
	}
	for i, text := range c.StringSlice("prompt") {
		ids, err := encode(c.Context, tok, text, true)
		switch {
		case err != nil:
			return nil, err
		case len(ids) == 0:
			return nil, fmt.Errorf("prompt %d is empty; there is nothing to score", i)
		}
		if err := checkContext(m, len(ids), fmt.Sprintf("shorten prompt %d", i)); err != nil {
			return nil, err
		}
		prompts = append(prompts, reference.Prompt{IDs: ids, From: 0, To: len(ids)})
	}
	return prompts, nil
}
