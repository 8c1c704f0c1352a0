package main

import (
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

func verifyAction(c *cli.Context) error {
	path, err := oneModel(c)
	if err != nil {
		return err
	}
	var gates []verify.Gate
	for _, text := range c.StringSlice("gate") {
		g, err := verify.ParseGate(text)
		if err != nil {
			return fmt.Errorf("--gate: %w", err)
		}
		gates = append(gates, g)
	}
	held, err := ratchetOf(c)
	if err != nil {
		return err
	}
	against := c.String("against")
	arithmetic, err := arithmeticOf(c)
	if err != nil {
		return err
	}
	if c.Bool("record") && arithmetic != (verify.Arithmetic{}) {
		return errRecorded
	}
	if c.Bool("record") && !isContainer(path) {
		return fmt.Errorf("%s: --record stores gates in a container; this is a %s file", defect.Printable(path), formatOf(path))
	}
	if err := checkSelfTest(c); err != nil {
		return err
	}
	for _, name := range []string{"layers", "attribute"} {
		if c.Bool(name) && (against == "" || c.String("text") == "") {
			return fmt.Errorf("--%s compares with a model: add --against SRC and --text FILE", name)
		}
	}
	if err := checkBehaviour(c); err != nil {
		return err
	}
	m, err := openSound(path, overridesOf(c, path, against))
	if err != nil {
		return err
	}
	defer m.Close()
	if c.Bool(selfTestFlag.Name) {
		if gates, err = held.gates(c, m, gates, true); err != nil {
			return err
		}
		return selfTest(c, m, gates, arithmetic)
	}
	atOnce := 0
	if c.Bool("decode") {
		atOnce = 1
	}
	subject, err := verify.NewSubjectWith(m, arithmetic, atOnce)
	if err != nil {
		return err
	}
	with, err := comparisonOf(c, m)
	if err != nil {
		return err
	}
	defer with.close()
	behaviour, err := behaviourOf(c, m, with, arithmetic)
	if err != nil {
		return err
	}
	inputs := slices.Concat(m.Files, with.files, []string{c.String("text"), c.String("tasks"), c.String(policyFlag.Name)})
	out, err := reportsOf(c, slices.Concat(inputs, held.files()))
	if err != nil {
		return err
	}
	if gates, err = held.gates(c, m, gates, with.reference != nil); err != nil {
		return err
	}
	if c.Bool("record") && with.reference == nil {
		return errors.New("--record stores gates passed against a reference: add --reference REF or --against SRC")
	}
	profile, err := profileOf(c, with, m, arithmetic)
	if err != nil {
		return err
	}
	if profile != nil && !c.IsSet("gate") && !slices.ContainsFunc(gates, func(g verify.Gate) bool { return g.Metric == verify.NoConversionError.Metric }) {
		gates = append(gates, verify.NoConversionError)
	}
	hashing := newMeter(c, "hash", "MB", 1e6)
	info, err := identity(c.Context, m, hashing)
	hashing.done()
	if err != nil {
		return err
	}
	if err := held.check(&info, inputs); err != nil {
		return err
	}
	referenceSum, err := digestOfFiles(c, with.files)
	if err != nil {
		return err
	}
	report, err := compare(c, "verify", with.reference, subject, with.prompts, verify.Options{
		Gates: gates, Model: info, Arithmetic: arithmetic, Against: c.String("reference") + against,
		Strict: c.Bool("strict"), Seed: c.Uint64("seed"), Text: spelling(m), Profile: profile, Behaviour: behaviour,
	})
	if err == nil {
		report.Tool, report.AgainstSHA256, report.Policy = tool, referenceSum, c.String(policyFlag.Name)
		report.Describe(m)
		err = held.hold(report, c.Uint64("seed"))
	}
	if err == nil && c.Bool("attribute") {
		err = attribute(c, report, with, m, arithmetic)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", defect.Printable(path), err)
	}
	if c.Bool("record") && report.Pass {
		if err := record(c, m, report, with.files); err != nil {
			return err
		}
	}
	if err := held.keep(report, inputs); err != nil {
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

// profileOf compares the operations of m with those of the model that is the
// reference, if one is: to the end where --layers asks for it, else to the first
// divergence. Where the operations cannot be compared there is no profile, unless it
// was asked for.
func profileOf(c *cli.Context, with *comparison, m *model.Model, a verify.Arithmetic) (*verify.Profile, error) {
	asked := c.Bool("layers")
	if with.source == nil || len(with.prompts) == 0 || !asked && verify.Comparable(with.source, m) != nil {
		return nil, nil
	}
	profile, err := verify.Compare(c.Context, with.source, m, a, verify.ProfileTexts(with.prompts), !asked)
	if err == nil {
		profile.Drawn = asked
	}
	return profile, err
}

// attribute adds to the report of m what each stage costs.
func attribute(c *cli.Context, report *verify.Report, with *comparison, m *model.Model, a verify.Arithmetic) (err error) {
	progress := newMeter(c, "attribute", "tokens", 1)
	defer progress.done()
	report.Stages, err = verify.Attribute(c.Context, with.source, m, with.reference, with.prompts, a, report, func(stage string, done, total int) {
		progress.label = stage
		progress.at(int64(done), int64(total))
	})
	return err
}

// compare is verify.Run with its progress shown.
func compare(c *cli.Context, label string, reference, subject verify.Subject, prompts []verify.Prompt, o verify.Options) (*verify.Report, error) {
	progress := newMeter(c, label, "tokens", 1)
	defer progress.done()
	o.Progress = func(done, total int) { progress.at(int64(done), int64(total)) }
	if o.Behaviour != nil {
		tasks := newMeter(c, "ask", "tasks", 1)
		defer tasks.done()
		o.Behaviour.Progress = func(done, total int) { tasks.at(int64(done), int64(total)) }
	}
	return verify.Run(c.Context, reference, subject, prompts, o)
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
func record(c *cli.Context, m *model.Model, report *verify.Report, files []string) error {
	sources, err := hashFiles(c.Context, files, nil)
	if err != nil {
		return err
	}
	contents, err := thimble.Describe(m)
	if err != nil {
		return err
	}
	for _, g := range report.Gates {
		contents.Gates = append(contents.Gates, thimble.Gate{Metric: g.Metric, Limit: g.Limit, Value: float64(g.Value), Against: mainSum(sources)})
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

// A comparison is what --reference, --against and --text ask for.
type comparison struct {
	reference verify.Subject // nil to measure perplexity alone
	prompts   []verify.Prompt
	files     []string // of the reference
	close     func() error
	source    *model.Model // that is the reference, or nil
}

// rememberedFloats is how much of the reference --attribute keeps, rather than
// run it again for every stage: 256 MB.
const rememberedFloats = 1 << 26

func comparisonOf(c *cli.Context, m *model.Model) (*comparison, error) {
	file, against, text, tasks := c.String("reference"), c.String("against"), c.String("text"), c.String("tasks")
	switch {
	case file == "" && text == "" && tasks == "" && !c.Bool(selfTestFlag.Name):
		return nil, errors.New("nothing to compare: give --reference REF, or --text FILE with or without --against SRC, or --tasks FILE")
	case file != "" && (text != "" || against != ""):
		return nil, errors.New("--reference holds its own prompts; leave out --text and --against")
	case file != "":
		r, err := verify.OpenReference(file)
		if err != nil {
			return nil, err
		}
		if tok, err := openTokenizer(m); err == nil {
			r.StartWith(startOf(tok))
		}
		return &comparison{reference: r, prompts: r.Prompts(), files: []string{file}, close: r.Close}, nil
	}
	var prompts []verify.Prompt
	cut := textPrompts
	if text == "" {
		cut = selfTestPrompts
	}
	if text != "" || c.Bool(selfTestFlag.Name) {
		var err error
		if prompts, err = cut(c, m, text); err != nil {
			return nil, err
		}
	}
	if against == "" {
		return &comparison{prompts: prompts, close: func() error { return nil }}, nil
	}
	source, err := openSound(against, overridesOf(c, against, m.Path))
	if err != nil {
		return nil, err
	}
	if prompts == nil {
		return &comparison{files: source.Files, close: source.Close, source: source}, nil
	}
	ref, err := verify.NewSubject(source, 0)
	if err != nil {
		source.Close()
		return nil, err
	}
	if c.Bool("attribute") {
		ref = verify.Remember(ref, rememberedFloats/source.Spec.Hidden)
	}
	return &comparison{ref, prompts, source.Files, source.Close, source}, nil
}

// textPrompts cuts the text at path into chunks of m's tokens.
func textPrompts(c *cli.Context, m *model.Model, path string) ([]verify.Prompt, error) {
	tok, err := openTokenizer(m)
	if err != nil {
		return nil, err
	}
	length := c.Int(contextFlag.Name)
	if err := checkContext(m, length, fmt.Sprintf("use --context %d or less", m.Spec.Context)); err != nil {
		return nil, err
	}
	text, err := readText(c.Context, path, maxText)
	if err != nil {
		return nil, err
	}
	ids, err := encode(c.Context, tok, text, true)
	if err != nil {
		return nil, err
	}
	prompts, err := verify.TextPrompts(ids, length, c.Int(chunksFlag.Name), startOf(tok))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", defect.Printable(path), err)
	}
	return prompts, nil
}
