package thimble

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"os"

	"thimble/format"
	"thimble/format/export"
	container "thimble/format/thimble"
	"thimble/internal/atomicfile"
	"thimble/internal/digest"
	"thimble/internal/model"
	"thimble/quantize"
	"thimble/target"
)

// A Digest is a SHA-256 that prints as hexadecimal.
type Digest = container.Digest

// A writtenFile describes a file that was written.
type writtenFile struct {
	bytes  int64
	stored int64         // bytes of a container's tensors
	digest Digest        // of a container's header
	sha256 string        // of a file in another format
	files  []WrittenFile // of a folder
}

// writeContainer writes the container that plan makes from m. sources are the files that
// m, whose weights are verified, was read from; fill writes the tensors. A failure leaves
// no file.
func writeContainer(m *model.Model, sources *digest.Hashing, plan *quantize.Plan, out string, overwrite bool, fill func(quantize.Sink) error) (writtenFile, error) {
	contents, err := (&target.File{Model: m, Tool: Tool}).Contents(sources.Sources, plan)
	if err != nil {
		return writtenFile{}, err
	}
	w, err := container.Create(out, contents, container.Options{Overwrite: overwrite, Inputs: m.Files})
	if err != nil {
		return writtenFile{}, forceHint(err)
	}
	defer w.Abort()
	if err := fill(w); err != nil {
		return writtenFile{}, err
	}
	if err := sources.Wait(); err != nil {
		return writtenFile{}, err
	}
	err = w.Close()
	return writtenFile{bytes: w.Size(), stored: w.TensorBytes(), digest: w.Digest()}, err
}

// write writes the file, with the tensors of a trial if chosen has one. Otherwise it
// carries out the plan.
func (q *quantization) write(ctx context.Context, plan *quantize.Plan, chosen *choice) (writtenFile, error) {
	report := q.reporter(plan)
	report(0)
	fill := func(sink quantize.Sink) error { return quantize.Run(ctx, q.m, plan, q.cal.Calibration, sink, report) }
	if q.parts != nil {
		fill = func(sink quantize.Sink) error {
			return q.parts.Merge(ctx, sink, report)
		}
	}
	if done := chosen.done; done != nil {
		fill = func(sink quantize.Sink) error {
			return done.Replay(&countingSink{Sink: sink, report: q.Progress.stage("write", Bytes), total: plan.Bytes})
		}
	}
	if q.cal.Tuning != nil {
		fill = q.tune(ctx, plan, fill)
	}
	if q.exporter != nil {
		return q.export(ctx, plan, fill)
	}
	return writeContainer(q.m, q.sources, plan, q.Output, q.Overwrite, fill)
}

// reporter returns a function that reports the weights that a run of plan has written.
func (q *quantization) reporter(plan *quantize.Plan) func(weights int64) {
	unit, amount := Bytes, bytesOf(q.m, plan)
	if q.cal.Calibration != nil {
		unit, amount = Work, plan.Work(q.m, q.cal.Calibration)
	}
	return func(weights int64) {
		if q.Progress == nil {
			return
		}
		done, total := amount(weights)
		resumed, _ := amount(min(weights, q.resumed.Finished()))
		q.Progress(Step{Stage: q.resumed.Stage(q.stage), Unit: unit, Done: done, Total: total, Resumed: resumed})
	}
}

// bytesOf returns a function that converts weights of plan into bytes of m, and the total.
func bytesOf(m *model.Model, plan *quantize.Plan) func(weights int64) (done, total int64) {
	_, bytes := m.Size()
	bytesPerWeight := float64(bytes) / float64(plan.Weights)
	return func(weights int64) (int64, int64) { return int64(float64(weights) * bytesPerWeight), bytes }
}

// A countingSink reports the bytes that it passes on.
type countingSink struct {
	quantize.Sink
	report      func(done, total int64)
	done, total int64
}

func (s *countingSink) Write(m *Matrix) error {
	s.done += m.Bytes()
	s.report(s.done, s.total)
	return s.Sink.Write(m)
}

// checkOutput returns an error if out cannot be written, before any work starts.
// Creating the file checks again.
func checkOutput(out string, overwrite bool, inputs []string) error {
	return checkTarget(nil, out, atomicfile.Options{Overwrite: overwrite, Inputs: inputs})
}

// checkTarget is checkOutput for the file or folder of an exporter; nil is any file.
func checkTarget(exporter format.Exporter, out string, o atomicfile.Options) error {
	if out == "-" {
		return errors.New("-o -: tensors cannot go to standard output; name a file")
	}
	var f export.Format
	if exporter != nil {
		f = exporter.Format()
	}
	return forceHint(f.Check(out, o))
}

// A WrittenFile is a file of a written folder.
type WrittenFile struct {
	Name   string `json:"name"`
	Bytes  int64  `json:"bytes"`
	SHA256 string `json:"sha256"`
}

// written returns the digest of the file at path, or the files of the folder there. Both are
// in place, so an interrupt comes too late.
func written(ctx context.Context, path string, f export.Format) (sha256 string, files []WrittenFile, err error) {
	paths := []string{path}
	if f.Files != nil {
		if paths, err = digest.Folder(path); err != nil {
			return "", nil, err
		}
	}
	sums, err := digest.Files(context.WithoutCancel(ctx), paths, nil)
	if err != nil {
		return "", nil, err
	}
	if f.Files == nil {
		return hex.EncodeToString(sums[0].SHA256), nil, nil
	}
	for _, s := range sums {
		files = append(files, WrittenFile{s.Name, s.Bytes, hex.EncodeToString(s.SHA256)})
	}
	return "", files, nil
}

// forceHint adds the remedy to an error about an existing file.
func forceHint(err error) error {
	if errors.Is(err, os.ErrExist) {
		return fmt.Errorf("%w; --force replaces it", err)
	}
	return err
}
