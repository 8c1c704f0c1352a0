package thimble_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"thimble"
)

// A model that changes while it is signed, or while its signature is checked, is an error: what
// was read may be of a model that never existed. No signature is left.
func TestSignWhileChanging(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("Windows does not replace an open file")
	}
	folder := filepath.Join(t.TempDir(), "folder")
	if err := os.CopyFS(folder, os.DirFS(filepath.Join("fixtures", "llama-tied"))); err != nil {
		t.Fatal(err)
	}
	container, gguf, weights := folder+".thimble", folder+".gguf", filepath.Join(folder, "model.safetensors")
	for _, output := range []string{container, gguf} {
		if _, err := thimble.Convert(t.Context(), thimble.ConvertOptions{Model: folder, Output: output}); err != nil {
			t.Fatal(err)
		}
	}
	added := filepath.Join(folder, "added")
	add := func(string) error { return os.WriteFile(added, nil, 0o666) }
	replace := func(path string) error { // by an equal file
		text, err := os.ReadFile(path)
		return errors.Join(err, os.WriteFile(path+".other", text, 0o666), os.Rename(path+".other", path))
	}
	cut := func(path string) error { return os.Truncate(path, 1000) }
	const replaced, others = ": the file was replaced or written to while it was read; run the command again",
		": files were added or removed while it was read; run the command again"
	key := filepath.Join("internal", "signature", "testdata", "key")
	for model, file := range map[string]string{container: container, gguf: gguf, folder: weights} {
		sign := thimble.SignOptions{Model: model, Key: key}
		if _, err := thimble.Sign(t.Context(), sign); err != nil {
			t.Fatal(err)
		}
		inspect := thimble.InspectOptions{Model: model, Trust: key + ".pub", Progress: once(t, func() error { return replace(file) })}
		if _, err := thimble.Inspect(t.Context(), inspect); err == nil || !strings.HasSuffix(err.Error(), file+replaced) {
			t.Errorf("inspect: %v, want %q", err, file+replaced)
		}
	}
	for _, c := range []struct {
		model, file string
		change      func(path string) error
		want        string
	}{
		{container, container, replace, container + replaced},
		{gguf, gguf, replace, gguf + replaced},
		{folder, weights, replace, weights + replaced},
		{folder, added, add, folder + others},
		{folder, added, os.Remove, folder + others},
		{folder, weights, cut, weights + replaced},
	} {
		sign := thimble.SignOptions{Model: c.model, Key: key, Output: filepath.Join(t.TempDir(), "sig"), Progress: once(t, func() error { return c.change(c.file) })}
		if _, err := thimble.Sign(t.Context(), sign); err == nil || !strings.HasSuffix(err.Error(), c.want) {
			t.Errorf("sign: %v, want %q", err, c.want)
		}
		if _, err := os.Stat(sign.Output); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: a signature is left: %v", c.model, err)
		}
	}
}

// once returns a Progress that makes a change when a stage is at its end.
func once(t *testing.T, change func() error) thimble.Progress {
	var made sync.Once
	return func(s thimble.Step) {
		if s.Done < s.Total {
			return
		}
		made.Do(func() {
			if err := change(); err != nil {
				t.Error(err)
			}
		})
	}
}
