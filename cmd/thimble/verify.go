package main

import (
	"fmt"

	"github.com/urfave/cli/v2"

	"thimble"
	"thimble/verify"
)

var (
	tasksFlag    = &cli.StringFlag{Name: "tasks", Usage: "score the tasks in `FILE`, one JSON object a line (- for standard input), and those of --against beside them"}
	continueFlag = &cli.IntFlag{Name: "continue", Usage: "with --against and --text: let both models continue the first half of each chunk by `N` tokens, and say how far they agree"}

	policyFlag         = &cli.StringFlag{Name: "policy", Usage: "take gates, --strict and tolerances from `FILE`, YAML that docs/CI.md describes"}
	baselineFlag       = &cli.StringFlag{Name: "baseline", Usage: "fail where quality, size, speed or memory is worse, beyond noise, than in `FILE`, an earlier report as JSON"}
	updateBaselineFlag = &cli.BoolFlag{Name: "update-baseline", Usage: "write --baseline's file where there is none, or where something is better and nothing worse; never after a failure"}
	benchFlag          = &cli.StringFlag{Name: "bench", Usage: "put the speed and memory in `FILE`, the output of \"thimble bench --json\" for this model, into the report"}

	selfTestFlag = &cli.BoolFlag{Name: "selftest", Usage: "make known mistakes in copies of the model, and fail if one is not found where it was made; without --text or --reference on a text of its own"}
)

func verifyCommand() *cli.Command {
	return &cli.Command{
		Name:  "verify",
		Usage: "compare a model's logits with a reference, and pass or fail",
		UsageText: "thimble verify MODEL (--reference REF | --text FILE | --tasks FILE | --selftest)\n" +
			"   [--against SRC]",
		Description: "Runs the model and compares its next-token logits, position by position,\n" +
			"with a reference: a file that PyTorch, \"thimble logits\" or llama-perplexity (by\n" +
			"--kl-divergence-base) wrote, or the original checkpoint, run by the same decoder. KL is KL(reference || model) in nats per token.\n\n" +
			"Gates decide the exit status. Without --gate they are those of --policy, a file that a\n" +
			"team keeps with its code, or follow from how the model is stored and how large it is;\n" +
			"docs/NUMERICS.md gives them with their reasons. With --text alone there is nothing to\n" +
			"compare with: perplexity is printed, in the protocol of llama.cpp's perplexity tool.\n\n" +
			"What was measured decides. Where other prompts could reverse the verdict, the\n" +
			"report says UNDECIDED and how many tokens it would take; --strict fails on that too.\n\n" +
			"The model runs in float32, or as a phone's integer kernels run it: --activations int8\n" +
			"rounds what integer layers read, --kv what attention keeps. What it is compared with\n" +
			"stays in float32.\n\n" +
			"Against a model, each operation of each step is compared on some of the text: what it\n" +
			"adds to the error, given what the reference gives it, and what it inherits. The first\n" +
			"that adds more than its stored scheme explains is named with its cause, such as rows\n" +
			"of q in the other rotary order, and fails. --layers lists all. --attribute says what\n" +
			"each stage costs: conversion, weights in integers, activations, keys and values (8\n" +
			"bits, or as --activations and --kv say).\n\n" +
			"--selftest asks whether all this would notice: it makes known mistakes in copies of\n" +
			"the model in memory, from exchanged rows to one flipped nibble, judges each by the same\n" +
			"gates on the same text, and names the place where the copy parts from the model; with\n" +
			"--against, also what a comparison with SRC finds. It fails if a mistake is not found\n" +
			"where it was made, or if the model itself misses a gate.\n\n" +
			"--tasks scores what is asked of a model, as the common zero-shot suites do: choices by\n" +
			"their likelihood (acc, acc_norm), expected texts and calls of functions in JSON by what\n" +
			"it writes; with --against, the other model too, and the change between the two.\n" +
			"--continue N lets both models write on and says after how many tokens they part.\n\n" +
			"--report writes the report for others, whatever the verdict: a page of HTML, JUnit's\n" +
			"XML, Markdown or JSON, by the ending of the file's name; docs/REPORT.md describes them.\n" +
			"--baseline fails where a figure is worse than in an earlier report, beyond noise:\n" +
			"quality prompt by prompt, size, and, where --bench brings them, speed and memory.\n" +
			"--update-baseline keeps what is better. docs/CI.md has workflows and the policy's keys.\n\n" +
			"For the summary of a GitHub job: --format md >> \"$GITHUB_STEP_SUMMARY\"\n\n" +
			"Examples:\n" +
			"   thimble verify smol.thimble --reference ref.safetensors\n" +
			"   thimble verify smol.thimble --reference llama-perplexity.base\n" +
			"   thimble verify smol.thimble --against SmolLM2-135M --text test.txt\n" +
			"   thimble verify smol.thimble --against SmolLM2-135M --text test.txt \\\n" +
			"      --gate 'kl<=0.05' --gate 'top1>=0.9'\n" +
			"   thimble verify smol.thimble --against SmolLM2-135M --text test.txt \\\n" +
			"      --activations int8 --kv k8v4\n" +
			"   thimble verify smol.thimble --against SmolLM2-135M --text test.txt \\\n" +
			"      --chunks 4 --layers --attribute --report report.html --report junit.xml\n" +
			"   thimble verify smol.thimble --reference ref.safetensors \\\n" +
			"      --policy policy.yaml --baseline baseline.json --update-baseline\n" +
			"   thimble verify smol.thimble --selftest --against SmolLM2-135M\n" +
			"   thimble verify smol.thimble --against SmolLM2-135M --tasks tasks.jsonl \\\n" +
			"      --gate 'acc_norm>=0.4' --gate 'acc_change>=-0.02'\n" +
			"   thimble verify smol.thimble --against SmolLM2-135M --text test.txt \\\n" +
			"      --context 256 --chunks 20 --continue 64\n" +
			"   thimble verify SmolLM2-135M --text test.txt --json",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "reference", Aliases: []string{"r"}, Usage: "compare with the logits in `REF`, a safetensors or kld-base file"},
			&cli.StringFlag{Name: "against", Aliases: []string{"a"}, Usage: "compare with the model `SRC`"},
			&cli.StringFlag{Name: "text", Usage: "score the text in `FILE` (- for standard input)"},
			contextFlag, chunksFlag,
			tasksFlag, continueFlag,
			&cli.StringSliceFlag{Name: "gate", Usage: "`METRIC<=LIMIT` or METRIC>=LIMIT in place of the default gates, such as 'kl<=0.05' or 'top1>=0.9' (repeatable)"},
			&cli.BoolFlag{Name: "strict", Usage: "fail where a gate is undecided: its limit lies inside the metric's 95% interval"},
			&cli.Uint64Flag{Name: "seed", Usage: "draw prompts for the intervals from the generator's state `N`"},
			&cli.BoolFlag{Name: "decode", Usage: "feed prompts token by token through the KV cache instead of at once"},
			&cli.BoolFlag{Name: "layers", Usage: "with --against: list what every operation adds and inherits"},
			&cli.BoolFlag{Name: "attribute", Usage: "with --against: say what conversion, weights, activations and KV cost, each on the same tokens"},
			selfTestFlag,
			&cli.BoolFlag{Name: "record", Usage: "store the gates in the container if it passes them all"},
			activationsFlag, kvFlag, setFlag,
			policyFlag, baselineFlag, updateBaselineFlag, benchFlag,
			reportFlag, replaceFlag, formatFlag, annotateFlag, jsonFlag, quietFlag,
		},
		Action: verifyAction,
	}
}

