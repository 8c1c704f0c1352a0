package thimble

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"thimble/internal/atomicfile"
	"thimble/internal/defect"
	"thimble/internal/strictjson"
	"thimble/internal/strictyaml"
	"thimble/verify"
)

// A baselineCheck holds the contents of the files Policy, Baseline and Bench.
type baselineCheck struct {
	policy *verify.Policy // not nil
	path   string         // of the baseline, or empty
	before *verify.Report // nil if there is none yet
	update bool
	bench  string // path of the output of Bench
	speed  *verify.Speed
}

// readBaseline reads the files before any work starts.
func (v *verification) readBaseline(ctx context.Context) (*baselineCheck, error) {
	b := &baselineCheck{policy: new(verify.Policy), path: v.Baseline, update: v.UpdateBaseline, bench: v.Bench}
	if b.update && b.path == "" {
		return nil, errors.New("--update-baseline needs --baseline FILE, the file to write")
	}
	if v.Policy != "" {
		text, err := ReadText(ctx, "--policy", v.Policy, strictyaml.Limit)
		if err != nil {
			return nil, err
		}
		if b.policy, err = verify.ParsePolicy([]byte(text)); err != nil {
			return nil, fmt.Errorf("--policy %s: %w", defect.Printable(v.Policy), err)
		}
		if b.policy.HasGates() && len(v.Gates) > 0 {
			return nil, fmt.Errorf("--gate and the gates of --policy %s exclude each other; leave one out", defect.Printable(v.Policy))
		}
	}
	if b.bench != "" {
		text, err := ReadText(ctx, "--bench", b.bench, verify.MaxReport)
		if err != nil {
			return nil, err
		}
		if b.speed, err = verify.ParseSpeed(b.bench, []byte(text)); err != nil {
			return nil, fmt.Errorf("--bench: %w", err)
		}
	}
	return b, b.read(ctx)
}

func (b *baselineCheck) read(ctx context.Context) error {
	if b.path == "" {
		return nil
	}
	text, err := ReadText(ctx, "--baseline", b.path, verify.MaxReport)
	switch {
	case errors.Is(err, fs.ErrNotExist) && b.update:
		return nil
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("--baseline %s: there is no such file; --update-baseline writes this run to it", defect.Printable(b.path))
	case err != nil:
		return err
	}
	if b.before, err = verify.ParseReport(b.path, []byte(text)); err != nil {
		return fmt.Errorf("--baseline: %w", err)
	}
	return nil
}

// check returns an error, before any work, if Bench timed another model or the baseline
// cannot be written. inputs are paths that the baseline must not replace.
func (b *baselineCheck) check(info *verify.ModelInfo, inputs []string) error {
	if b.speed != nil && b.speed.SHA256 != info.SHA256 {
		return fmt.Errorf("--bench %s: its sha256 is %.12s, the model's %.12s: it timed another file", defect.Printable(b.bench), defect.Printable(b.speed.SHA256), info.SHA256)
	}
	if !b.update {
		return nil
	}
	if err := atomicfile.Check(b.path, atomicfile.Options{Overwrite: true, Inputs: inputs}); err != nil {
		return fmt.Errorf("--baseline %w", err)
	}
	return nil
}

// files returns the existing files that no report may replace.
func (b *baselineCheck) files() (all []string) {
	for _, path := range []string{b.path, b.bench} {
		if path == "" {
			continue
		}
		if _, err := os.Stat(path); err == nil {
			all = append(all, path)
		}
	}
	return all
}

// compare adds the speed to the report and compares it with the baseline.
func (b *baselineCheck) compare(report *verify.Report, seed uint64) error {
	report.Speed = b.speed
	if b.path == "" {
		return nil
	}
	return report.CompareBaseline(b.before, b.path, b.policy.Tolerance, seed)
}

// keep writes the baseline if UpdateBaseline is set and the report allows it.
func (b *baselineCheck) keep(report *verify.Report, inputs []string) error {
	if !b.update || !report.Pass || b.before != nil && !report.Improved() {
		return nil
	}
	kept := *report
	kept.Baseline = nil
	text, err := strictjson.Encode(&kept)
	if err == nil {
		err = atomicfile.WriteFile(b.path, text, atomicfile.Options{Overwrite: true, Inputs: inputs})
	}
	report.Baseline.Written = err == nil
	return err
}
