package label

import "testing"

func TestNames(t *testing.T) {
	for path, want := range map[string]string{"a/b/test.txt": "test", "-": "stdin", ".txt": ".txt", "SmolLM2-135M": "SmolLM2-135M", "x.tar.gz": "x.tar"} {
		if got := OfFile(path); got != want {
			t.Errorf("OfFile(%q) = %q, want %q", path, got, want)
		}
	}
	for path, want := range map[string]string{"a/SmolLM2-1.7B": "SmolLM2-1.7B", "x.GGUF": "x", "x.pth": "x", "a/x-1.7B.thimble": "x-1.7B", "x.Q4_0.gguf": "x.Q4_0", "SmolLM2-135M/": "SmolLM2-135M"} {
		if got := OfModel(path); got != want {
			t.Errorf("OfModel(%q) = %q, want %q", path, got, want)
		}
	}
	for name, want := range map[string]string{"4 bits": "4-bits", "a/../b": "a-..-b", "--": "", "über": "ber"} {
		if got := FileName(name); got != want {
			t.Errorf("FileName(%q) = %q, want %q", name, got, want)
		}
	}
}
