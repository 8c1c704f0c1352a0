// Package hub downloads models from the Hugging Face hub to the cache of the hub's own
// programs. Only Fetch uses the network; Missing recognizes names on the hub among paths.
package hub

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"

	"thimble/internal/defect"
)

// modelName matches the name of a model on the Hugging Face hub, "owner/name", with or
// without the address of the hub. Its two long repetitions take a millisecond to compile.
var modelName = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^(?:(?:https?://)?(?:www\.)?(?:huggingface\.co|hf\.co)/|hf://)?([A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95})/?(?:tree/[\w.-]+/?)?$`)
})

// Missing returns an error that says how to name the model, or where the cache holds it, if
// path is not a file here but a name on the hub. Otherwise it returns nil.
func Missing(path string) error {
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		return nil // it exists, or opening it gives a better error
	}
	match := modelName().FindStringSubmatch(path)
	if match == nil {
		return nil
	}
	name := match[1]
	owner, model, _ := strings.Cut(name, "/")
	// A name in a directory that exists, or with the ending of a file, is a mistyped path.
	if _, err := os.Stat(owner); name == strings.TrimSuffix(path, "/") && err == nil || isModelFile(model) {
		return nil
	}
	remedy := fmt.Sprintf("hf://%s downloads it (a gated model needs a token in HF_TOKEN)", name)
	if snapshot := cachedSnapshot(name); snapshot != "" {
		remedy = fmt.Sprintf("the Hugging Face cache holds it, so give %s", defect.Printable(snapshot))
	}
	return fmt.Errorf("%s: there is no such file or directory here; if it is the name of a model on the Hugging Face hub, %s", defect.Printable(path), remedy)
}

// isModelFile reports whether name has the ending of a file that holds a model.
func isModelFile(name string) bool {
	for _, ending := range []string{".gguf", ".thimble", ".safetensors", ".bin", ".pt", ".pth", ".json", ".model", ".txt"} {
		if strings.HasSuffix(strings.ToLower(name), ending) {
			return true
		}
	}
	return false
}

// cachedSnapshot returns the directory of a model in the cache, or "".
func cachedSnapshot(repo string) string {
	c := openCache()
	commit := c.resolve(repo, "main")
	if commit == "" {
		return ""
	}
	snapshot := c.snapshot(repo, commit)
	if info, err := os.Stat(filepath.Join(snapshot, "config.json")); err != nil || info.IsDir() {
		return ""
	}
	return snapshot
}
