package thimble_test

import (
	"os"
	"path/filepath"
	"testing"

	"thimble"
)

// The sizes in a plan are those of the files: of the container, and of the export.
func TestPlannedSizes(t *testing.T) {
	for _, name := range []string{"gemma3", "llama-biases", "llama-sharded", "llama-tied", "llama3-rope", "mistral", "mobilellm", "mobilellm-ls", "phi", "qwen2", "qwen3", "ragged", "trained"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			o := thimble.QuantizeOptions{
				Model: filepath.Join("fixtures", name), Output: filepath.Join(dir, "a container of "+name), Target: "llama.cpp",
				Recipe: thimble.Recipe{Scheme: "f16", Vectors: "f16"},
			}
			made, err := thimble.Quantize(t.Context(), o)
			if err != nil {
				t.Fatal(err)
			}
			if made.FileBytes != size(t, o.Output) {
				t.Errorf("the plan has %d bytes, the container %d", made.FileBytes, size(t, o.Output))
			}
			to := thimble.ExportOptions{Model: o.Output, Format: "gguf", Output: filepath.Join(dir, "exported")}
			if name == "mistral" || name == "qwen2" { // llama.cpp ignores their windows
				to.Context = 21
			}
			if _, err := thimble.Export(t.Context(), to); err != nil {
				t.Fatal(err)
			}
			if got := *made.Export; got != (thimble.ExportSize{Format: "gguf", Program: "llama.cpp", Bytes: size(t, to.Output)}) {
				t.Errorf("the plan has %+v, the exported file %d bytes", got, size(t, to.Output))
			}
		})
	}
}

func size(t *testing.T, path string) int64 {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Size()
}
