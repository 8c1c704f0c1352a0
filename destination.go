package thimble

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"thimble/format"
	"thimble/format/export"
	container "thimble/format/thimble"
	"thimble/internal/atomicfile"
	"thimble/internal/defect"
	"thimble/internal/qtensor"
	"thimble/internal/spell"
	"thimble/quantize"
	"thimble/target"
)

// OutputFormats returns the names of the formats that Quantize and Convert write: the
// container's and those of Formats.
func OutputFormats() []string { return slices.Concat([]string{ContainerFormat}, Formats()) }

// Targets returns the names of the programs that models can be quantized for.
func Targets() []string { return target.Programs() }

// A TargetType is a type of a target that a plan uses.
type TargetType = target.Type

// ContainerFormat is the name of the container's format.
const ContainerFormat = container.Name

// foreignEndings lists the endings of files that other programs write and Thimble does
// not, so that no container gets such a name.
var foreignEndings = []string{
	".safetensors", ".bin", ".pt", ".pth", ".ckpt", ".npz", ".onnx", ".ort", ".mnn", ".tflite", ".litertlm", ".task", ".pte", ".mlmodel",
	".mlpackage", ".ggml",
}

// OutputFormat returns the name of the format of an output: the given name, or the one
// that the ending of path stands for. Without either it is the container's, unless the
// ending is an unknown one, which is an error. The two must not contradict each other.
func OutputFormat(name, path string) (string, error) {
	if name != "" && !slices.Contains(OutputFormats(), name) {
		return "", fmt.Errorf("--to %s is not one of %s%s", defect.Printable(name), strings.Join(OutputFormats(), ", "), spell.Suggest(name, OutputFormats()))
	}
	ending := strings.ToLower(filepath.Ext(path))
	stem := defect.Printable(strings.TrimSuffix(path, filepath.Ext(path)))
	byEnding := ""
	if e, ok := format.ExporterForFile(path); ok {
		byEnding = e.Format().Name
	} else if ending == containerEnding {
		byEnding = container.Name
	}
	switch {
	case name == "" && ending != "" && IsFolder(ending[1:]):
		return "", fmt.Errorf("-o %s: %s is a folder of files; --to %s -o %s-%s writes it", defect.Printable(path), ending[1:], ending[1:], stem, ending[1:])
	case slices.Contains(foreignEndings, ending) && IsFolder(name):
		return "", fmt.Errorf("-o %s: --to %s writes a folder of files; name it without the ending %s, such as -o %s-%s", defect.Printable(path), name, ending, stem, name)
	case slices.Contains(foreignEndings, ending):
		return "", fmt.Errorf("-o %s: Thimble does not write %s files; -o %s.gguf makes a file for llama.cpp, Ollama and LM Studio, -o %s%s one for thimble run",
			defect.Printable(path), ending, stem, stem, containerEnding)
	case byEnding != "" && IsFolder(name):
		return "", fmt.Errorf("-o %s: the name is that of a %s file, and --to %s writes a folder; use -o %s-%s", defect.Printable(path), byEnding, name, stem, name)
	case name == "" && byEnding == "" && strings.Trim(ending, ".") != "":
		return "", unknownEnding(path)
	case name != "" && byEnding != "" && name != byEnding:
		return "", fmt.Errorf("-o %s: the name is that of a %s file, and --to asks for %s; use -o %s.%s", defect.Printable(path), byEnding, name, stem, name)
	}
	return cmp.Or(name, byEnding, container.Name), nil
}

// unknownEnding is the error for an output whose ending no format has.
func unknownEnding(path string) error {
	ending, known, mean := filepath.Ext(path), endings(), ""
	if near := spell.Nearest(strings.ToLower(ending), known); near != "" {
		mean = fmt.Sprintf(" (did you mean -o %s%s?)", defect.Printable(strings.TrimSuffix(path, ending)), near)
	}
	return fmt.Errorf("-o %s: no format has the ending %s%s; the endings are %s, and --to NAME chooses a format whatever the ending is, such as --to %s",
		defect.Printable(path), defect.Printable(ending), mean, strings.Join(known, " and "), container.Name)
}

// endings returns the endings of files that name a format: the container's and those of
// other programs' files.
func endings() []string {
	all := []string{containerEnding}
	for _, e := range format.Exporters() {
		if ext := e.Format().Ext; ext != "" {
			all = append(all, ext)
		}
	}
	return all
}

// IsFolder reports whether the format with that name is a folder.
func IsFolder(name string) bool {
	e, ok := format.ExporterNamed(name)
	return ok && e.Format().Files != nil
}

