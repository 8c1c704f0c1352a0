package hub

import (
	"bytes"
	"context"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

const testCommit = "0123456789abcdef0123456789abcdef01234567"

// A fakeHub serves one repository, owner/model, as the hub does. Files over 1000 bytes are in
// Git LFS: another server sends them.
type fakeHub struct {
	*httptest.Server
	storage *httptest.Server
	files   map[string][]byte
	breaks  map[string]int // bytes after which a connection breaks, once
	mangle  func(w http.ResponseWriter, r *http.Request, file string, b []byte) bool
	answer  func(w http.ResponseWriter, r *http.Request) bool // before anything else

	mu       sync.Mutex
	requests []string // METHOD path [range]
	tokens   map[string]bool
}

func hashOf(b []byte) string {
	if len(b) > 1000 {
		sum := sha256.Sum256(b)
		return hex.EncodeToString(sum[:])
	}
	sum := sha1.Sum(fmt.Appendf(nil, "blob %d\x00%s", len(b), b))
	return hex.EncodeToString(sum[:])
}

func newHub(t *testing.T, files map[string]string) *fakeHub {
	t.Helper()
	h := &fakeHub{files: map[string][]byte{}, breaks: map[string]int{}, tokens: map[string]bool{}}
	for name, text := range files {
		h.files[name] = []byte(text)
	}
	h.Server = httptest.NewServer(http.HandlerFunc(h.hub))
	h.storage = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.log(r)
		h.send(w, r, strings.TrimPrefix(r.URL.Path, "/"))
	}))
	t.Cleanup(h.Close)
	t.Cleanup(h.storage.Close)
	for _, key := range []string{"HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_TOKEN_PATH"} {
		t.Setenv(key, "")
	}
	t.Setenv("HF_ENDPOINT", h.URL)
	t.Setenv("HF_HOME", t.TempDir())
	return h
}

func (h *fakeHub) log(r *http.Request) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.requests = append(h.requests, strings.TrimSpace(r.Method+" "+r.URL.Path+" "+r.Header.Get("Range")))
	if r.Header.Get("Authorization") != "" {
		h.tokens[r.Host] = true
	}
}

func (h *fakeHub) hub(w http.ResponseWriter, r *http.Request) {
	h.log(r)
	if h.answer != nil && h.answer(w, r) {
		return
	}
	if rest, ok := strings.CutPrefix(r.URL.EscapedPath(), "/api/models/owner/model/revision/"); ok {
		if rest != "main" && rest != "v1" && rest != testCommit && rest != "refs%2Fpr%2F7" {
			w.Header().Set("X-Error-Code", "RevisionNotFound")
			w.WriteHeader(http.StatusNotFound)
			return
		}
		var list []string
		for name := range h.files {
			list = append(list, fmt.Sprintf(`{"rfilename": %q}`, name))
		}
		fmt.Fprintf(w, `{"sha": %q, "siblings": [%s]}`, testCommit, strings.Join(list, ","))
		return
	}
	name, ok := strings.CutPrefix(r.URL.Path, "/owner/model/resolve/"+testCommit+"/")
	b, exists := h.files[name]
	if !ok || !exists {
		w.Header().Set("X-Error-Code", "EntryNotFound")
		w.WriteHeader(http.StatusNotFound)
		return
	}
	w.Header().Set("ETag", `"`+hashOf(b)+`"`)
	if len(b) > 1000 {
		w.Header().Set("X-Linked-Etag", `"`+hashOf(b)+`"`)
		w.Header().Set("X-Linked-Size", fmt.Sprint(len(b)))
		w.Header().Set("ETag", `"the storage's own"`)
		http.Redirect(w, r, h.storage.URL+"/"+name, http.StatusFound)
		return
	}
	h.send(w, r, name)
}

func (h *fakeHub) send(w http.ResponseWriter, r *http.Request, name string) {
	b := h.files[name]
	if h.mangle != nil && r.Method == http.MethodGet && h.mangle(w, r, name, b) {
		return
	}
	if n := h.breaks[name]; n > 0 && r.Method == http.MethodGet {
		delete(h.breaks, name)
		w.Header().Set("Content-Length", fmt.Sprint(len(b)))
		_, _ = w.Write(b[:n])
		panic(http.ErrAbortHandler)
	}
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(b))
}

