package main

import (
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
)

// The end of the context ends requests in progress and then the server, without an error.
func TestServeEnds(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error)
	go func() {
		ended <- serve(ctx, l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			io.WriteString(w, "x")
			http.NewResponseController(w).Flush()
			<-r.Context().Done()
		}))
	}()
	r, err := http.Get("http://" + l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	if text, err := io.ReadAll(r.Body); string(text) != "x" || err != nil {
		t.Errorf("%q, %v", text, err)
	}
	r.Body.Close()
	if err := <-ended; err != nil {
		t.Errorf("serve returns %v", err)
	}
}

// The error for an address in use names the option that the user gave.
func TestServeNamesTheOption(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	addr := l.Addr().String()
	_, port, _ := net.SplitHostPort(addr)
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"--port", port}, "choose another --port, or port 0"},
		{[]string{"--host", "127.0.0.1", "--port", port}, "choose another --port, or port 0"},
		{[]string{"--addr", addr}, "choose another --addr, or port 0"},
	} {
		code, _, stderr := thimbleRun(append([]string{"serve", "../../fixtures/trained"}, c.args...)...)
		refused(t, code, stderr, []string{"cannot listen at " + addr, c.want})
	}
}

// The name of a model keeps its dots, except the ending of a file.
func TestServedName(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "Qwen2.5-1.5B")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	t.Chdir(dir)
	for path, want := range map[string]string{
		"a/SmolLM2-1.7B": "SmolLM2-1.7B", "SmolLM2-1.7B/": "SmolLM2-1.7B", ".": "Qwen2.5-1.5B", "hf://Qwen/Qwen2.5-1.5B": "Qwen2.5-1.5B",
		"x.Q4_K_M.gguf": "x.Q4_K_M", "smol.thimble": "smol", "model.SAFETENSORS": "model", "v1.2/pytorch_model.bin": "pytorch_model",
	} {
		if got := servedName(path); got != want {
			t.Errorf("%s is called %s, want %s", path, got, want)
		}
	}
}
