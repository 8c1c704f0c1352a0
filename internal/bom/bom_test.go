package bom

import (
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"thimble/internal/strictjson"
)

var update = flag.Bool("update", false, "write testdata; then validate it with fixtures/gen/bom.py")

var zeros, ones = strings.Repeat("0", 64), strings.Repeat("1", 64)

// full returns a model with everything that a bill can tell.
func full() *Model {
	return &Model{
		Name: "smol", Format: "thimble", Architecture: "llama", Tool: "thimble 1.2.3",
		Files:   []File{{"smol.thimble", 9, zeros}},
		Sources: []File{{"model.safetensors", 5, ones}, {"model.safetensors", 4, zeros}, {"\x1b<&", 0, "unknown"}},
		Texts:   []Text{{"calibration text", ones}},
		Licenses: []License{
			NewLicense("apache-2.0", ""), NewLicense("llama3", "https://llama.meta.com/llama3/license"),
		},
		Metrics: []Metric{{"kl_mean", 0.0125, "against SHA-256 " + ones}},
		Facts:   [][2]string{{"recipe", "scheme: int4/g32\n"}},
		Stated: map[string]string{
			"general.name": "Smol", "general.version": "2", "general.author": "A. Author", "general.organization": "Org", "general.description": "A model.",
			"general.url": "https://example.org/", "general.repo_url": "not an address", "general.license": "apache-2.0",
		},
	}
}

// The bills in testdata were validated with CycloneDX's schema.
func TestNew(t *testing.T) {
	for name, m := range map[string]*Model{
		"full": full(),
		"bare": {Name: "folder", Format: "checkpoint", Architecture: "llama", Tool: "thimble 1.2.3", Files: []File{{"a", 1, zeros}, {"b", 2, ones}}},
	} {
		d, err := New(m)
		if err != nil {
			t.Fatal(err)
		}
		got, err := strictjson.Encode(d)
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join("testdata", name+".cdx.json")
		if *update {
			if err := os.WriteFile(path, got, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), string(got)); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

// The serial number follows from the contents.
func TestSerial(t *testing.T) {
	serialOf := func(m *Model) string {
		t.Helper()
		d, err := New(m)
		if err != nil {
			t.Fatal(err)
		}
		return d.Serial
	}
	one := serialOf(full())
	if again := serialOf(full()); again != one {
		t.Errorf("%s, then %s", one, again)
	}
	if !regexp.MustCompile(`^urn:uuid:[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`).MatchString(one) {
		t.Error(one)
	}
	for name, change := range map[string]func(m *Model){
		"a source":  func(m *Model) { m.Sources[1].SHA256 = ones },
		"a metric":  func(m *Model) { m.Metrics[0].Value++ },
		"a fact":    func(m *Model) { m.Facts[0][1] = "" },
		"a licence": func(m *Model) { m.Licenses = nil },
	} {
		m := full()
		change(m)
		if serialOf(m) == one {
			t.Errorf("%s: the same serial number", name)
		}
	}
}

func TestLicenses(t *testing.T) {
	for readme, want := range map[string][]License{
		"---\nlicense: apache-2.0\ntags:\n- a\n---\n# Model":                                         {{ID: "Apache-2.0"}},
		"---\r\nlicense: mit\r\n---\r\n":                                                             {{ID: "MIT"}},
		"---\nlicense:\n- cc-by-4.0\n- llama2\n---\n":                                                {{ID: "CC-BY-4.0"}, {Name: "llama2"}},
		"---\nlicense: other\nlicense_name: x\nlicense_link: LICENSE\n---\n":                         {{Name: "x"}},
		"---\nlicense: other\nlicense_name: x\nlicense_link: https://example.org/a?b=c\n---\n":       {{Name: "x", URL: "https://example.org/a?b=c"}},
		"---\nlicense: other\nlicense_name: x\nlicense_link: https://example.org/a b\n---\n":         {{Name: "x"}},
		"---\nlicense: other\nlicense_name: x\nlicense_link: javascript://example.org/%0aa()\n---\n": {{Name: "x"}},
		"---\nlicense: other\n---\n":                                                                 {{Name: "other"}},
		"---\nlicense: 5\n---\n":                                                                     nil,
		"---\nlicense: [[mit]]\n---\n":                                                               nil,
		"---\ntags: a\n---\n":                                                                        nil,
		"---\nlicense: mit\nlicense: apache-2.0\n---\n":                                              nil,
		"---\nlicense: mit":                                                                          nil,
		"# Model\n---\nlicense: mit\n---\n":                                                          nil,
		"":                                                                                           nil,
	} {
		if got := licensesIn([]byte(readme)); !slices.Equal(got, want) {
			t.Errorf("%q: %+v, want %+v", readme, got, want)
		}
	}
	for _, c := range []struct {
		license, name, link string
		want                []License
	}{
		{"", "", "https://example.org/", nil}, {"", "x", "", []License{{Name: "x"}}}, {"MIT", "x", "", []License{{ID: "MIT"}}}, {"other", "", "", []License{{Name: "other"}}},
		{"other", "x", "https://example.org/", []License{{Name: "x", URL: "https://example.org/"}}},
	} {
		facts := map[string]string{"general.license": c.license, "general.license.name": c.name, "general.license.link": c.link}
		if got := LicensesOfModel(facts, ""); !slices.Equal(got, c.want) {
			t.Errorf("%v: %+v, want %+v", facts, got, c.want)
		}
	}
	dir := t.TempDir()
	path := filepath.Join(dir, "README.md")
	if got := append(LicensesOf(path), LicensesOf(dir)...); got != nil {
		t.Error(got)
	}
	if err := os.WriteFile(path, []byte("---\nlicense: mit\n---\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if got := LicensesOf(path); !slices.Equal(got, []License{{ID: "MIT"}}) {
		t.Error(got)
	}
}

func FuzzLicenses(f *testing.F) {
	f.Add([]byte("---\nlicense: [mit, other]\nlicense_name: x\nlicense_link: https://example.org\n---\n"))
	f.Fuzz(func(t *testing.T, readme []byte) {
		for _, l := range licensesIn(readme) {
			if (l.ID == "") == (l.Name == "") {
				t.Errorf("%+v", l)
			}
		}
	})
}
