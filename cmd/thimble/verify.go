package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"

	"thimble"
	"thimble/cmd/thimble/internal/terminal"
	"thimble/internal/defect"
	"thimble/verify"
	"thimble/verify/render"
)

var (
	tasksFlag    = &cli.StringFlag{Name: "tasks", Usage: "score the model on the tasks in `FILE`, one JSON object per line (- reads standard input), and with --against SRC as well"}
	continueFlag = &cli.IntFlag{Name: "continue", Usage: "with --against and --text: let both models continue the first half of each chunk by `N` tokens, and report how far they agree"}

	policyFlag         = &cli.StringFlag{Name: "policy", Usage: "read gates, --strict and tolerances from a YAML `FILE`; see docs/CI.md"}
	baselineFlag       = &cli.StringFlag{Name: "baseline", Usage: "fail if quality, size, speed or memory is worse, beyond noise, than in `FILE`, an earlier report as JSON"}
	updateBaselineFlag = &cli.BoolFlag{Name: "update-baseline", Usage: "write --baseline's file if it does not exist, or if something is better and nothing worse; never after a failure"}
	benchFlag          = &cli.StringFlag{Name: "bench", Usage: "add to the report the speed and memory in `FILE`, the output of \"thimble bench --json\" for this model"}

	scoresFlag = &cli.StringFlag{Name: "scores", Usage: "with --shard and --merge: keep the scores of share I of N in `FILE`.shard-I-of-N"}

	selfTestFlag = &cli.BoolFlag{Name: "selftest", Usage: "inject known faults into copies of the model, and fail if one is not located; uses a built-in text unless --text or --reference is given"}
)

const verifyHelp = `Runs the model and compares its next-token logits, position by position, with a
reference: a file written by PyTorch, by "thimble logits" or by llama-perplexity
(--kl-divergence-base), or the original checkpoint, run by the same decoder. KL
is KL(reference || model) in nats per token.

Gates decide the exit status. They come from --gate; otherwise from --policy, a
file that a team keeps with its code; otherwise they follow from the rounding
that the file itself shows, as docs/NUMERICS.md explains, and the first line says
how large a mistake they can tell. With --text alone there
is nothing to compare with: verify prints the perplexity, computed as
llama.cpp's perplexity tool does.

The measured value decides. Where other prompts could reverse the verdict, the
report says UNDECIDED and how many more tokens the gate needs. It also says
UNDECIDED where a reference file keeps too few logits to decide. --strict fails
such a gate.

The model runs in float32. --arithmetic int8 runs integer layers in integers, as
thimble run and phones do, and --kv rounds the keys and values of attention. The
reference stays in float32.

With --against, verify compares every operation of every step on part of the
text: the error that the operation adds when it gets the reference's input, and
the error that it inherits. The first operation that adds more than its stored
scheme explains fails, and the report names its cause, such as rows of q in the
other rotary order. --layers lists every operation. --attribute reports the
divergence that each stage adds: conversion, integer weights, activations, keys
and values (at 8 bits, or in the types of --activations and --kv).

--selftest checks that verify would notice a defect. It injects known faults,
from swapped rows to one flipped nibble, into copies of the model in memory,
applies the same gates to each on the same text, and reports where the copy
first diverges from the model; with --against it also reports what the
comparison with SRC finds. It fails if the gates in force miss a fault, if a
fault is not found where it was injected, or if the model itself fails a gate.

--tasks scores tasks as the common zero-shot suites do: choices by likelihood
(acc, acc_norm), expected texts and JSON function calls by what the model
generates. With --against it scores both models and reports the change. The file
has one JSON object per line, in any of three forms ("answer" counts from 0;
"until" and "max_tokens" are optional; docs/NUMERICS.md has every key):

   {"prompt": "The sky is", "choices": ["red", "blue"], "answer": 1}
   {"prompt": "2 + 2 =", "expected": "4", "until": ["\n"], "max_tokens": 8}
   {"prompt": "Wake me at 7.", "call": {"name": "wake", "arguments": {"h": 7}}}

--continue N lets both models continue the text and reports how many tokens they
agree on.

--report writes a report file, whatever the verdict: .html, .xml (JUnit), .md or
.json; docs/REPORT.md describes them. --baseline fails if a figure is worse
than in an earlier report by more than noise: quality, compared prompt by
prompt; size; and, with --bench, speed and memory. --update-baseline keeps what
has improved. docs/CI.md has workflows and the keys of a policy.

--shard I/N scores a share of the chunks and keeps the scores in a part of
--scores FILE, and continues there if it was interrupted; it applies no gates.
Then --merge in place of --shard reports the scores of all parts: the figures and
the verdict are those of an undivided run. --merge keeps the parts, so that other
gates can be tried.

With --json or another --format, a failure also writes its first line to standard
error, unless --quiet is set.

For the summary of a GitHub job: --format md >> "$GITHUB_STEP_SUMMARY"

Examples:
   thimble verify smol.thimble --reference ref.safetensors
   thimble verify smol.thimble --reference llama-perplexity.base
   thimble verify smol.thimble --against SmolLM2-135M --text test.txt
   thimble verify smol.thimble --against SmolLM2-135M --text test.txt \
      --gate 'kl<=0.05' --gate 'top1>=0.9'
   thimble verify smol.thimble --against SmolLM2-135M --text test.txt \
      --activations int8 --kv k8v4
   thimble verify smol.thimble --against SmolLM2-135M --text test.txt \
      --chunks 4 --layers --attribute --report report.html --report junit.xml
   thimble verify smol.thimble --reference ref.safetensors \
      --policy policy.yaml --baseline baseline.json --update-baseline
   thimble verify smol.thimble --selftest --against SmolLM2-135M
   thimble verify smol.thimble --against SmolLM2-135M --tasks tasks.jsonl \
      --gate 'acc_norm>=0.4' --gate 'acc_change>=-0.02'
   thimble verify smol.thimble --against SmolLM2-135M --text test.txt \
      --context 256 --chunks 20 --continue 64
   thimble verify l.thimble --against Llama-70B --text test.txt \
      --scores l.scores --shard 3/8
   thimble verify l.thimble --against Llama-70B --text test.txt \
      --scores l.scores --merge
   thimble verify SmolLM2-135M --text test.txt --json`