func (h *fakeHub) gets(name string) (all []string) {
	for _, r := range h.requests {
		if strings.HasPrefix(r, "GET /"+name) {
			all = append(all, strings.TrimPrefix(strings.TrimPrefix(r, "GET /"+name), " "))
		}
	}
	return all
}

// get is Fetch without waiting between attempts.
func get(ctx context.Context, source string) (string, error) {
	n, err := parse(source)
	if err != nil {
		return "", err
	}
	c, err := newClient()
	if err != nil {
		return "", err
	}
	c.pause = time.Millisecond
	return c.fetch(ctx, openCache(), n, func(int64, int64) {})
}

func weightsOf(n int) string { return strings.Repeat("weights ", n/8) }

var small = map[string]string{
	"config.json": "{}", "tokenizer.json": "{...}", "tokenizer_config.json": "{}", "README.md": "# not needed", "model.safetensors": weightsOf(80000),
	"pytorch_model.bin": weightsOf(4000), "onnx/model.onnx": weightsOf(4000), ".gitattributes": "",
}

func tree(t *testing.T, dir string) (files []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			rel, _ := filepath.Rel(dir, path)
			files = append(files, filepath.ToSlash(rel))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// Fetch downloads what a conversion reads, in the layout of huggingface_hub, and nothing that
// is there. The token goes to the hub alone.
func TestFetch(t *testing.T) {
	h := newHub(t, small)
	t.Setenv("HF_TOKEN", "hf_x\n")
	var last [2]int64
	path, err := Fetch(t.Context(), "hf://owner/model", func(done, total int64) { last = [2]int64{done, total} })
	if err != nil {
		t.Fatal(err)
	}
	root := filepath.Join(os.Getenv("HF_HOME"), "hub", "models--owner--model")
	if want := filepath.Join(root, "snapshots", testCommit); path != want {
		t.Errorf("path %s, want %s", path, want)
	}
	if want := []string{"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"}; !slices.Equal(tree(t, path), want) {
		t.Errorf("files %v, want %v", tree(t, path), want)
	}
	for _, name := range tree(t, path) {
		b, err := os.ReadFile(filepath.Join(path, name))
		link, linkErr := os.Readlink(filepath.Join(path, name))
		if err != nil || linkErr != nil || string(b) != small[name] || filepath.ToSlash(link) != "../../blobs/"+hashOf(b) {
			t.Errorf("%s: %d bytes, link to %s; %v, %v", name, len(b), link, err, linkErr)
		}
	}
	if b, _ := os.ReadFile(filepath.Join(root, "refs", "main")); string(b) != testCommit {
		t.Errorf("refs/main is %q", b)
	}
	if want := int64(len(small["config.json"]) + len(small["tokenizer.json"]) + len(small["tokenizer_config.json"]) + 80000); last != [2]int64{want, want} {
		t.Errorf("progress ends at %v, want %d", last, want)
	}
	if !h.tokens[strings.TrimPrefix(h.URL, "http://")] || h.tokens[strings.TrimPrefix(h.storage.URL, "http://")] {
		t.Errorf("the token went to %v, want the hub alone", h.tokens)
	}
	h.requests = nil
	if again, err := get(t.Context(), "hf://owner/model"); err != nil || again != path || len(h.requests) != 1 {
		t.Errorf("again: %s, %v, requests %q; want the list alone", again, err, h.requests)
	}
}

// The revision, a folder and a file.
func TestFetchParts(t *testing.T) {
	files := map[string]string{
		"config.json": "{}", "model.safetensors": weightsOf(2000), "q4.gguf": "GGUF " + weightsOf(1600), "README.md": "", "q4.gguf.sig": "a signature",
		"original/params.json": "{}", "original/consolidated.00.pth": weightsOf(1600), "original/consolidated.01.pth": weightsOf(2400), "original/tokenizer.model": "pieces",
		"v/model.fp16.safetensors": weightsOf(1600), "v/config.json": "{ }",
	}
	for source, want := range map[string][]string{
		"hf://owner/model/q4.gguf":                     {"q4.gguf", "q4.gguf.sig"},
		"hf://owner/model/original":                    {"original/consolidated.00.pth", "original/consolidated.01.pth", "original/params.json", "original/tokenizer.model"},
		"hf://owner/model@v1/original/":                {"original/consolidated.00.pth", "original/consolidated.01.pth", "original/params.json", "original/tokenizer.model"},
		"hf://owner/model@refs/pr/7":                   {"config.json", "model.safetensors"},
		"hf://owner/model@refs%2Fpr%2F7":               {"config.json", "model.safetensors"},
		"hf://owner/model@" + testCommit:               {"config.json", "model.safetensors"},
		"hf://owner/model/v/model.fp16.safetensors":    {"v/config.json", "v/model.fp16.safetensors"},
		"hf://owner/model@refs/pr/7/original":          {"original/consolidated.00.pth", "original/consolidated.01.pth", "original/params.json", "original/tokenizer.model"},
		"hf://owner/model@v1/v/model.fp16.safetensors": {"v/config.json", "v/model.fp16.safetensors"},
	} {
		newHub(t, files)
		path, err := get(t.Context(), source)
		if err != nil {
			t.Errorf("%s: %v", source, err)
			continue
		}
		root := filepath.Join(os.Getenv("HF_HOME"), "hub", "models--owner--model", "snapshots", testCommit)
		if got := tree(t, root); !slices.Equal(got, want) {
			t.Errorf("%s: files %v, want %v", source, got, want)
		}
		if _, err := os.Stat(path); err != nil {
			t.Errorf("%s: %v", source, err)
		}
	}
}

// The shards that the index names come too.
func TestFetchShards(t *testing.T) {
	files := map[string]string{
		"config.json": "{}", "model.safetensors.index.json": `{"metadata": {}, "weight_map": {"a": "x-1.safetensors", "b": "x-2.safetensors", "c": "x-1.safetensors"}}`,
		"x-1.safetensors": weightsOf(1600), "x-2.safetensors": weightsOf(2400), "x-3.safetensors": "",
	}
	newHub(t, files)
	path, err := get(t.Context(), "hf://owner/model")
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"config.json", "model.safetensors.index.json", "x-1.safetensors", "x-2.safetensors"}; !slices.Equal(tree(t, path), want) {
		t.Errorf("files %v, want %v", tree(t, path), want)
	}
	for index, want := range map[string]string{
		`{"weight_map": {"a": "../../x.safetensors"}}`: "not a plain file name",
		`{"weight_map": {"a": "y.safetensors"}}`:       "which the repository does not have",
		`{"weight_map": {}}`:                           "names 0 shards",
		`[`:                                            "not an index",
	} {
		files["model.safetensors.index.json"] = index
		newHub(t, files)
		if _, err := get(t.Context(), "hf://owner/model"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", index, err, want)
		}
	}
}