const containerEnding = ".thimble"

// resolveFormat finds the exporter of the output's format; nil writes a container. A format
// of another program implies that program as target.
func (q *quantization) resolveFormat() (err error) {
	if q.Format == "" && q.Output != "" && filepath.Ext(q.Output) == "" {
		name := defect.Printable(q.Output)
		q.Notes = append(slices.Clone(q.Notes), fmt.Sprintf("-o %s has no ending, so the file is a container for thimble run; -o %s.gguf makes one for llama.cpp", name, name))
	}
	if q.Format, err = OutputFormat(q.Format, q.Output); err != nil {
		return err
	}
	if err := checkShardSize(q.ShardSize, q.Format); err != nil {
		return err
	}
	if IsFolder(q.Format) && q.Output != "" {
		q.Output = filepath.Clean(q.Output)
	}
	if q.exporter, _ = format.ExporterNamed(q.Format); q.exporter == nil {
		if q.Context != 0 {
			return errors.New("--context has no effect on a container, which keeps the model's context; it is for files of other programs, such as -o model.gguf")
		}
		return nil
	}
	if q.Context < 0 {
		return errors.New("--context: want the number of tokens in the longest text")
	}
	if q.recipe.EntropyCoded {
		return q.notCoded("--entropy-coded")
	}
	program := q.exporter.Format().Program
	if q.Target != "" && q.Target != program {
		return fmt.Errorf("--for %s: %s files are for %s; leave --for out", defect.Printable(q.Target), q.Format, program)
	}
	q.Target = program
	return nil
}

// notCoded is the error for what asks that an export is entropy coded.
func (q *quantization) notCoded(what string) error {
	return fmt.Errorf("%s: only .thimble files can be entropy coded; %s files store codes as they are; leave out --entropy-coded, --max-resident and rates such as @5", what, q.Format)
}

// checkRates returns an error if plan has a rate, but the output is not a container.
func (q *quantization) checkRates(plan *quantize.Plan) error {
	i := slices.IndexFunc(plan.Tensors, func(e quantize.Entry) bool { return e.To.Rate > 0 })
	if q.exporter == nil || i < 0 {
		return nil
	}
	e := plan.Tensors[i]
	return q.notCoded(fmt.Sprintf("%s: %v", e.Name, e.To))
}

// checkExport returns an error if the output's format cannot represent the model in any
// scheme, before any work starts. It keeps the notes about the file.
func (q *quantization) checkExport() error {
	if err := q.Modelfile.check(q.exporter, q.Output, q.Overwrite, q.m.Files); err != nil {
		return err
	}
	if q.exporter == nil {
		return nil
	}
	plan, err := q.exporter.Plan(q.m, export.Options{
		Context: q.Context, ShardSize: q.ShardSize,
		Requantize: func(context.Context, string, qtensor.Scheme) (*qtensor.Matrix, error) {
			return nil, errors.New("this plan is not for writing")
		},
	})
	if err != nil {
		return err
	}
	q.exportNotes = plan.Notes
	return nil
}

// export writes the model in the format of q.exporter. It first makes the container in
// a temporary directory next to the output, because an exporter reads a finished model.
func (q *quantization) export(ctx context.Context, plan *quantize.Plan, fill func(quantize.Sink) error) (f writtenFile, err error) {
	dir, remove, err := atomicfile.MkdirTemp(filepath.Dir(q.Output))
	if err != nil {
		return f, err
	}
	defer remove()
	temp := filepath.Join(dir, "model"+containerEnding)
	if _, err := writeContainer(q.m, q.sources, plan, temp, false, fill); err != nil {
		return f, err
	}
	m, err := container.Open(temp)
	if err != nil {
		return f, err
	}
	defer m.Close()
	m.Path = q.Output // the name that the user knows, for errors
	report := q.Progress.stage("export", Bytes)
	o := export.Options{Context: q.Context, ShardSize: q.ShardSize, Overwrite: q.Overwrite, Inputs: slices.Concat(q.m.Files, q.Inputs, q.Calibration.Texts, q.Surveys)}
	o.Progress = func(done int64) { report(done, f.bytes) }
	file, err := q.exporter.Plan(m, o)
	if err != nil {
		return f, err
	}
	f.bytes = file.Bytes
	if err := forceHint(file.Write(ctx, q.Output)); err != nil {
		return f, err
	}
	if f.sha256, f.files, err = written(ctx, q.Output, q.exporter.Format()); err != nil {
		return f, err
	}
	return f, q.Modelfile.write(context.WithoutCancel(ctx), m, q.Output, q.Overwrite)
}
