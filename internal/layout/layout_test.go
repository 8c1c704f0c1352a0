// Package layout has no code. Its test holds the import rules of the project,
// which docs/ADDING.md draws.
package layout

import (
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

const root = "../.."

// rules say what the packages below a folder may import of this module, and
// which outside modules only they may import.
var rules = []struct {
	folder string
	may    []string // of this module; nil for anything
}{
	{"internal/kernel", []string{}},
	{"internal/defect", []string{}},
	{"internal/spell", []string{}},
	{"internal/mmap", []string{}},
	{"internal/parallel", []string{}},
	{"internal/qtensor", []string{"internal/kernel", "internal/mmap"}},
	{"internal/journal", []string{"internal/defect", "internal/mmap", "internal/parallel"}},
	{"internal/strictjson", []string{"internal/defect"}},
	{"internal/strictyaml", []string{}},
	{"internal/chart", []string{"internal/kernel"}},
	{"internal/logits", []string{"internal/kernel"}},
	{"internal/cholesky", []string{"internal/kernel", "internal/parallel"}},
	{"internal/textwrap", []string{}},
	{"internal/table", []string{}},
	{"internal/tokenizer", []string{"internal/defect", "internal/strictjson"}},
	{"internal/model", []string{"internal/defect", "internal/qtensor", "internal/tokenizer"}},
	{"internal/transformer", []string{"internal/defect", "internal/kernel", "internal/model", "internal/parallel", "internal/qtensor"}},
	{"internal/generate", []string{"internal/kernel", "internal/logits", "internal/model", "internal/parallel", "internal/transformer"}},
	{"internal", []string{"internal"}},
	{"convert", []string{"convert", "internal"}},
	{"quantize", []string{"quantize", "internal"}},
	{"format", []string{"format", "internal"}},
	{"verify/metric", []string{"internal"}},
	{"verify/reference/referencetest", []string{"verify/reference"}},
	{"verify/reference", []string{"verify/metric", "internal"}},
	{"verify/parity", []string{"verify/metric", "internal"}},
	{"verify/tasks", []string{"verify/metric", "verify/reference", "internal"}},
	{"verify/diff", []string{"verify/metric", "internal"}},
	{"verify/curve", []string{"verify/metric", "internal"}},
	{"verify/selftest", []string{"verify", "internal"}},
	{"verify/render", []string{"verify", "internal"}},
	{"verify", []string{"verify/metric", "verify/reference", "verify/parity", "verify/tasks", "internal"}},
	{"fixtures", []string{}},
	{"cmd", []string{".", "verify", "fixtures", "internal/atomicfile", "internal/defect", "internal/model", "internal/spell", "internal/strictjson", "internal/textwrap", "internal/units"}},
	{".", nil}, // the root package joins the axes
}

// owners are the only places that may import an outside module.
var owners = map[string]string{
	"github.com/urfave/cli/v2":          "cmd/thimble/",
	"github.com/nlpodyssey/safetensors": "internal/checkpoint/safetensors.go",
	"github.com/x448/float16":           "internal/",
	"github.com/fxamacker/cbor/v2":      "",
	"github.com/ardanlabs/jinja":        "internal/chat/",
	"github.com/goccy/go-yaml":          "internal/strictyaml/",
	"golang.org/x/sys":                  "internal/",
	"golang.org/x/text":                 "internal/tokenizer/",
}

func TestImports(t *testing.T) {
	files := 0
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (strings.HasPrefix(d.Name(), "_") || strings.HasPrefix(d.Name(), ".") && d.Name() != ".." || d.Name() == "gen") {
			return fs.SkipDir
		}
		if !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			return nil
		}
		files++
		rel, err := filepath.Rel(root, name)
		if err != nil {
			return err
		}
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		for _, spec := range f.Imports {
			imported, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			judge(t, filepath.ToSlash(rel), imported)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if files < 50 {
		t.Errorf("looked at %d files; is %s the project?", files, root)
	}
}

func judge(t *testing.T, file, imported string) {
	local, ours := strings.CutPrefix(imported, "thimble/")
	if imported == "thimble" {
		local, ours = ".", true
	}
	if !ours {
		if !strings.Contains(strings.Split(imported, "/")[0], ".") {
			return // the standard library
		}
		for module, owner := range owners {
			if below(imported, module) {
				if !strings.HasPrefix(file, owner) {
					t.Errorf("%s imports %s, which only %s may", file, imported, owner)
				}
				return
			}
		}
		t.Errorf("%s imports %s, which docs/DEPENDENCIES.md does not give to anybody", file, imported)
		return
	}
	for _, r := range rules {
		if !below(path.Dir(file), r.folder) {
			continue
		}
		for _, may := range r.may {
			if below(local, may) {
				return
			}
		}
		if r.may != nil {
			t.Errorf("%s imports %s; packages below %s may import %v", file, imported, r.folder, r.may)
		}
		return
	}
	t.Errorf("%s: no rule covers its folder", file)
}

func below(name, folder string) bool { return name == folder || strings.HasPrefix(name, folder+"/") }