// A connection that breaks is continued where it broke; so is the download of an earlier run.
func TestResume(t *testing.T) {
	h := newHub(t, small)
	h.breaks["model.safetensors"] = 30000
	path, err := get(t.Context(), "hf://owner/model")
	if err != nil {
		t.Fatal(err)
	}
	if got := h.gets("model.safetensors"); len(got) != 2 || got[0] != "" || got[1] != "bytes=30000-" {
		t.Errorf("requests %q", got)
	}
	b, _ := os.ReadFile(filepath.Join(path, "model.safetensors"))
	if string(b) != small["model.safetensors"] {
		t.Error("the file differs")
	}

	for name, left := range map[string]string{
		"beginning": small["model.safetensors"][:50000], "whole": small["model.safetensors"], "other": "other " + weightsOf(8000), "longer": weightsOf(160000),
	} {
		h := newHub(t, small)
		blobs := filepath.Join(os.Getenv("HF_HOME"), "hub", "models--owner--model", "blobs")
		part := filepath.Join(blobs, hashOf([]byte(small["model.safetensors"]))+".incomplete")
		if err := errors.Join(os.MkdirAll(blobs, 0o777), os.WriteFile(part, []byte(left), 0o666)); err != nil {
			t.Fatal(err)
		}
		path, err := get(t.Context(), "hf://owner/model")
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		b, _ := os.ReadFile(filepath.Join(path, "model.safetensors"))
		if string(b) != small["model.safetensors"] {
			t.Errorf("%s: the file differs", name)
		}
		if _, err := os.Stat(part); err == nil {
			t.Errorf("%s: the partial file is still there", name)
		}
		if want := map[string]int{"beginning": 1, "whole": 0, "other": 2, "longer": 1}[name]; len(h.gets("model.safetensors")) != want {
			t.Errorf("%s: requests %q, want %d", name, h.gets("model.safetensors"), want)
		}
	}
}

