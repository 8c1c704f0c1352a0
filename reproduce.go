package thimble

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"thimble/format"
	"thimble/format/gguf"
	container "thimble/format/thimble"
	"thimble/internal/atomicfile"
	"thimble/internal/defect"
	"thimble/internal/digest"
	"thimble/internal/model"
	"thimble/quantize"
	"thimble/target"
	"thimble/verify/reproduce"
)

// ReproduceOptions specify what Reproduce makes again.
type ReproduceOptions struct {
	Model  string   // path of a container or a GGUF file that Quantize, Convert or Export wrote
	From   string   // path of what it was made from
	Lora   []string // paths of the adapters that were merged, in their order
	Texts  []string // paths of the calibration texts
	Render []string // see Calibration
	MaxMem int64    // see QuantizeOptions

	Progress Progress
}

// Reproduce carries out the recipe that a model records again, in a temporary folder, and
// compares the results. If the model was quantized several times, or converted before, it
// repeats each of these steps.
func Reproduce(ctx context.Context, o ReproduceOptions) (*reproduce.Report, error) {
	recorded, err := openVerified(ctx, o.Model, nil, o.Progress)
	if err != nil {
		return nil, err
	}
	defer recorded.Close()
	steps, err := o.steps(recorded)
	if err != nil {
		return nil, err
	}
	dir, remove, err := atomicfile.MkdirTemp(os.TempDir())
	if err != nil {
		return nil, err
	}
	defer remove()
	path, set := o.From, o.given().Overrides(recorded)
	for i, s := range steps {
		if path, err = s.run(ctx, &o, path, set, filepath.Join(dir, fmt.Sprint(i))); err != nil {
			if kept := new(KeptError); errors.As(err, &kept) { // in the folder that is removed
				err = kept.Err
			}
			return nil, err
		}
		set = nil
	}
	made, err := openVerified(ctx, path, nil, nil)
	if err != nil {
		return nil, err
	}
	defer made.Close()
	r, err := reproduce.Compare(ctx, recorded, made, o.Progress.stage("compare", Tensors))
	if err != nil {
		return nil, err
	}
	r.Model, r.From = o.Model, o.From
	for _, side := range []struct {
		path string
		sum  *string
	}{{o.Model, &r.Recorded}, {path, &r.Made}} {
		if *side.sum, err = identity(ctx, side.path); err != nil {
			return nil, err
		}
	}
	return r, nil
}

func (o *ReproduceOptions) given() *reproduce.Given {
	return &reproduce.Given{Checkpoint: isCheckpoint(o.From), Lora: o.Lora, Texts: o.Texts}
}

// identity returns the SHA-256 of a container's header, or of another file.
func identity(ctx context.Context, path string) (string, error) {
	if isContainer(path) {
		info, err := container.Inspect(path)
		if err != nil {
			return "", err
		}
		return info.Header.String(), nil
	}
	sums, err := digest.Files(ctx, []string{path}, nil)
	if err != nil {
		return "", err
	}
	return hex.EncodeToString(sums[0].SHA256), nil
}

// A step is one run of Quantize, or of Export if there is no recipe.
type step struct {
	recipe  *Recipe
	name    string // of the file
	format  string // see OutputFormats
	context int    // see QuantizeOptions
}

func (s *step) run(ctx context.Context, o *ReproduceOptions, path string, set []string, dir string) (string, error) {
	if err := os.Mkdir(dir, 0o700); err != nil {
		return "", err
	}
	out := filepath.Join(dir, s.name)
	if s.recipe == nil {
		_, err := Export(ctx, ExportOptions{Model: path, Set: set, Format: s.format, Output: out, Context: s.context, Progress: o.Progress})
		return out, err
	}
	q := QuantizeOptions{Model: path, Set: set, Recipe: *s.recipe, Output: out, Format: s.format, Context: s.context, MaxMem: o.MaxMem, Progress: o.Progress}
	q.Calibration.Render = o.Render
	if s.readsTexts() {
		q.Calibration.Texts = o.Texts
	}
	_, err := Quantize(ctx, q)
	return out, err
}

// readsTexts reports whether the step was calibrated on the user's texts.
func (s *step) readsTexts() bool {
	return s.recipe != nil && s.recipe.Texts != nil && s.recipe.Texts.Name == ""
}

// steps returns the steps that make recorded from o.From, and checks that what they need is
// given.
func (o *ReproduceOptions) steps(recorded *model.Model) ([]step, error) {
	fault := func(format string, args ...any) ([]step, error) {
		return nil, fmt.Errorf("%s: %s", defect.Printable(o.Model), fmt.Sprintf(format, args...))
	}
	isGGUF := formatOf(o.Model) == gguf.Name
	switch {
	case !isGGUF && !isContainer(o.Model):
		return fault("only .thimble and .gguf files record how they were made")
	case recorded.Provenance.Recipe == "":
		return fault("records no recipe, because thimble did not make it; quantize and convert write files with theirs")
	}
	given := o.given()
	if err := given.CheckAdapters(recorded); err != nil {
		return fault("%v", err)
	}
	from, err := Open(o.From, given.Overrides(recorded)...)
	if err != nil {
		return nil, err
	}
	defer from.Close()
	p := recorded.Provenance
	plan, err := reproduce.Steps(target.Recipes(from), target.Recipes(recorded), p.Sources, len(from.Provenance.Sources)+len(from.Files), isGGUF)
	if err != nil {
		return fault("%v", err)
	}
	steps := make([]step, len(plan))
	var texts []string // SHA-256 of the user's texts
	for i, s := range plan {
		steps[i] = step{name: s.Name, format: container.Name}
		if e, ok := format.ExporterForFile(s.Name); ok { // of an earlier step
			steps[i].format = e.Format().Name
		}
		if s.Recipe == "" {
			continue
		}
		if steps[i].recipe, err = quantize.ParseRecipe([]byte(s.Recipe)); err != nil {
			return fault("%v; use the version of thimble that made it, %s", err, defect.Printable(p.Tool))
		}
		if texts == nil && steps[i].readsTexts() {
			texts = steps[i].recipe.Texts.SHA256
		}
	}
	last := &steps[len(steps)-1]
	if isGGUF {
		last.format = "gguf"
		if last.context, err = reproduce.Context(recorded, from); err != nil {
			return fault("%v", err)
		}
	}
	last.name = "model." + last.format
	if err := given.CheckTexts(texts); err != nil {
		return fault("%v", err)
	}
	return steps, nil
}