func verifyCommand() *cli.Command {
	return &cli.Command{
		Name:  "verify",
		Usage: "compare a model's logits with a reference, and pass or fail",
		UsageText: "thimble verify MODEL (--reference REF | --text FILE | --tasks FILE | --selftest)\n" +
			"   [--against SRC]",
		Description: verifyHelp,
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "reference", Aliases: []string{"r"}, Usage: "compare with the logits in `REF`, a safetensors or kld-base file"},
			&cli.StringFlag{Name: "against", Aliases: []string{"a"}, Usage: "compare with the model `SRC`"},
			&cli.StringFlag{Name: "text", Usage: "score the text in `FILE` (- reads standard input)"},
			contextFlag, chunksFlag,
			tasksFlag, continueFlag,
			&cli.StringSliceFlag{Name: "gate", Usage: "gate on `METRIC<=LIMIT` or METRIC>=LIMIT instead of the default gates, such as 'kl<=0.05' or 'top1>=0.9' (repeatable)"},
			&cli.BoolFlag{Name: "strict", Usage: "fail if a gate is undecided: its limit lies inside the metric's 95% interval, or inside what the reference leaves open"},
			&cli.Uint64Flag{Name: "seed", Usage: "seed the resampling of prompts for the intervals with `N`"},
			&cli.BoolFlag{Name: "decode", Usage: "feed prompts token by token through the KV cache instead of at once"},
			&cli.BoolFlag{Name: "layers", Usage: "with --against: list the error that every operation adds and inherits"},
			&cli.BoolFlag{Name: "attribute", Usage: "with --against: report the divergence that conversion, weights, activations and KV cache add, each on the same tokens"},
			selfTestFlag, partFlag, mergeFlag, scoresFlag,
			&cli.BoolFlag{Name: "record", Usage: "store the gates in the container if the model passes them all"},
			arithmeticFlag, activationsFlag, kvFlag, setFlag, dropFlag, loraFlag, maxMemFlag,
			policyFlag, baselineFlag, updateBaselineFlag, benchFlag,
			reportFlag, replaceFlag, formatFlag, annotateFlag, colorFlag, jsonFlag, quietFlag,
		},
		Action: verifyAction,
	}
}

