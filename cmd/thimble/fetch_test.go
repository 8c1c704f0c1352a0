package main

import (
	"crypto/sha256"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"
)

// A model on the hub is the same as in a directory, and no server is asked without such a
// name.
func TestHubNames(t *testing.T) {
	const src, commit = "../../fixtures/llama-tied", "0123456789abcdef0123456789abcdef01234567"
	requests := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests++
		if strings.HasPrefix(r.URL.Path, "/api/") {
			fmt.Fprintf(w, `{"sha": %q, "siblings": [{"rfilename": "config.json"}, {"rfilename": "model.safetensors"}, {"rfilename": "tokenizer.json"}, {"rfilename": "tokenizer_config.json"}]}`, commit)
			return
		}
		b, err := os.ReadFile(filepath.Join(src, path.Base(r.URL.Path)))
		if err != nil {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		w.Header().Set("X-Linked-Etag", fmt.Sprintf("%q", fmt.Sprintf("%x", sha256.Sum256(b))))
		w.Header().Set("Content-Length", fmt.Sprint(len(b)))
		_, _ = w.Write(b)
	}))
	defer server.Close()
	t.Setenv("HF_ENDPOINT", server.URL)
	t.Setenv("HF_HOME", t.TempDir())
	t.Setenv("HF_HUB_CACHE", "")
	t.Setenv("HF_HUB_OFFLINE", "")
	mustRun(t, "inspect", src)
	if code, _, stderr := thimbleRun("inspect", "owner/model"); code != exitFailed || !strings.Contains(stderr, "hf://owner/model downloads it") || requests > 0 {
		t.Errorf("exit %d, %q, %d requests", code, stderr, requests)
	}
	if code, _, stderr := thimbleRun("convert", "hf://owner/model"); code != exitFailed || requests > 0 {
		t.Errorf("exit %d, %q, %d requests: want no download before the options are right", code, stderr, requests)
	}
	mustRun(t, "diff", "hf://owner/model", src)
	out := filepath.Join(t.TempDir(), "o.thimble")
	mustRun(t, "convert", "hf://owner/model@"+commit, "-o", out)
	mustRun(t, "tokenize", "hf://owner/model/tokenizer.json", "-p", "a text")
	if code, _, stderr := thimbleRun("run", "hf://owner/nothing/x.gguf", "-p", "x"); code != exitFailed || !strings.Contains(stderr, "has no file or folder x.gguf; it has model.safetensors") {
		t.Errorf("exit %d, %q", code, stderr)
	}
}
