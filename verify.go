package thimble

import (
	"cmp"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"time"

	container "thimble/format/thimble"
	"thimble/internal/atomicfile"
	"thimble/internal/defect"
	"thimble/internal/digest"
	"thimble/internal/memory"
	"thimble/internal/model"
	"thimble/internal/shard"
	"thimble/internal/texts"
	"thimble/target"
	"thimble/verify"
	"thimble/verify/parity"
	"thimble/verify/reference"
	"thimble/verify/standard"
	"thimble/verify/tasks"
)

// VerifyOptions specify what Verify measures, and the gates that it applies.
type VerifyOptions struct {
	Model string   // path
	Set   []string // config overrides for Model or Against, if it is a checkpoint

	// The reference is a file, which contains its own prompts; or another model, on a
	// text; or absent, to measure the perplexity of a text alone.
	Reference string
	Against   string
	Text      string
	Context   int // tokens in a chunk of Text; its second half is scored; 0 is ChunkContext
	Chunks    int // number of chunks to use, from the start; 0 is all

	Tasks    string // path of a file of tasks
	Continue int    // number of tokens by which both models continue each chunk; 0 is none

	Gates  []Gate // replace those of Policy and the default gates
	Strict bool   // an undecided gate fails
	Policy string // path of a policy
	Seed   uint64 // of the bootstrap for intervals

	Baseline       string // path of an earlier report; a worse figure fails
	UpdateBaseline bool   // write Baseline if it is missing, or if something is better and nothing worse
	Bench          string // path of the JSON output of Bench for this model

	Decode    bool // feed prompts token by token through the KV cache
	Layers    bool // report the error that every operation adds and inherits
	Attribute bool // report the divergence that each stage adds
	Record    bool // store the gates in the container if the model passes them all

	// Scores is a path; VerifyPart stores the scores of a share of the chunks in a part next to
	// it, see shard.Shard.Path. With Merge, Verify takes the scores of all parts and keeps them.
	Scores string
	Shard  shard.Shard
	Merge  bool

	Arithmetic Arithmetic
	MaxMem     int64 // bound on the resident memory, in bytes; 0 is none. The report does not depend on it
	Progress   Progress

	// Ready, if not nil, is called before any work, and again once Against is open, with the
	// paths that reports must not replace.
	Ready func(inputs []string) error
}

// Verify compares a model with a reference. Report.Pass is false if a gate fails; an
// error means that there is no verdict.
func Verify(ctx context.Context, o VerifyOptions) (*verify.Report, error) {
	var report *verify.Report
	err := verifying(ctx, o, false, func(v *verification, with *comparison) (err error) {
		report, err = v.verify(ctx, with)
		return err
	})
	return report, err
}

// verifying calls do with what o names, opened. selfTest allows for a run without a text.
func verifying(ctx context.Context, o VerifyOptions, selfTest bool, do func(*verification, *comparison) error) error {
	defer memory.Hold(o.MaxMem)()
	v := &verification{VerifyOptions: o, start: time.Now()}
	if err := v.open(ctx); err != nil {
		return err
	}
	defer v.m.Close()
	with, err := v.comparison(ctx, selfTest)
	if err != nil {
		return err
	}
	defer with.close()
	return do(v, with)
}

// verify carries out Verify.
func (v *verification) verify(ctx context.Context, with *comparison) (*verify.Report, error) {
	inputs := slices.Concat(v.m.Files, with.files, []string{v.Text, v.Tasks, v.Policy})
	if v.Ready != nil {
		if err := v.Ready(slices.Concat(inputs, v.standard.Files())); err != nil {
			return nil, err
		}
	}
	report, err := v.measure(ctx, with, inputs)
	if err != nil {
		return nil, err
	}
	report.Elapsed = time.Since(v.start)
	if v.MaxMem > 0 {
		report.PeakResident = memory.Peak()
	}
	if v.Record && report.Pass {
		if err := record(v.m, report); err != nil {
			return nil, err
		}
	}
	return report, v.standard.Keep(report, inputs)
}