// A server that ignores Range sends the whole file again.
func TestResumeWithoutRange(t *testing.T) {
	h := newHub(t, small)
	h.breaks["model.safetensors"] = 30000
	h.mangle = func(w http.ResponseWriter, r *http.Request, name string, b []byte) bool {
		r.Header.Del("Range")
		return false
	}
	path, err := get(t.Context(), "hf://owner/model")
	if err != nil {
		t.Fatal(err)
	}
	if b, _ := os.ReadFile(filepath.Join(path, "model.safetensors")); string(b) != small["model.safetensors"] {
		t.Error("the file differs")
	}
}

// An interrupted run leaves what it has, and no file under its name.
func TestInterrupted(t *testing.T) {
	h := newHub(t, small)
	ctx, cancel := context.WithCancel(t.Context())
	h.mangle = func(w http.ResponseWriter, r *http.Request, name string, b []byte) bool {
		if name != "model.safetensors" || r.Header.Get("Range") != "" {
			return false
		}
		w.Header().Set("Content-Length", fmt.Sprint(len(b)))
		_, _ = w.Write(b[:40000])
		w.(http.Flusher).Flush()
		time.AfterFunc(50*time.Millisecond, cancel)
		<-r.Context().Done()
		return true
	}
	if _, err := get(ctx, "hf://owner/model"); !errors.Is(err, context.Canceled) {
		t.Fatalf("%v, want canceled", err)
	}
	if _, err := get(t.Context(), "hf://owner/model"); err != nil {
		t.Fatal(err)
	}
	if got := h.gets("model.safetensors"); len(got) != 2 || got[1] != "bytes=40000-" {
		t.Errorf("requests %q", got)
	}
}

// What arrives is checked. A wrong file is not kept.
func TestWrongBytes(t *testing.T) {
	for name, c := range map[string]struct {
		mangle func(w http.ResponseWriter, r *http.Request, file string, b []byte) bool
		want   string
	}{
		"another byte": {func(w http.ResponseWriter, r *http.Request, file string, b []byte) bool {
			b = bytes.Clone(b)
			b[len(b)/2] ^= 1
			http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(b))
			return true
		}, "has another hash than the hub lists; the download was discarded"},
		"announces more": {func(w http.ResponseWriter, r *http.Request, file string, b []byte) bool {
			http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(append(bytes.Clone(b), "more"...)))
			return true
		}, "sends more than the file's size"},
		"never ends": {func(w http.ResponseWriter, r *http.Request, file string, b []byte) bool {
			for range 1000 {
				if _, err := w.Write(b); err != nil {
					return true
				}
			}
			return true
		}, "sends more than the file's size"},
	} {
		h := newHub(t, small)
		h.mangle = c.mangle
		_, err := get(t.Context(), "hf://owner/model/pytorch_model.bin")
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
		for _, file := range tree(t, os.Getenv("HF_HOME")) {
			if !strings.HasSuffix(file, ".lock") {
				t.Errorf("%s: left %s", name, file)
			}
		}
	}
}

