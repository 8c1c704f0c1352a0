package curve

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"

	"thimble/internal/atomicfile"
	"thimble/internal/label"
	"thimble/internal/model"
	"thimble/verify"
	"thimble/verify/reference"
)

// A Run makes and measures the files of a curve.
type Run struct {
	Report  *Report
	Names   []string             // of the texts, see NamesOf
	Prompts [][]reference.Prompt // of each text

	Folder    string // for the charts, the report and the data; "" writes nothing
	Keep      bool   // keep the files that are made in Folder
	Overwrite bool   // replace files in Folder

	Label string                                                                         // begins the names of stages
	Stage func(name string) func(done, total int)                                        // reports the progress of scoring tokens
	Make  func(ctx context.Context, row int, path, label string) error                   // writes the file of a row
	Open  func(ctx context.Context, path string) (*model.Model, verify.ModelInfo, error) // opens a file, with its weights verified

	// A sweep sets these. Wanted reports whether to measure a row on a text; nil is always.
	// Found receives each result.
	Wanted func(row, text int) (bool, error)
	Found  func(row int, file *Row, text int, p Point) error

	folder *atomicfile.Folder
	kept   []string // names of the files to keep
}

// NamesOf returns the names of texts, which must differ.
func NamesOf(paths []string) (names []string, err error) {
	if len(paths) == 0 {
		return nil, errors.New("curve needs a text to measure on: --text FILE")
	}
	for _, path := range paths {
		name := label.OfFile(path)
		if slices.ContainsFunc(names, func(other string) bool { return label.FileName(other) == label.FileName(name) }) {
			return nil, fmt.Errorf("--text: two texts are called %s; give one file another name", name)
		}
		names = append(names, name)
	}
	return names, nil
}

// Check returns an error if the files cannot be written to the folder. made are the names of the
// files of rows that Make writes, and inputs are paths that no file may replace.
func (r *Run) Check(made, inputs []string) (err error) {
	if r.Folder == "-" {
		return errors.New("-o -: name a folder; the files of a curve cannot go to standard output")
	}
	if r.Keep {
		for i, name := range made {
			if slices.Contains(made[:i], name) {
				return fmt.Errorf("--keep: two rows would be %s; give one another name", name)
			}
		}
		r.kept = made
	}
	if r.folder, err = atomicfile.NewFolder(r.Folder, r.Overwrite, inputs); err != nil {
		return fmt.Errorf("-o %w", err)
	}
	return r.folder.Check(slices.Concat(r.kept, FileNames(r.Names)))
}

// cachedBytes limits the size of the cache of the reference's final hidden states, with
// which the reference runs only once for all rows.
const cachedBytes = 128 << 20

// Measure compares each row's file with m, and writes the charts, the report and the data. It
// completes rows, of which the names are set and, if they are files that exist, these; names are
// those of the other files.
func (r *Run) Measure(ctx context.Context, m *model.Model, rows []Row, names []string) error {
	if err := r.folder.Open(); err != nil {
		return err
	}
	defer r.folder.Close()
	scorer, err := reference.NewScorer(m, verify.Arithmetic{}, 0)
	if err != nil {
		return err
	}
	ref := reference.FromScorer(reference.CacheLogits(scorer, cachedBytes/(4*m.Spec.Hidden)))
	for i := range rows {
		stage := fmt.Sprintf("%s%s (%d of %d)", r.Label, rows[i].Name, i+1, len(rows))
		if err := r.row(ctx, i, rows[i], names[i], ref, stage); err != nil {
			return fmt.Errorf("row %s: %w", rows[i].Name, err)
		}
	}
	return r.publish(ctx)
}

// row makes the file called name of row i, unless there is one, and measures it.
func (r *Run) row(ctx context.Context, i int, row Row, name string, ref reference.Reference, stage string) error {
	texts, err := r.textsOf(i)
	if err != nil || len(texts) == 0 {
		return err
	}
	path := row.File
	if path == "" {
		path = r.folder.File(name)
		stop := StartCost(&row.Cost)
		if err := r.Make(ctx, i, path, stage); err != nil {
			return err
		}
		stop()
		if !r.Keep {
			defer os.Remove(path)
		}
	}
	q, info, err := r.Open(ctx, path)
	if err != nil {
		return err
	}
	defer q.Close()
	row.Bytes, row.SHA256, row.BitsPerWeight = info.Bytes, info.SHA256, info.BitsPerWeight
	scorer, err := reference.NewScorer(q, verify.Arithmetic{}, 0)
	if err != nil {
		return err
	}
	tokens := r.Stage(stage + ": verify")
	for _, k := range texts {
		v, err := verify.Run(ctx, ref, scorer, r.Prompts[k], verify.Options{Progress: tokens})
		if err != nil {
			return err
		}
		r.Report.Texts[k].Tokens, r.Report.Texts[k].PPL = v.Metrics.Tokens, v.Metrics.PPLReference
		p := PointOf(&v.Metrics.Summary)
		row.Measured = append(row.Measured, p)
		if r.Found != nil {
			if err := r.Found(i, &row, k, p); err != nil {
				return err
			}
		}
	}
	r.Report.Rows = append(r.Report.Rows, row)
	return nil
}

// textsOf returns the indices of the texts to measure row i on.
func (r *Run) textsOf(i int) (texts []int, err error) {
	for k := range r.Prompts {
		wanted := true
		if r.Wanted != nil {
			if wanted, err = r.Wanted(i, k); err != nil {
				return nil, err
			}
		}
		if wanted {
			texts = append(texts, k)
		}
	}
	return texts, nil
}

// publish writes the files to the folder, if there is one.
func (r *Run) publish(ctx context.Context) error {
	if r.Folder == "" {
		return nil
	}
	files, err := r.Report.Files()
	if err == nil {
		err = ctx.Err()
	}
	if err != nil {
		return err
	}
	if err := r.folder.Publish(r.kept, files); err != nil {
		return err
	}
	r.Report.Folder, r.Report.Output = r.Folder, append(r.Report.Output, r.kept...)
	for _, f := range files {
		r.Report.Output = append(r.Report.Output, f.Name)
	}
	return nil
}