// A verification is one run of Verify, VerifyPart or SelfTest.
type verification struct {
	VerifyOptions
	start    time.Time
	standard *standard.Standard
	m        *model.Model
}

// open checks the options, reads the files that they name, and opens the model.
func (v *verification) open(ctx context.Context) (err error) {
	v.standard, err = standard.Read(ctx, standard.Options{
		Policy: v.Policy, Baseline: v.Baseline, Update: v.UpdateBaseline, Bench: v.Bench, Gates: len(v.Gates) > 0,
	})
	if err != nil {
		return err
	}
	v.Strict = v.Strict || v.standard.Policy.Strict
	if err := v.check(); err != nil {
		return err
	}
	if v.m, err = Open(v.Model, overridesFor(v.Set, v.Model, v.Against)...); err != nil {
		return err
	}
	if err = v.checkFiles(); err == nil {
		err = verifyWeights(ctx, v.m, v.Progress)
	}
	if err != nil {
		v.m.Close()
	}
	return err
}

// checkFiles returns an error if a file that the run would write at its end cannot be
// written.
func (v *verification) checkFiles() error {
	if v.Record {
		if err := atomicfile.Check(v.m.Path, atomicfile.Options{Overwrite: true}); err != nil {
			return fmt.Errorf("--record: %w", err)
		}
	}
	if v.Ready == nil {
		return nil
	}
	return v.Ready(slices.Concat(v.m.Files, []string{v.Reference, v.Text, v.Tasks, v.Policy}, v.standard.Files()))
}

// check returns an error if options exclude each other. It needs no model.
func (v *verification) check() error {
	if v.Record && v.Arithmetic != (Arithmetic{}) {
		return errors.New("--record stores gates that the model passed in float32; leave out --activations and --kv")
	}
	if v.Record && !isContainer(v.Model) {
		return fmt.Errorf("%s: --record stores gates in a container; this is a %s file", defect.Printable(v.Model), formatOf(v.Model))
	}
	for _, flag := range []struct {
		name string
		set  bool
	}{{"layers", v.Layers}, {"attribute", v.Attribute}} {
		if flag.set && (v.Against == "" || v.Text == "") {
			return fmt.Errorf("--%s compares with a model: add --against SRC and --text FILE", flag.name)
		}
	}
	switch {
	case v.Merge && v.Text == "" && v.Reference == "":
		return errors.New("--merge takes the scores of a text's chunks: add --text FILE or --reference REF")
	case v.Continue < 0 || v.Continue > model.MaxLength:
		return fmt.Errorf("--continue %d is out of range, want 1 to %d", v.Continue, model.MaxLength)
	case v.Continue > 0 && (v.Against == "" || v.Text == ""):
		return errors.New("--continue compares with a model: add --against SRC and --text FILE")
	case v.Tasks == "-" && v.Text == "-":
		return errors.New("--tasks and --text cannot both read standard input")
	}
	return nil
}

