package main

import (
	"errors"

	"github.com/urfave/cli/v2"

	"thimble"
	"thimble/verify/reproduce"
)

const reproduceHelp = `Carries out the recipe that a container or a GGUF file records again, and
compares the SHA-256 of every tensor: whoever has the source and the calibration
text can tell that the model was made from them and from nothing else. If it was
converted or quantized in several steps, all are repeated.

If tensors differ, it names the first with both digests, and what may be the
cause: another source file or another version of thimble. A text other than the
recorded one is refused before any work starts.

The same sources, texts, recipe and version of thimble give the same bytes on any
machine. The work takes as long as the first time. The copy is in the folder for
temporary files (TMPDIR) until the command ends.

Exit status: 0 identical, 1 different, 2 the model could not be made again.

Examples:
   thimble reproduce smol.thimble --from SmolLM2-135M
   thimble reproduce smol.gguf --from hf://HuggingFaceTB/SmolLM2-135M@93efa2f \
      --calib chats.jsonl
   thimble reproduce smol.thimble --from SmolLM2-135M --json | jq .first`

func reproduceCommand() *cli.Command {
	return &cli.Command{
		Name:        "reproduce",
		Usage:       "make a model again from its source and recipe, and compare",
		UsageText:   "thimble reproduce FILE --from SRC [--calib TEXT ...] [--json]",
		Description: reproduceHelp,
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "from", Usage: "the model that FILE was made from: `SRC` is any that thimble reads"},
			&cli.StringSliceFlag{Name: "calib", Usage: "the text in `FILE` that it was calibrated on (repeatable, in the order of the first time)"},
			loraFlag, maxMemFlag, jsonFlag, quietFlag,
		},
		Action: reproduceAction,
	}
}

func reproduceAction(c *cli.Context) error {
	path, err := oneModel(c)
	if err != nil {
		return err
	}
	o := thimble.ReproduceOptions{Model: path, From: c.String("from"), Lora: c.StringSlice(loraFlag.Name), Texts: c.StringSlice("calib")}
	if o.From == "" {
		return errors.New("reproduce needs --from SRC, the model that the file was made from; thimble inspect lists its files")
	}
	if o.MaxMem, err = maxMemOf(c); err != nil {
		return err
	}
	if o.Render, err = renderCommandLine(); err != nil {
		return err
	}
	if err := fetch(c, nil, &o.Model, &o.From); err != nil {
		return err
	}
	progress := newMeter(c)
	defer progress.Done()
	o.Progress = progress.Step
	r, err := thimble.Reproduce(c.Context, o)
	if err != nil {
		return err
	}
	progress.Done()
	if err := printText(c, r, func() string { return reproduce.Text(r) }); err != nil {
		return err
	}
	if !r.Identical {
		return errRefused
	}
	return nil
}
