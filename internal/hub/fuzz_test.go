package hub

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Any name is read or refused in one line. What is read cannot leave the cache's folder.
func FuzzParse(f *testing.F) {
	for _, s := range []string{"hf://a/b", "hf://a/b@refs/pr/1/c.gguf", "hf://a/b@v1/x/y", "hf://../..", "hf://a/b/../c", "hf://a/b@%2e%2e", "hf:///", "hf://a/b\x00"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, source string) {
		n, err := parse(source)
		if err != nil {
			if strings.ContainsFunc(err.Error(), func(r rune) bool { return r < ' ' }) {
				t.Errorf("not one clean line: %q", err)
			}
			return
		}
		for _, part := range []string{n.repo, n.path, n.revision} {
			if part != "" && !filepath.IsLocal(filepath.FromSlash(part)) {
				t.Errorf("%q leads outside by %q", source, part)
			}
		}
	})
}

// Whatever a server lists and an index names, all names stay in the model's folder.
func FuzzListing(f *testing.F) {
	const sha = "0123456789abcdef0123456789abcdef01234567"
	f.Add([]byte(`{"sha":"`+sha+`","siblings":[{"rfilename":"config.json"},{"rfilename":"x/a.gguf"}]}`), []byte(`{"weight_map":{"a":"model-1.safetensors"}}`))
	f.Add([]byte(`{"sha":"`+sha+`","siblings":[{"rfilename":"../x"}]}`), []byte(`{"weight_map":{"a":"../b","c":"/d"}}`))
	f.Add([]byte(`{"sha":"../..","siblings":[{"rfilename":"C:\\x"}]}`), []byte(`{"weight_map":[]}`))
	f.Fuzz(func(t *testing.T, answer, index []byte) {
		n := name{repo: "a/b"}
		if commit, files, err := listing(n, answer); err == nil {
			for _, file := range append(files, commit) {
				if !filepath.IsLocal(filepath.FromSlash(file)) {
					t.Errorf("%q leads outside", file)
				}
			}
		}
		c := cache{t.TempDir()}
		dir := c.snapshot(n.repo, sha)
		if err := os.MkdirAll(dir, 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "index"), index, 0o666); err != nil {
			t.Fatal(err)
		}
		shards, _ := c.shards(n, sha, &choice{index: "index"})
		for _, shard := range shards {
			if !filepath.IsLocal(filepath.FromSlash(shard)) || strings.Contains(shard, "/") {
				t.Errorf("shard %q leads outside", shard)
			}
		}
	})
}
