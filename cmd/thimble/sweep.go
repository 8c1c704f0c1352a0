package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/urfave/cli/v2"

	"thimble"
	"thimble/internal/shard"
)

const sweepHelp = `Measures every model with every recipe on every text, and stores each result in a
folder.

PLAN is a YAML file:

   models:
     - SmolLM2-135M                       # a path, or these keys:
     - {model: hf://Qwen/Qwen3-0.6B, name: Qwen, recipes: [nearest]}
   recipes:                               # rows of thimble curve --rows
     - {name: nearest, scheme: int4/g32, embedding: int8/g32, calib: false}
     - {bpw: 4.5}
   texts: [test.txt, code.txt]
   context: 512                           # the rest is optional
   chunks: 16                             # default: the whole text
   calibration: {texts: [valid.txt], tokens: 16384, context: 512, seed: 0}

A model may also have the keys set, drop and lora, lists of what the options of
those names take. Paths count from the current folder. thimble curve --help has the
keys of recipes.

thimble curve FOLDER draws all results of a folder.

A result is a JSON file named by the hash of all that its figures depend on: the
model's files, recipe, calibration, text, how the text is cut, and the version of
the arithmetic. So the same command again does only what is missing, a changed
plan adds to the folder, and any number of processes may share one.

--shard I/N does the share I of N, as do the tasks of a Slurm array without the
option, by SLURM_ARRAY_TASK_ID and SLURM_ARRAY_TASK_COUNT. Kubernetes gives the
tasks of an indexed Job JOB_COMPLETION_INDEX, but not their number: use
--shard auto/N. The option wins over both, Kubernetes over Slurm. Each share is
computed from the plan alone, so all must have the same plan and N. Shares are
about equal in work, and split a recipe's texts only if nothing else is left.

docs/SWEEP.md has manifests for Slurm and Kubernetes, and what large models cost.

Examples:
   thimble sweep plan.yaml --dry-run
   thimble sweep plan.yaml -o results
   thimble sweep plan.yaml -o results --shard 2/8
   sbatch --array=0-7 --wrap 'thimble sweep plan.yaml -o results'
   thimble sweep plan.yaml -o results --shard auto/8
   thimble curve results`

func sweepCommand() *cli.Command {
	return &cli.Command{
		Name:        "sweep",
		Usage:       "measure models x recipes x texts, on one machine or many",
		UsageText:   "thimble sweep PLAN.yaml [-o FOLDER] [--shard I/N]",
		Description: sweepHelp,
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "output", Aliases: []string{"o"}, Usage: "store results in `FOLDER`, which may exist (default: PLAN without its ending)"},
			&cli.StringFlag{Name: shardFlag, Usage: "do the share `I/N`, such as 2/8, or auto/N or auto for the index that a scheduler gives"},
			&cli.BoolFlag{Name: dryRunFlag.Name, Usage: "print the jobs and stop"},
			jsonFlag, quietFlag,
		},
		Action: sweepAction,
	}
}

const shardFlag = "shard"

// Flags of commands whose work can be divided.
var (
	partFlag  = &cli.StringFlag{Name: shardFlag, Usage: "do only the share `I/N` of the work, such as 2/8, into a part; or auto/N or auto for the index that a scheduler gives"}
	mergeFlag = &cli.BoolFlag{Name: "merge", Usage: "put the parts of all shares together"}
)

func sweepAction(c *cli.Context) error {
	path := c.Args().First()
	if c.NArg() != 1 {
		return errors.New("sweep takes one plan, a YAML file with models, recipes and texts; thimble sweep --help has an example")
	}
	o := thimble.SweepOptions{Folder: c.String("output"), DryRun: c.Bool(dryRunFlag.Name)}
	var err error
	if o.Shard, err = shardOf(c, true); err != nil {
		return err
	}
	if o.Plan, err = thimble.ReadSweepPlan(c.Context, path); err != nil {
		return err
	}
	if o.Folder == "" {
		if o.Folder = strings.TrimSuffix(path, filepath.Ext(path)); o.Folder == path {
			return errors.New("sweep needs -o FOLDER for its results")
		}
	}
	for i := range o.Plan.Models {
		m := &o.Plan.Models[i]
		if err := fetch(c, m.Lora, &m.Path); err != nil {
			return err
		}
	}
	if o.Render, err = renderCommandLine(); err != nil {
		return err
	}
	progress := newMeter(c)
	defer progress.Done()
	o.Progress = progress.Step
	r, err := thimble.Sweep(c.Context, o)
	if err != nil {
		return err
	}
	progress.Done()
	return print(c, r)
}

// shardOf reads --shard. Without it, a command that is only run to be divided takes the share
// that the environment names, and any other all of the work.
func shardOf(c *cli.Context, implied bool) (shard.Shard, error) {
	switch {
	case c.IsSet(shardFlag):
		s, err := shard.Parse(c.String(shardFlag), os.Getenv)
		if err != nil {
			err = fmt.Errorf("--shard %w", err)
		}
		return s, err
	case implied:
		return shard.FromEnvironment(os.Getenv)
	}
	return shard.All, nil
}
