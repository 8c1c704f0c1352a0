package main

import (
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/urfave/cli/v2"

	"thimble/format/thimble"
	"thimble/internal/defect"
	"thimble/internal/model"
	"thimble/internal/tokenizer"
	"thimble/verify"
	"thimble/verify/parity"
	"thimble/verify/reference"
)

var (
	contextFlag = &cli.IntFlag{Name: "context", Value: 512, Usage: "with --text: `TOKENS` in a chunk, of which the second half is scored"}
	chunksFlag  = &cli.IntFlag{Name: "chunks", Usage: "with --text: use the first `N` chunks (default: all)"}
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
			"What was measured decides. Where other prompts could well have told otherwise, the\n" +
			"report says UNDECIDED and how many tokens would tell; --strict fails on that too.\n\n" +
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

// An asked is what the flags of verify say, checked before a model is opened.
type asked struct {
	path, against string
	gates         []verify.Gate
	arithmetic    verify.Arithmetic
	held          *ratchet
}

func askedOf(c *cli.Context) (*asked, error) {
	a := &asked{against: c.String("against")}
	var err error
	if a.path, err = oneModel(c); err != nil {
		return nil, err
	}
	for _, text := range c.StringSlice("gate") {
		g, err := verify.ParseGate(text)
		if err != nil {
			return nil, fmt.Errorf("--gate: %w", err)
		}
		a.gates = append(a.gates, g)
	}
	if a.held, err = ratchetOf(c); err != nil {
		return nil, err
	}
	if a.arithmetic, err = arithmeticOf(c); err != nil {
		return nil, err
	}
	if c.Bool("record") && a.arithmetic != (verify.Arithmetic{}) {
		return nil, errRecorded
	}
	if c.Bool("record") && !isContainer(a.path) {
		return nil, fmt.Errorf("%s: --record stores gates in a container; this is a %s file", defect.Printable(a.path), formatOf(a.path))
	}
	if err := checkSelfTest(c); err != nil {
		return nil, err
	}
	for _, name := range []string{"layers", "attribute"} {
		if c.Bool(name) && (a.against == "" || c.String("text") == "") {
			return nil, fmt.Errorf("--%s compares with a model: add --against SRC and --text FILE", name)
		}
	}
	return a, checkBehaviour(c)
}

func verifyAction(c *cli.Context) error {
	a, err := askedOf(c)
	if err != nil {
		return err
	}
	m, err := openSound(a.path, overridesOf(c, a.path, a.against))
	if err != nil {
		return err
	}
	defer m.Close()
	if c.Bool(selfTestFlag.Name) {
		if a.gates, err = a.held.gates(c, m, a.gates, true); err != nil {
			return err
		}
		return selfTest(c, m, a.gates, a.arithmetic)
	}
	with, err := comparisonOf(c, m)
	if err != nil {
		return err
	}
	defer with.close()
	inputs := slices.Concat(m.Files, with.files, []string{c.String("text"), c.String("tasks"), c.String(policyFlag.Name)})
	out, err := reportsOf(c, slices.Concat(inputs, a.held.files()))
	if err != nil {
		return err
	}
	report, err := a.measure(c, m, with, inputs)
	if err != nil {
		return err
	}
	if c.Bool("record") && report.Pass {
		if err := record(m, report); err != nil {
			return err
		}
	}
	if err := a.held.keep(report, inputs); err != nil {
		return err
	}
	if err := out.put(c, report); err != nil {
		return err
	}
	if !report.Pass {
		return errRefused
	}
	return nil
}

// measure compares m as it is asked for, and judges it.
func (a *asked) measure(c *cli.Context, m *model.Model, with *comparison, inputs []string) (*verify.Report, error) {
	atOnce := 0
	if c.Bool("decode") {
		atOnce = 1
	}
	scorer, err := reference.NewScorer(m, a.arithmetic, atOnce)
	if err != nil {
		return nil, err
	}
	o := verify.Options{
		Arithmetic: a.arithmetic, Against: c.String("reference") + a.against,
		Strict: c.Bool("strict"), Seed: c.Uint64("seed"), Text: spelling(m),
	}
	if o.Behaviour, err = behaviourOf(c, m, with, a.arithmetic); err != nil {
		return nil, err
	}
	if o.Gates, err = a.held.gates(c, m, a.gates, with.reference != nil); err != nil {
		return nil, err
	}
	if c.Bool("record") && with.reference == nil {
		return nil, errors.New("--record stores gates passed against a reference: add --reference REF or --against SRC")
	}
	if o.Profile, err = profileOf(c, with, m, a.arithmetic); err != nil {
		return nil, err
	}
	if o.Profile != nil && !c.IsSet("gate") && !slices.ContainsFunc(o.Gates, func(g verify.Gate) bool { return g.Metric == verify.NoConversionError.Metric }) {
		o.Gates = append(o.Gates, verify.NoConversionError)
	}
	hashing := newMeter(c, "hash", "MB", 1e6)
	o.Model, err = identity(c.Context, m, hashing)
	hashing.done()
	if err != nil {
		return nil, err
	}
	if err := a.held.check(&o.Model, inputs); err != nil {
		return nil, err
	}
	hashed, err := startHashing(c.Context, with.files, nil)
	if err != nil {
		return nil, err
	}
	defer hashed.stop()
	report, err := compare(c, "verify", with.reference, scorer, with.prompts, o)
	if err == nil {
		err = hashed.wait()
	}
	if err == nil {
		report.Tool, report.Policy = tool, c.String(policyFlag.Name)
		report.AgainstSHA256 = hex.EncodeToString(mainSum(hashed.Sources))
		report.Describe(m)
		err = a.held.hold(report, o.Seed)
	}
	if err == nil && c.Bool("attribute") {
		err = attribute(c, report, with, m, a.arithmetic)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", defect.Printable(a.path), err)
	}
	return report, nil
}

// profileOf compares the operations of m with those of the model that is the
// reference, if one is: to the end where --layers asks for it, else to the first
// divergence. Where the operations cannot be compared there is no profile, unless it
// was asked for.
func profileOf(c *cli.Context, with *comparison, m *model.Model, a verify.Arithmetic) (*parity.Profile, error) {
	asked := c.Bool("layers")
	if with.source == nil || len(with.prompts) == 0 || !asked && parity.Comparable(with.source, m) != nil {
		return nil, nil
	}
	profile, err := parity.Compare(c.Context, with.source, m, a, verify.ProfileTexts(with.prompts), !asked)
	if err == nil {
		profile.ShowLayers = asked
	}
	return profile, err
}

// attribute adds to the report of m what each stage costs.
func attribute(c *cli.Context, report *verify.Report, with *comparison, m *model.Model, a verify.Arithmetic) (err error) {
	progress := newMeter(c, "attribute", "tokens", 1)
	defer progress.done()
	report.Stages, err = verify.Attribute(c.Context, verify.StageOptions{
		Source: with.source, Subject: m, Reference: with.reference, Prompts: with.prompts, Arithmetic: a, Done: report,
		Progress: func(stage string, done, total int) {
			progress.label = stage
			progress.at(int64(done), int64(total))
		},
	})
	return err
}

// compare is verify.Run with its progress shown.
func compare(c *cli.Context, label string, ref reference.Reference, scorer reference.Scorer, prompts []reference.Prompt, o verify.Options) (*verify.Report, error) {
	progress := newMeter(c, label, "tokens", 1)
	defer progress.done()
	o.Progress = func(done, total int) { progress.at(int64(done), int64(total)) }
	if o.Behaviour != nil {
		tasks := newMeter(c, "ask", "tasks", 1)
		defer tasks.done()
		o.Behaviour.Progress = func(done, total int) { tasks.at(int64(done), int64(total)) }
	}
	return verify.Run(c.Context, ref, scorer, prompts, o)
}

// spelling returns what m's tokenizer, which is opened when it is asked, makes of
// tokens: nothing where m has none.
func spelling(m *model.Model) func([]int) string {
	opened := sync.OnceValues(func() (*tokenizer.Tokenizer, error) { return openTokenizer(m) })
	return func(ids []int) string {
		tok, err := opened()
		if err != nil {
			return ""
		}
		return strings.ToValidUTF8(string(tok.Decode(ids)), "\ufffd")
	}
}

// record writes m's container again with the gates that it has passed.
func record(m *model.Model, report *verify.Report) error {
	against, err := hex.DecodeString(report.AgainstSHA256)
	if err != nil {
		return err
	}
	contents, err := thimble.Describe(m)
	if err != nil {
		return err
	}
	for _, g := range report.Gates {
		contents.Gates = append(contents.Gates, thimble.Gate{Metric: g.Metric, Limit: g.Limit, Value: float64(g.Value), Against: against})
	}
	w, err := thimble.Create(m.Path, contents, thimble.Options{Overwrite: true})
	if err != nil {
		return err
	}
	defer w.Abort()
	for _, e := range contents.Tensors {
		if err := w.Write(m.Tensors[e.Name]); err != nil {
			return err
		}
	}
	return w.Close()
}