// The server says no, or says something that must not be believed.
func TestAnswers(t *testing.T) {
	status := func(code int, header ...string) func(w http.ResponseWriter, r *http.Request) bool {
		return func(w http.ResponseWriter, r *http.Request) bool {
			for i := 0; i < len(header); i += 2 {
				w.Header().Set(header[i], header[i+1])
			}
			w.WriteHeader(code)
			return true
		}
	}
	lists := func(name string) func(w http.ResponseWriter, r *http.Request) bool {
		return func(w http.ResponseWriter, r *http.Request) bool {
			fmt.Fprintf(w, `{"sha": %q, "siblings": [{"rfilename": "config.json"}, {"rfilename": %q}]}`, testCommit, name)
			return true
		}
	}
	for _, c := range []struct {
		source, token string
		answer        func(w http.ResponseWriter, r *http.Request) bool
		want          string
	}{
		{"hf://owner/model", "", status(401, "X-Error-Code", "GatedRepo"), "then set HF_TOKEN to a token of that account"},
		{"hf://owner/model", "hf_x", status(403, "X-Error-Code", "GatedRepo"), "your token (HF_TOKEN, or hf auth login) has no access; ask for it at http://127.0.0.1:"},
		{"hf://owner/model", "", status(401), "there is no such model, or it is private or gated: for the latter, set HF_TOKEN"},
		{"hf://owner/model", "", status(403), "set HF_TOKEN"},
		{"hf://owner/model", "hf_x", status(401), "the server refuses your token"},
		{"hf://owner/model", "", status(404), "has no such model"},
		{"hf://owner/model@v9", "", nil, "hf://owner/model@v9: the repository has no revision v9"},
		{"hf://owner/model/nothing", "", nil, "the repository has no file or folder nothing"},
		{"hf://owner/model", "", status(400), "the server answers 400"},
		{"hf://owner/model", "", status(503), "the server answers 503 Service Unavailable; the next run continues"},
		{"hf://owner/model", "", lists("../../../evil.json"), "could lie outside of the model's folder"},
		{"hf://owner/model", "", lists("/etc/config.json"), "could lie outside"},
		{"hf://owner/model", "", lists(`a\b.json`), "could lie outside"},
		{"hf://owner/model", "", lists("only.safetensors"), "name one of its 1 files, such as hf://owner/model/only.safetensors"},
		{"hf://owner/model", "", lists("q.gguf"), "such as hf://owner/model/q.gguf"},
		{"hf://owner/model", "", lists("README.md"), "no weights there"},
		{"hf://owner/model", "", func(w http.ResponseWriter, r *http.Request) bool { fmt.Fprint(w, "<html>"); return true }, "not that of a Hugging Face hub"},
		{"hf://owner/model", "", func(w http.ResponseWriter, r *http.Request) bool {
			http.Redirect(w, r, r.URL.Path, http.StatusFound)
			return true
		}, "more than 10 redirects"},
		{"hf://owner", "", nil, "want hf://owner/name"},
		{"hf://owner/../x", "", nil, "not the name of a model"},
		{"hf://owner/model/../../x", "", nil, "not a path in a repository"},
		{"hf://owner/model@../../x", "", nil, "not a branch"},
		{"hf://datasets/owner/model", "", nil, "not a model"},
	} {
		h := newHub(t, small)
		h.answer = c.answer
		t.Setenv("HF_TOKEN", c.token)
		_, err := get(t.Context(), c.source)
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v, want %q", c.source, err, c.want)
		}
		if files := tree(t, os.Getenv("HF_HOME")); len(files) > 0 {
			t.Errorf("%s: left %v", c.source, files)
		}
	}
}

// A file without a hash cannot be checked, so it is refused.
func TestNoHash(t *testing.T) {
	h := newHub(t, small)
	h.answer = func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodHead {
			w.Header().Set("ETag", `"../../../x"`)
		}
		return r.Method == http.MethodHead
	}
	if _, err := get(t.Context(), "hf://owner/model"); err == nil || !strings.Contains(err.Error(), "gives no hash of config.json") {
		t.Error(err)
	}
}

// Offline, the cache alone counts, and no server is asked.
func TestOffline(t *testing.T) {
	h := newHub(t, small)
	t.Setenv("HF_HUB_OFFLINE", "1")
	if _, err := Fetch(t.Context(), "hf://owner/model", nil); err == nil || !strings.Contains(err.Error(), "unset HF_HUB_OFFLINE to download it") {
		t.Error(err)
	}
	path, err := get(t.Context(), "hf://owner/model")
	if err != nil {
		t.Fatal(err)
	}
	h.requests = nil
	for _, source := range []string{"hf://owner/model", "hf://owner/model@" + testCommit} {
		if got, err := Fetch(t.Context(), source, nil); err != nil || got != path {
			t.Errorf("%s: %s, %v", source, got, err)
		}
	}
	if _, err := Fetch(t.Context(), "hf://owner/model/q.gguf", nil); err == nil || !strings.Contains(err.Error(), "only the files in the cache count") {
		t.Error(err)
	}
	if len(h.requests) > 0 {
		t.Errorf("requests %q", h.requests)
	}
	t.Setenv("HF_HUB_OFFLINE", "0")
	t.Setenv("HF_ENDPOINT", "ftp://x")
	if _, err := Fetch(t.Context(), "hf://owner/model", nil); err == nil || !strings.Contains(err.Error(), "HF_ENDPOINT ftp://x: not the address of a server") {
		t.Error(err)
	}
}
