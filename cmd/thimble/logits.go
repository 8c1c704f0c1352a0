package main

import (
	"errors"
	"fmt"

	"github.com/urfave/cli/v2"

	"thimble/internal/atomicfile"
	"thimble/internal/defect"
	"thimble/internal/model"
	"thimble/verify"
)

func logitsCommand() *cli.Command {
	return &cli.Command{
		Name:      "logits",
		Usage:     "write a reference file of a model's logits",
		UsageText: "thimble logits MODEL -o REF.safetensors (-p TEXT ... | --text FILE) [--top-k K]",
		Description: "The file can be compared with by \"thimble verify --reference\", and read by any\n" +
			"safetensors library. --top-k keeps the K largest logits of each position and the\n" +
			"log of the sum of all: small enough to commit, with a stated bound on what it hides.\n\n" +
			"Examples:\n" +
			"   thimble logits SmolLM2-135M -o ref.safetensors -p 'The capital of France is'\n" +
			"   thimble logits SmolLM2-135M -o ref.safetensors \\\n" +
			"      --text test.txt --chunks 4 --top-k 64",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "output", Aliases: []string{"o"}, Usage: "write the reference to `REF`"},
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
	out := c.String("output")
	if out == "" {
		return errors.New("logits needs -o FILE for the reference it writes")
	}
	if len(c.StringSlice("prompt")) > 0 == (c.String("text") != "") {
		return errors.New("logits needs prompts (-p TEXT) or a text (--text FILE), one of the two")
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
	prompts, err := promptIDs(c, m)
	if err != nil {
		return err
	}
	s, err := verify.NewSubjectWith(m, arithmetic, 0)
	if err != nil {
		return err
	}
	progress := newMeter(c, "logits", "tokens", 1)
	err = verify.WriteReference(c.Context, out, s, prompts, verify.WriteOptions{
		TopK:     c.Int("top-k"),
		Metadata: map[string]string{"framework": tool, "compute": verify.Describe(arithmetic).String()},
		Output:   atomicfile.Options{Overwrite: c.Bool(forceFlag.Name), Inputs: m.Files},
		Progress: func(done, total int) { progress.at(int64(done), int64(total)) },
	})
	progress.done()
	if err != nil {
		return fmt.Errorf("%s: %w", defect.Printable(path), forceHint(err))
	}
	report := &recorded{Output: out, Prompts: len(prompts)}
	for _, ids := range prompts {
		report.Tokens += len(ids)
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

// promptIDs returns the tokens of the --prompt texts or of the chunks of --text.
func promptIDs(c *cli.Context, m *model.Model) (prompts [][]int, err error) {
	if file := c.String("text"); file != "" {
		chunks, err := textPrompts(c, m, file)
		for _, p := range chunks {
			prompts = append(prompts, p.IDs)
		}
		return prompts, err
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
		prompts = append(prompts, ids)
	}
	return prompts, nil
}
