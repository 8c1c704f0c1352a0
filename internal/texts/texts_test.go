package texts

import (
	"os"
	"path/filepath"
	"testing"
)

// A file of weights is no text.
func TestReadRefusesZeroBytes(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a")
	for content, want := range map[string]string{"a text": "", "a\x00b": "--text " + path + ": is no text: it has zero bytes; give a file of text in UTF-8"} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		text, err := Read(t.Context(), "--text", path, 100)
		if want == "" && (err != nil || text != content) || want != "" && (err == nil || err.Error() != want) {
			t.Errorf("%q: %q, %v", content, text, err)
		}
	}
}
