// Package standard holds what a model is held to besides its reference: a policy, the report of an
// earlier run, and the speed that Bench measured.
package standard

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
	"thimble/internal/texts"
	"thimble/verify"
)

// Options name the files of a Standard; all may be "".
type Options struct {
	Policy   string
	Baseline string // an earlier report
	Update   bool   // write Baseline if it is missing, or if something is better and nothing worse
	Bench    string // JSON output of Bench for the model
	Gates    bool   // the caller has gates, so Policy must not
}

// A Standard holds the contents of the files that Options name.
type Standard struct {
	Options
	Policy *verify.Policy // not nil
	Before *verify.Report // of Baseline; nil if there is none yet
	speed  *verify.Speed
}

// Read reads the files.
func Read(ctx context.Context, o Options) (*Standard, error) {
	s := &Standard{Options: o, Policy: new(verify.Policy)}
	if o.Update && o.Baseline == "" {
		return nil, errors.New("--update-baseline needs --baseline FILE, the file to write")
	}
	if err := s.readPolicy(ctx); err != nil {
		return nil, err
	}
	if o.Bench != "" {
		text, err := texts.Read(ctx, "--bench", o.Bench, verify.MaxReport)
		if err != nil {
			return nil, err
		}
		if s.speed, err = verify.ParseSpeed(o.Bench, []byte(text)); err != nil {
			return nil, fmt.Errorf("--bench: %w", err)
		}
	}
	return s, s.readBaseline(ctx)
}

func (s *Standard) readPolicy(ctx context.Context) error {
	path := s.Options.Policy
	if path == "" {
		return nil
	}
	text, err := texts.Read(ctx, "--policy", path, strictyaml.Limit)
	if err != nil {
		return err
	}
	if s.Policy, err = verify.ParsePolicy([]byte(text)); err != nil {
		return fmt.Errorf("--policy %s: %w", defect.Printable(path), err)
	}
	if s.Policy.HasGates() && s.Gates {
		return fmt.Errorf("--gate and the gates of --policy %s exclude each other; leave one out", defect.Printable(path))
	}
	return nil
}

func (s *Standard) readBaseline(ctx context.Context) error {
	if s.Baseline == "" {
		return nil
	}
	text, err := texts.Read(ctx, "--baseline", s.Baseline, verify.MaxReport)
	switch {
	case errors.Is(err, fs.ErrNotExist) && s.Update:
		return nil
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("--baseline %s: there is no such file; --update-baseline writes this run to it", defect.Printable(s.Baseline))
	case err != nil:
		return err
	}
	if s.Before, err = verify.ParseReport(s.Baseline, []byte(text)); err != nil {
		return fmt.Errorf("--baseline: %w", err)
	}
	return nil
}

// Check returns an error, before any work, if Bench timed another model or the baseline
// cannot be written. inputs are paths that the baseline must not replace.
func (s *Standard) Check(info *verify.ModelInfo, inputs []string) error {
	if s.speed != nil && s.speed.SHA256 != info.SHA256 {
		return fmt.Errorf("--bench %s: its sha256 is %.12s, the model's %.12s: it timed another file", defect.Printable(s.Bench), defect.Printable(s.speed.SHA256), info.SHA256)
	}
	if !s.Update {
		return nil
	}
	if err := atomicfile.Check(s.Baseline, atomicfile.Options{Overwrite: true, Inputs: inputs}); err != nil {
		return fmt.Errorf("--baseline %w", err)
	}
	return nil
}

// Files returns the existing files that no report may replace.
func (s *Standard) Files() (all []string) {
	for _, path := range []string{s.Baseline, s.Bench} {
		if path == "" {
			continue
		}
		if _, err := os.Stat(path); err == nil {
			all = append(all, path)
		}
	}
	return all
}

// Compare adds the speed to the report and compares it with the baseline.
func (s *Standard) Compare(report *verify.Report, seed uint64) error {
	report.Speed = s.speed
	if s.Baseline == "" {
		return nil
	}
	return report.CompareBaseline(s.Before, s.Baseline, s.Policy.Tolerance, seed)
}

// Keep writes the baseline if Update is set and the report allows it.
func (s *Standard) Keep(report *verify.Report, inputs []string) error {
	if !s.Update || !report.Pass || s.Before != nil && !report.Improved() {
		return nil
	}
	kept := *report
	kept.Baseline = nil
	text, err := strictjson.Encode(&kept)
	if err == nil {
		err = atomicfile.WriteFile(s.Baseline, text, atomicfile.Options{Overwrite: true, Inputs: inputs})
	}
	report.Baseline.Written = err == nil
	return err
}
