package main

import (
	"encoding/json"
	"path/filepath"
	"testing"
)

// A container converted from a GGUF file has the same matrix digests as the container
// that the file was exported from.
func TestDigestsSurviveGGUF(t *testing.T) {
	digests := func(path string) map[string]string {
		var doc struct {
			Tensors []struct{ Name, Role, Scheme, SHA256 string }
		}
		if err := json.Unmarshal([]byte(mustRun(t, "inspect", path, "--json")), &doc); err != nil {
			t.Fatal(err)
		}
		all := map[string]string{}
		for _, x := range doc.Tensors {
			if x.Role != "vector" { // GGUF stores vectors as float32
				all[x.Name] = x.Scheme + " " + x.SHA256
			}
		}
		return all
	}
	for _, scheme := range []string{"bf16", "int4/g32", "int4/g32/asym", "int5/g32", "int5/g32/asym", "int8/g32"} {
		dir := t.TempDir()
		first, file, second := filepath.Join(dir, "a.thimble"), filepath.Join(dir, "a.gguf"), filepath.Join(dir, "b.thimble")
		mustRun(t, "quantize", "../../fixtures/trained", "-o", first, "--scheme", scheme)
		mustRun(t, "export", first, "--to", "gguf", "-o", file)
		mustRun(t, "convert", file, "-o", second)
		want, got := digests(first), digests(second)
		if len(want) != 85 || len(got) != 85 {
			t.Fatalf("%d and %d matrices", len(want), len(got))
		}
		for name, x := range want {
			if got[name] != x {
				t.Errorf("%s: %s is %s, want %s", scheme, name, got[name], x)
			}
		}
	}
}
