package hub

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// Names on the hub, also as addresses, get the command that downloads them; paths get nil.
func TestMissing(t *testing.T) {
	t.Chdir(t.TempDir())
	t.Setenv("HF_HUB_CACHE", t.TempDir())
	if err := os.MkdirAll(filepath.Join("models", "here"), 0o777); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		"owner/some-model":      "hf://owner/some-model downloads it",
		"hf://owner/some-model": "hf://owner/some-model downloads it",
		"https://huggingface.co/owner/some-model/tree/main": "hf://owner/some-model downloads it",
		"hf.co/models/here":        "hf://models/here downloads it", // an address is no path
		"models/here":              "",                              // exists
		"models/mistyped":          "",                              // models is a folder
		"owner/some-model.thimble": "",
		"owner/some-model.GGUF":    "",
		"a/b/c":                    "",
		"model":                    "",
		"/owner/model":             "",
	} {
		err := Missing(path)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", path, err, want)
		}
	}
}

// A model in the cache needs no download.
func TestMissingCached(t *testing.T) {
	t.Chdir(t.TempDir())
	cache := t.TempDir()
	snapshot := filepath.Join(cache, "models--owner--cached", "snapshots", testCommit)
	for path, text := range map[string]string{
		filepath.Join(snapshot, "config.json"):                         "{}",
		filepath.Join(cache, "models--owner--cached", "refs", "main"):  testCommit + "\n",
		filepath.Join(cache, "models--owner--partial", "refs", "main"): testCommit + "\n", // no snapshot
	} {
		if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	home := filepath.Join(t.TempDir(), "home")
	if err := os.MkdirAll(home, 0o777); err != nil {
		t.Fatal(err)
	}
	check := func(name, want string) {
		t.Helper()
		if err := Missing(name); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", name, err, want)
		}
	}
	t.Setenv("HF_HUB_CACHE", cache)
	check("owner/cached", "the Hugging Face cache holds it, so give "+snapshot)
	check("owner/partial", "hf://owner/partial downloads it")
	t.Setenv("HF_HUB_CACHE", "")
	t.Setenv("HF_HOME", home)
	check("owner/cached", "hf://owner/cached downloads it")
	if err := os.Rename(cache, filepath.Join(home, "hub")); err != nil {
		t.Fatal(err)
	}
	check("owner/cached", "so give "+filepath.Join(home, "hub", "models--owner--cached", "snapshots", testCommit))
}

// Templates that transformers keeps in a folder are fetched with the weights beside it.
func TestChooseTemplates(t *testing.T) {
	all := []string{"a/config.json", "a/model.safetensors", "a/additional_chat_templates/tool_use.jinja", "additional_chat_templates/rag.jinja", "other/x.jinja"}
	for _, path := range []string{"a", "a/model.safetensors"} {
		c, err := choose(name{repo: "owner/model", path: path}, all)
		if err != nil {
			t.Fatal(err)
		}
		slices.Sort(c.files)
		if want := []string{"a/additional_chat_templates/tool_use.jinja", "a/config.json", "a/model.safetensors"}; !slices.Equal(c.files, want) {
			t.Errorf("%s: %v, want %v", path, c.files, want)
		}
	}
}
