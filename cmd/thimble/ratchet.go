package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/urfave/cli/v2"

	"thimble/internal/atomicfile"
	"thimble/internal/defect"
	"thimble/internal/model"
	"thimble/internal/strictyaml"
	"thimble/verify"
)

var (
	policyFlag         = &cli.StringFlag{Name: "policy", Usage: "take gates, --strict and tolerances from `FILE`, YAML that docs/CI.md describes"}
	baselineFlag       = &cli.StringFlag{Name: "baseline", Usage: "fail where quality, size, speed or memory is worse, beyond noise, than in `FILE`, an earlier report as JSON"}
	updateBaselineFlag = &cli.BoolFlag{Name: "update-baseline", Usage: "write --baseline's file where there is none, or where something is better and nothing worse; never after a failure"}
	benchFlag          = &cli.StringFlag{Name: "bench", Usage: "put the speed and memory in `FILE`, the output of \"thimble bench --json\" for this model, into the report"}
)

// A ratchet is what --policy, --baseline, --update-baseline and --bench ask for.
type ratchet struct {
	policy    *verify.Policy // not nil
	path      string         // of the baseline, or empty
	before    *verify.Report // nil where there is none yet
	update    bool
	speed     *verify.Speed
	benchmark string
}

// ratchetOf reads the files, before any work.
func ratchetOf(c *cli.Context) (*ratchet, error) {
	r := &ratchet{policy: new(verify.Policy), path: c.String(baselineFlag.Name), update: c.Bool(updateBaselineFlag.Name), benchmark: c.String(benchFlag.Name)}
	if r.update && r.path == "" {
		return nil, errors.New("--update-baseline wants --baseline FILE, which it writes")
	}
	for _, name := range []string{policyFlag.Name, baselineFlag.Name, benchFlag.Name} {
		if c.IsSet(name) && (c.String(name) == "" || c.String(name) == "-") {
			return nil, fmt.Errorf("--%s wants the name of a file", name)
		}
	}
	if path := c.String(policyFlag.Name); path != "" {
		text, err := readText(c.Context, path, strictyaml.Limit)
		if err != nil {
			return nil, fmt.Errorf("--policy: %w", err)
		}
		if r.policy, err = verify.ParsePolicy([]byte(text)); err != nil {
			return nil, fmt.Errorf("--policy %s: %w", defect.Printable(path), err)
		}
		if r.policy.Strict {
			if err := c.Set("strict", "true"); err != nil {
				return nil, err
			}
		}
		if r.policy.HasGates() && len(c.StringSlice("gate")) > 0 {
			return nil, fmt.Errorf("--gate and the gates of --policy %s exclude each other; leave one out", defect.Printable(path))
		}
	}
	if r.benchmark != "" {
		text, err := readText(c.Context, r.benchmark, verify.MaxReport)
		if err == nil {
			r.speed, err = verify.ParseSpeed(r.benchmark, []byte(text))
		}
		if err != nil {
			return nil, fmt.Errorf("--bench: %w", err)
		}
	}
	return r, r.readBaseline(c.Context)
}

func (r *ratchet) readBaseline(ctx context.Context) error {
	if r.path == "" {
		return nil
	}
	text, err := readText(ctx, r.path, verify.MaxReport)
	switch {
	case errors.Is(err, fs.ErrNotExist) && r.update:
		return nil
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("--baseline %s: there is no such file; --update-baseline makes it of this run", defect.Printable(r.path))
	case err != nil:
		return fmt.Errorf("--baseline: %w", err)
	}
	if r.before, err = verify.ParseReport(r.path, []byte(text)); err != nil {
		return fmt.Errorf("--baseline: %w", err)
	}
	return nil
}

// check finds, before any work, what keeps the figures of bench from being those of
// the model, and the baseline from being written. inputs are files that it may not
// replace.
func (r *ratchet) check(info *verify.ModelInfo, inputs []string) error {
	if r.speed != nil && r.speed.SHA256 != info.SHA256 {
		return fmt.Errorf("--bench %s: its sha256 is %.12s, the model's %.12s: it timed another file", defect.Printable(r.benchmark), defect.Printable(r.speed.SHA256), info.SHA256)
	}
	if !r.update {
		return nil
	}
	if err := atomicfile.Check(r.path, r.options(inputs)); err != nil {
		return fmt.Errorf("--baseline %w", err)
	}
	return nil
}

func (r *ratchet) options(inputs []string) atomicfile.Options {
	return atomicfile.Options{Overwrite: true, Inputs: inputs}
}

// files are what the ratchet reads or writes, which no report may replace.
func (r *ratchet) files() (all []string) {
	for _, path := range []string{r.path, r.benchmark} {
		if path == "" {
			continue
		}
		if _, err := os.Stat(path); err == nil {
			all = append(all, path)
		}
	}
	return all
}

// hold completes the report with the speed of the model and compares it with the
// baseline.
func (r *ratchet) hold(report *verify.Report, seed uint64) error {
	report.Speed = r.speed
	if r.path == "" {
		return nil
	}
	return report.HoldTo(r.before, r.path, r.policy.Tolerance, seed)
}

// keep writes the baseline, where it is asked to and may.
func (r *ratchet) keep(report *verify.Report, inputs []string) error {
	if !r.update || !report.Pass || r.before != nil && !report.Improved() {
		return nil
	}
	kept := *report
	kept.Baseline = nil
	text, err := reportJSON(&kept)
	if err == nil {
		err = writeWhole(r.path, text, r.options(inputs))
	}
	report.Baseline.Written = err == nil
	return err
}

// gates are those of --gate, else the policy's, else the default ones; none
// without a reference unless they are given.
func (r *ratchet) gates(c *cli.Context, m *model.Model, given []verify.Gate, reference bool) ([]verify.Gate, error) {
	if given != nil || !reference && !r.policy.HasGates() {
		return given, nil
	}
	gates, err := r.policy.GatesFor(m)
	if err != nil {
		return nil, fmt.Errorf("--policy %s: %w", defect.Printable(c.String(policyFlag.Name)), err)
	}
	return gates, nil
}
