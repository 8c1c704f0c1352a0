package tokenfile

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"thimble/internal/defect"
	"thimble/internal/tokenizer"
)

func read(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func readJSONFile(t testing.TB, name string, v any) {
	t.Helper()
	if err := json.Unmarshal(read(t, name), v); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
}

// testdata returns the path of a file that the tests of package tokenizer use, too.
func testdata(name string) string { return filepath.Join("..", "testdata", name) }

func drafted(t testing.TB, name string) *draft {
	t.Helper()
	d, err := readJSON(read(t, testdata(name+".json")))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func parsed(t testing.TB, name string) *tokenizer.Data { return &drafted(t, name).Data }

// checkError checks that err is of the right kind and a single line that contains want.
// If want is empty, err must be nil.
func checkError(t *testing.T, err error, unsupported bool, want string) {
	t.Helper()
	if want == "" {
		if err != nil {
			t.Errorf("got %v, want no error", err)
		}
		return
	}
	var corrupt *defect.CorruptError
	switch {
	case err == nil:
		t.Errorf("no error, want %q", want)
	case !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n"):
		t.Errorf("got %q, want %q in one line", err, want)
	case errors.Is(err, defect.ErrUnsupported) != unsupported || errors.As(err, &corrupt) == unsupported:
		t.Errorf("%q is of the wrong kind, want unsupported %v", err, unsupported)
	}
}

func TestEncodeFixtures(t *testing.T) {
	golden, err := filepath.Glob("../../../fixtures/*/tokenizer_golden.json")
	if err != nil || len(golden) == 0 {
		t.Fatalf("no golden encodings in the fixtures: %v", err)
	}
	for _, path := range golden {
		var texts []struct {
			Text string
			IDs  []int
		}
		readJSONFile(t, path, &texts)
		tok := openFixture(t, filepath.Dir(path))
		for _, c := range texts {
			if got := tok.Encode(c.Text, false); !slices.Equal(got, c.IDs) {
				t.Errorf("%s: %q: got %v, want %v", path, c.Text, got, c.IDs)
			}
		}
	}
}

// openFixture opens the tokenizer.model of a folder, or its tokenizer.json.
func openFixture(t *testing.T, dir string) *tokenizer.Tokenizer {
	t.Helper()
	var d *tokenizer.Data
	file := filepath.Join(dir, "tokenizer.model")
	_, err := os.Stat(file)
	if err != nil {
		d, err = ParseJSON(read(t, filepath.Join(dir, "tokenizer.json")), nil)
	} else {
		d, err = ParseModel(Files{Model: read(t, file), Config: read(t, filepath.Join(dir, "tokenizer_config.json"))})
	}
	if err != nil {
		t.Fatal(err)
	}
	tok, err := tokenizer.New(d)
	if err != nil {
		t.Fatal(err)
	}
	return tok
}

func BenchmarkParseJSON(b *testing.B) {
	file := read(b, testdata("gpt2.json"))
	b.SetBytes(int64(len(file)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ParseJSON(file, nil); err != nil {
			b.Fatal(err)
		}
	}
}