// measure compares the model with the reference and applies the gates.
func (v *verification) measure(ctx context.Context, with *comparison, inputs []string) (*verify.Report, error) {
	scorer, err := v.scorer()
	if err != nil {
		return nil, err
	}
	scorer = reference.CacheLogits(scorer, sharedPositions) // Expect runs the model too
	o, err := v.options(ctx, with)
	if err != nil {
		return nil, err
	}
	hashed, err := digest.Start(ctx, with.files, nil)
	if err != nil {
		return nil, err
	}
	defer hashed.Stop()
	if err := v.checkRun(with, scorer, o, hashed, inputs); err != nil {
		return nil, fmt.Errorf("%s: %w", defect.Printable(v.Model), err)
	}
	if err := verify.Fits(v.MaxMem, v.m, with.source, with.prompts, o, v.Attribute); err != nil {
		return nil, fmt.Errorf("%s: %w", defect.Printable(v.Model), err)
	}
	if v.Merge {
		parts, err := v.scoreParts(ctx, with)
		if err != nil {
			return nil, err
		}
		if o.Scores, err = parts.Read(v.Arithmetic); err != nil {
			return nil, err
		}
	}
	if err := v.prepare(ctx, with, scorer, o); err != nil {
		return nil, err
	}
	if err := v.profile(ctx, with, o); err != nil {
		return nil, err
	}
	report, err := verify.Run(ctx, with.reference, scorer, with.prompts, *o)
	if err == nil {
		err = hashed.Wait()
	}
	if err == nil {
		report.Tool, report.Policy = Tool, v.Policy
		report.AgainstSHA256 = hex.EncodeToString(digest.Main(hashed.Sources))
		report.Describe(v.m)
		err = v.standard.Compare(report, o.Seed)
	}
	if err == nil && v.Attribute {
		err = v.attribute(ctx, report, with)
	}
	if err != nil {
		pair := defect.Printable(v.Model)
		if other := cmp.Or(v.Reference, v.Against); other != "" {
			pair += ", compared with " + defect.Printable(other)
		}
		return nil, fmt.Errorf("%s: %w", pair, err)
	}
	return report, nil
}

// sharedPositions is how many hidden states of the model are kept so that Expect does
// not compute them again.
const sharedPositions = 2048

// checkRun finds, before the long work, what would make it useless: gates that the run
// cannot decide, a reference of another model, a baseline of another run.
func (v *verification) checkRun(with *comparison, scorer reference.Scorer, o *verify.Options, hashed *digest.Hashing, inputs []string) error {
	if err := v.standard.Check(&o.Model, inputs); err != nil {
		return err
	}
	if err := verify.CheckRun(with.reference, scorer, with.prompts, o); err != nil {
		return err
	}
	if v.standard.Before == nil {
		return nil
	}
	if err := hashed.Wait(); err != nil {
		return err
	}
	outline := verify.Outline(with.prompts, o)
	outline.AgainstSHA256 = hex.EncodeToString(digest.Main(hashed.Sources))
	outline.Describe(v.m)
	return v.standard.Compare(outline, o.Seed)
}

// prepare adds what the model alone determines to the options: what its rounding explains,
// and default gates.
func (v *verification) prepare(ctx context.Context, with *comparison, scorer reference.Scorer, o *verify.Options) error {
	if with.reference == nil {
		return nil
	}
	report := v.Progress.stage("measure rounding noise", Work)
	return verify.Prepare(ctx, &verify.Subject{
		Progress: func(done, total int) { report(int64(done), int64(total)) },
		Model:    v.m, Arithmetic: v.Arithmetic, Scorer: scorer, Prompts: with.prompts, Settings: with.settings, Rounded: with.rounded, Predicted: target.Predicted(v.m),
	}, o)
}

// options returns the options of verify.Run, without those of prepare and profile.
func (v *verification) options(ctx context.Context, with *comparison) (*verify.Options, error) {
	tokens := v.Progress.stage("verify", Tokens)
	o := &verify.Options{
		Arithmetic: v.Arithmetic, Against: v.Reference + v.Against, AgainstFile: v.Reference != "", Strict: v.Strict, Seed: v.Seed, Text: texts.Decoder(v.m),
		Progress: func(done, total int) { tokens(int64(done), int64(total)) },
	}
	var err error
	if o.Behaviour, err = v.behaviour(ctx, with); err != nil {
		return nil, err
	}
	if o.Gates, o.Source, err = v.chosenGates(); err != nil {
		return nil, err
	}
	if v.Record && with.reference == nil {
		return nil, errors.New("--record stores gates passed against a reference: add --reference REF or --against SRC")
	}
	o.Model, err = identify(ctx, v.m, v.Progress)
	return o, err
}