// verifyOptions reads the flags of verify.
func verifyOptions(c *cli.Context) (o thimble.VerifyOptions, err error) {
	o = thimble.VerifyOptions{
		Set: overridesOf(c), Reference: c.String("reference"), Against: c.String("against"), Text: c.String("text"),
		Tasks: c.String(tasksFlag.Name), Continue: c.Int(continueFlag.Name), Strict: c.Bool("strict"), Policy: c.String(policyFlag.Name), Seed: c.Uint64("seed"),
		Baseline: c.String(baselineFlag.Name), UpdateBaseline: c.Bool(updateBaselineFlag.Name), Bench: c.String(benchFlag.Name),
		Decode: c.Bool("decode"), Layers: c.Bool("layers"), Attribute: c.Bool("attribute"), Record: c.Bool("record"),
	}
	if o.Model, err = oneModel(c); err != nil {
		return o, err
	}
	for _, text := range c.StringSlice("gate") {
		g, err := verify.ParseGate(text)
		if bad := new(verify.GateError); errors.As(err, &bad) {
			err = fmt.Errorf("--gate %q: %w", bad.Text, bad.Err)
		}
		if err != nil {
			return o, err
		}
		o.Gates = append(o.Gates, g)
	}
	for _, name := range []string{policyFlag.Name, baselineFlag.Name, benchFlag.Name} {
		if c.IsSet(name) && (c.String(name) == "" || c.String(name) == "-") {
			return o, fmt.Errorf("--%s needs the name of a file", name)
		}
	}
	if c.IsSet(continueFlag.Name) && o.Continue == 0 {
		return o, fmt.Errorf("--continue 0 is out of range, want 1 or more tokens")
	}
	if o.Context, o.Chunks, err = chunksOf(c); err != nil {
		return o, err
	}
	if o.MaxMem, err = maxMemOf(c); err != nil {
		return o, err
	}
	if err = scoresOf(c, &o); err != nil {
		return o, err
	}
	o.Arithmetic, err = arithmeticOf(c)
	return o, err
}

// scoresOf reads --shard, --merge and --scores.
func scoresOf(c *cli.Context, o *thimble.VerifyOptions) (err error) {
	if o.Shard, err = shardOf(c, false); err != nil {
		return err
	}
	o.Scores, o.Merge = c.String(scoresFlag.Name), c.Bool(mergeFlag.Name)
	divided := c.IsSet(shardFlag)
	switch {
	case divided && o.Merge:
		return errors.New("--shard scores a share, and --merge reports all of them; give one")
	case (divided || o.Merge) != (o.Scores != ""):
		return errors.New("--scores FILE goes with --shard I/N, which keeps scores there, or with --merge, which reads them")
	case !divided:
		return nil
	}
	for _, name := range []string{
		selfTestFlag.Name, "record", "layers", "attribute", tasksFlag.Name, continueFlag.Name, reportFlag.Name, formatFlag.Name, baselineFlag.Name, updateBaselineFlag.Name, benchFlag.Name,
	} {
		if c.IsSet(name) {
			return fmt.Errorf("--shard only scores a share of the text; give --%s with --merge", name)
		}
	}
	return nil
}

func verifyAction(c *cli.Context) error {
	o, err := verifyOptions(c)
	if err != nil {
		return err
	}
	if err := fetch(c, o.Set, &o.Model, &o.Against); err != nil {
		return err
	}
	progress := newMeter(c)
	defer progress.Done()
	o.Progress = progress.Step
	if c.Bool(selfTestFlag.Name) {
		return selfTestAction(c, o, progress)
	}
	if c.IsSet(shardFlag) {
		return verifyPart(c, o, progress)
	}
	var out *reportOutput
	o.Ready = func(inputs []string) (err error) {
		out, err = reportsOf(c, inputs)
		return err
	}
	report, err := thimble.Verify(c.Context, o)
	if err != nil {
		return err
	}
	progress.Done()
	if err := out.write(c, report); err != nil {
		return err
	}
	if !report.Pass {
		return errRefused
	}
	return nil
}

// verifyPart scores a share of the text.
func verifyPart(c *cli.Context, o thimble.VerifyOptions, progress *terminal.Meter) error {
	r, err := thimble.VerifyPart(c.Context, o)
	if err != nil {
		return err
	}
	progress.Done()
	return printText(c, r, func() string {
		return fmt.Sprintf("wrote %s: scores of %d of %d chunks\nonce all parts are written, the same command with --merge in place of --shard reports them\n",
			defect.Printable(r.Output), r.Chunks, r.Of)
	})
}

func selfTestAction(c *cli.Context, o thimble.VerifyOptions, progress *terminal.Meter) error {
	for _, name := range []string{
		"record", "decode", "layers", "attribute", tasksFlag.Name, continueFlag.Name, maxMemFlag.Name,
		reportFlag.Name, formatFlag.Name, baselineFlag.Name, updateBaselineFlag.Name, benchFlag.Name, mergeFlag.Name,
	} {
		if c.IsSet(name) {
			return fmt.Errorf("--selftest compares the model with faulty copies, and prints a table or JSON; leave out --%s", name)
		}
	}
	colors, err := colorsOf(c)
	if err != nil {
		return err
	}
	report, err := thimble.SelfTest(c.Context, o)
	if err != nil {
		return err
	}
	progress.Done()
	if err := printVerdict(c, report, colors, func() string { return render.SelfTest(report) }); err != nil {
		return err
	}
	if !report.Pass {
		if first, _, _ := strings.Cut(render.SelfTest(report), "\n"); c.Bool(jsonFlag.Name) {
			complain(c, first)
		}
		return errRefused
	}
	return nil
}
