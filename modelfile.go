package thimble

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	"thimble/format"
	"thimble/internal/atomicfile"
	"thimble/internal/chat"
	"thimble/internal/model"
)

// A Modelfile specifies the file that tells Ollama how to run a GGUF file: FROM, TEMPLATE
// and PARAMETER stop (docs/modelfile.md of Ollama).
type Modelfile struct {
	Path   string   // "" writes none
	Render []string // see Calibration.Render; without it there is no TEMPLATE
}

// check returns an error if f cannot be written, or if exporter, which may be nil, does
// not write what Ollama runs.
func (f *Modelfile) check(exporter format.Exporter, output string, overwrite bool, inputs []string) error {
	switch {
	case f.Path == "":
		return nil
	case exporter == nil || exporter.Format().Name != "gguf":
		return errors.New("--modelfile is for a GGUF file, which Ollama runs: use -o with a name such as model.gguf")
	case filepath.Clean(f.Path) == filepath.Clean(output):
		return errors.New("--modelfile is where -o writes to; name another file")
	}
	if err := checkOutput(f.Path, overwrite, inputs); err != nil {
		return fmt.Errorf("--modelfile %w", err)
	}
	return nil
}

// write writes the Modelfile for the GGUF file that was made from m.
func (f *Modelfile) write(ctx context.Context, m *model.Model, gguf string, overwrite bool) error {
	if f.Path == "" {
		return nil
	}
	data, err := m.Tokenizer()
	if err != nil {
		return err
	}
	file := chat.Modelfile{Path: f.Path, GGUF: gguf, Tokenizer: data, EOS: m.Spec.EOS, Render: f.Render}
	text, err := file.Text(ctx)
	if err != nil {
		return err
	}
	return forceHint(atomicfile.WriteFile(f.Path, []byte(text), atomicfile.Options{Overwrite: overwrite, Inputs: append(slices.Clone(m.Files), gguf)}))
}