// chosenGates returns Gates, otherwise those of the policy. It returns nil if the
// default gates apply.
func (v *verification) chosenGates() (gates []Gate, source string, err error) {
	switch {
	case v.Gates != nil:
		return v.Gates, verify.GateFlag, nil
	case !v.standard.Policy.HasGates():
		return nil, "", nil
	}
	if gates, err = v.standard.Policy.GatesFor(v.m); err != nil {
		return nil, "", fmt.Errorf("--policy %s: %w", defect.Printable(v.Policy), err)
	}
	return gates, verify.GatePolicy, nil
}

// behaviour returns the measurements that Tasks and Continue ask for, or nil.
func (v *verification) behaviour(ctx context.Context, with *comparison) (*tasks.Behaviour, error) {
	if v.Tasks == "" && v.Continue == 0 {
		return nil, nil
	}
	tok, _, err := texts.Tokenizer(v.m)
	if err != nil {
		return nil, err
	}
	report := v.Progress.stage("tasks", Tasks)
	b := &tasks.Behaviour{Tokenizer: tok, Continue: v.Continue, Progress: func(done, total int) { report(int64(done), int64(total)) }}
	if b.Model, err = tasks.NewGenerator(ctx, v.m, v.Arithmetic); err != nil {
		return nil, err
	}
	if with.source != nil {
		if b.Reference, err = tasks.NewGenerator(ctx, with.source, Arithmetic{}); err != nil {
			return nil, err
		}
	}
	if v.Tasks == "" {
		return b, nil
	}
	text, err := ReadText(ctx, "--tasks", v.Tasks, tasks.MaxBytes)
	if err != nil {
		return nil, err
	}
	b.Tasks, err = tasks.Read(v.Tasks, text)
	return b, err
}

// profile adds to o the comparison of the model's operations with those of Against: all of
// them with Layers, otherwise up to the first that diverges. It adds nothing without
// Against, and, without Layers, if the operations cannot be compared.
func (v *verification) profile(ctx context.Context, with *comparison, o *verify.Options) (err error) {
	if with.source == nil || len(with.prompts) == 0 || !v.Layers && parity.Comparable(with.source, v.m) != nil {
		return nil
	}
	steps := v.Progress.stage("compare operations", Work)
	o.Profile, err = parity.CompareWithProgress(ctx, with.source.InOrderOf(&v.m.Provenance), v.m, v.Arithmetic, verify.ProfileTexts(with.prompts), !v.Layers,
		func(done, total int) { steps(int64(done), int64(total)) })
	if err != nil {
		return err
	}
	o.Profile.ShowLayers = v.Layers
	if v.Gates == nil && !slices.ContainsFunc(o.Gates, func(g Gate) bool { return g.Metric == verify.NoConversionError.Metric }) {
		o.Gates = append(o.Gates, verify.NoConversionError)
	}
	return nil
}

// attribute adds to the report the divergence that each stage adds.
func (v *verification) attribute(ctx context.Context, report *verify.Report, with *comparison) (err error) {
	report.Stages, err = verify.Attribute(ctx, verify.StageOptions{
		Source: with.source.InOrderOf(&v.m.Provenance), Subject: v.m, Reference: with.reference, Prompts: with.prompts, Arithmetic: v.Arithmetic, Done: report,
		Progress: func(stage string, done, total int) { v.Progress.stage(stage, Tokens)(int64(done), int64(total)) },
	})
	return err
}

// record adds the gates that m has passed to its container, and closes m.
func record(m *model.Model, report *verify.Report) error {
	against, err := hex.DecodeString(report.AgainstSHA256)
	if err != nil {
		return err
	}
	var gates []container.Gate
	for _, g := range report.Gates {
		gates = append(gates, container.Gate{Metric: g.Metric, Op: g.Op, Limit: g.Limit, Value: float64(g.Value), Against: against})
	}
	return container.Record(m, gates)
}