// verifyOptions reads the flags of verify.
func verifyOptions(c *cli.Context) (o thimble.VerifyOptions, err error) {
	o = thimble.VerifyOptions{
		Set: c.StringSlice(setFlag.Name), Reference: c.String("reference"), Against: c.String("against"), Text: c.String("text"),
		Tasks: c.String(tasksFlag.Name), Continue: c.Int(continueFlag.Name), Strict: c.Bool("strict"), Policy: c.String(policyFlag.Name), Seed: c.Uint64("seed"),
		Baseline: c.String(baselineFlag.Name), UpdateBaseline: c.Bool(updateBaselineFlag.Name), Bench: c.String(benchFlag.Name),
		Decode: c.Bool("decode"), Layers: c.Bool("layers"), Attribute: c.Bool("attribute"), Record: c.Bool("record"),
	}
	if o.Model, err = oneModel(c); err != nil {
		return o, err
	}
	for _, text := range c.StringSlice("gate") {
		g, err := verify.ParseGate(text)
		if err != nil {
			return o, fmt.Errorf("--gate: %w", err)
		}
		o.Gates = append(o.Gates, g)
	}
	for _, name := range []string{policyFlag.Name, baselineFlag.Name, benchFlag.Name} {
		if c.IsSet(name) && (c.String(name) == "" || c.String(name) == "-") {
			return o, fmt.Errorf("--%s wants the name of a file", name)
		}
	}
	if c.IsSet(continueFlag.Name) && o.Continue == 0 {
		return o, fmt.Errorf("--continue 0 is out of range, want 1 or more tokens")
	}
	if o.Context, o.Chunks, err = chunksOf(c); err != nil {
		return o, err
	}
	o.Arithmetic, err = arithmeticOf(c)
	return o, err
}

func verifyAction(c *cli.Context) error {
	o, err := verifyOptions(c)
	if err != nil {
		return err
	}
	progress := newMeter(c)
	defer progress.done()
	o.Progress = progress.step
	if c.Bool(selfTestFlag.Name) {
		return selfTestAction(c, o, progress)
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
	progress.done()
	if err := out.put(c, report); err != nil {
		return err
	}
	if !report.Pass {
		return errRefused
	}
	return nil
}

func selfTestAction(c *cli.Context, o thimble.VerifyOptions, progress *meter) error {
	for _, name := range []string{
		"record", "decode", "layers", "attribute", tasksFlag.Name, continueFlag.Name,
		reportFlag.Name, formatFlag.Name, baselineFlag.Name, updateBaselineFlag.Name, benchFlag.Name,
	} {
		if c.IsSet(name) {
			return fmt.Errorf("--selftest compares copies of the model with it, and prints a table or JSON; leave out --%s", name)
		}
	}
	report, err := thimble.SelfTest(c.Context, o)
	if err != nil {
		return err
	}
	progress.done()
	if err := print(c, report); err != nil {
		return err
	}
	if !report.Pass {
		return errRefused
	}
	return nil
}
