package thimble

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"thimble/internal/defect"
)

// hubName matches the name of a model on the Hugging Face hub, "owner/name", with or
// without the address of the hub.
var hubName = regexp.MustCompile(`^(?:(?:https?://)?(?:www\.)?(?:huggingface\.co|hf\.co)/|hf://)?([A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95})/?(?:tree/[\w.-]+/?)?$`)

// missingModel returns an error that says how to download the model if path is not a file
// here but a name on the hub. Thimble itself does not use the network.
func missingModel(path string) error {
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		return nil // it exists, or opening it gives a better error
	}
	match := hubName.FindStringSubmatch(path)
	if match == nil {
		return nil
	}
	name := match[1]
	owner, model, _ := strings.Cut(name, "/")
	// A name in a directory that exists, or with the ending of a file, is a mistyped path.
	if _, err := os.Stat(owner); name == strings.TrimSuffix(path, "/") && err == nil || isModelFile(model) {
		return nil
	}
	remedy := fmt.Sprintf("hf download %s --local-dir %s downloads it, then give %s (a gated model needs hf auth login first)", name, model, model)
	if snapshot := cachedSnapshot(owner, model); snapshot != "" {
		remedy = fmt.Sprintf("the Hugging Face cache holds it, so give %s", defect.Printable(snapshot))
	}
	return fmt.Errorf("%s: there is no such file or directory here; if it is the name of a model on the Hugging Face hub, %s", defect.Printable(path), remedy)
}

// isModelFile reports whether name has the ending of a file that holds a model.
func isModelFile(name string) bool {
	for _, ending := range []string{".gguf", containerEnding, ".safetensors", ".bin", ".pt", ".pth", ".json", ".model", ".txt"} {
		if strings.HasSuffix(strings.ToLower(name), ending) {
			return true
		}
	}
	return false
}

// cachedSnapshot returns the directory of a model in the cache of the hub's own programs
// (huggingface_hub, constants.py), or "".
func cachedSnapshot(owner, model string) string {
	cache := os.Getenv("HF_HUB_CACHE")
	if home := os.Getenv("HF_HOME"); cache == "" && home != "" {
		cache = filepath.Join(home, "hub")
	}
	if home, err := os.UserHomeDir(); cache == "" && err == nil {
		cache = filepath.Join(home, ".cache", "huggingface", "hub")
	}
	dir := filepath.Join(cache, "models--"+owner+"--"+model)
	revision, err := os.ReadFile(filepath.Join(dir, "refs", "main"))
	if err != nil || len(revision) > 100 {
		return ""
	}
	snapshot := filepath.Join(dir, "snapshots", strings.TrimSpace(string(revision)))
	if info, err := os.Stat(filepath.Join(snapshot, "config.json")); err != nil || info.IsDir() {
		return ""
	}
	return snapshot
}
