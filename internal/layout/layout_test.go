// Package layout has no code. Its test enforces the import rules of the project, which
// the diagram in docs/ADDING.md shows.
package layout

import (
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const root = "../.."

// rules lists the packages of this module that the packages below a folder may import.
// The first rule that covers a package applies.
var rules = []struct {
	folder  string
	allowed []string // nil allows every package
}{
	{"internal/kernel", []string{}},
	{"internal/defect", []string{}},
	{"internal/spell", []string{}},
	{"internal/mmap", []string{}},
	{"internal/safetensors", []string{}},
	{"internal/ans", []string{"internal/kernel", "internal/parallel", "internal/qtensor"}},
	{"internal/stray", []string{"internal/defect"}},
	{"internal/parallel", []string{}},
	{"internal/memory", []string{"internal/units"}},
	{"internal/hub", []string{"internal/defect"}},
	{"internal/atomicfile", []string{"internal/atomicfile", "internal/defect", "internal/units"}},
	{"internal/digest", []string{"internal/defect", "internal/mmap", "internal/model", "internal/parallel"}},
	{"internal/signature", []string{"internal/defect", "internal/digest"}},
	{"internal/qtensor", []string{"internal/kernel", "internal/mmap"}},
	{"internal/journal", []string{"internal/atomicfile", "internal/defect", "internal/mmap", "internal/parallel"}},
	{"internal/strictjson", []string{"internal/defect"}},
	{"internal/strictyaml", []string{"internal/spell"}},
	{"internal/chart", []string{"internal/kernel"}},
	{"internal/logits", []string{"internal/kernel"}},
	{"internal/cholesky", []string{"internal/kernel", "internal/parallel"}},
	{"internal/label", []string{"internal/defect"}},
	{"internal/chat/python", []string{}},
	{"internal/chat/jinja", []string{"internal/chat/python"}},
	{"internal/textwrap", []string{}},
	{"internal/table", []string{"internal/textwrap"}},
	{"internal/mixedtext", []string{}},
	{"internal/tokenizer/class", []string{}},
	{"internal/tokenizer/pattern", []string{}},
	{"internal/tokenizer/spelling", []string{}},
	{"internal/tokenizer/tokenfile/wire", []string{"internal/defect"}},
	{"internal/tokenizer", []string{"internal/defect", "internal/strictjson", "internal/tokenizer"}},
	{"internal/model", []string{"internal/defect", "internal/kernel", "internal/qtensor", "internal/tokenizer"}},
	{"internal/rotary", []string{"internal/kernel", "internal/model"}},
	{"internal/routing", []string{"internal/kernel", "internal/model"}},
	{"internal/transformer/recurrence", []string{"internal/kernel", "internal/model", "internal/parallel"}},
	{"internal/transformer", []string{"internal/atomicfile", "internal/defect", "internal/kernel", "internal/memory", "internal/model", "internal/parallel", "internal/qtensor", "internal/rotary", "internal/routing", "internal/transformer/recurrence"}},
	{"internal/generate", []string{"internal/kernel", "internal/logits", "internal/memory", "internal/model", "internal/parallel", "internal/qtensor", "internal/transformer"}},
	{"internal/speed", []string{"internal/defect", "internal/generate", "internal/kernel", "internal/model", "internal/parallel"}},
	{"internal/sweep", []string{"internal", "verify/curve"}},
	{"internal/texts", []string{"internal/defect", "internal/model", "internal/parallel", "internal/tokenizer", "internal/units"}},
	{"internal", []string{"internal"}},
	{"convert/packed", []string{"internal"}},
	{"convert/names", []string{"internal"}},
	{"convert/config", []string{"convert/names", "convert/packed", "internal"}},
	{"convert/arch", []string{"convert/config", "convert/names", "internal"}},
	{"convert", []string{"convert", "internal"}},
	{"quantize/quantizetest", []string{"internal"}},
	{"quantize/rounding", []string{"internal"}},
	{"quantize/tuning", []string{"internal"}},
	{"quantize/power", []string{"quantize/rounding", "internal"}},
	{"quantize/words", []string{"internal/qtensor", "internal/spell"}},
	{"quantize/calibration", []string{"quantize", "internal"}},
	{"quantize/render", []string{"quantize", "internal"}},
	{"quantize/order", []string{"quantize", "internal"}},
	{"quantize/kept", []string{"quantize", "internal"}},
	{"quantize", []string{"quantize/rounding", "quantize/power", "quantize/words", "internal"}},
	{"format", []string{"format", "internal"}},
	// What a plan of quantize becomes in a format; the only room besides the root that joins axes.
	{"target", []string{"format", "quantize", "target", "internal"}},
	{"verify/metric", []string{"internal"}},
	{"verify/noise", []string{"verify/metric", "internal"}},
	{"verify/reference/referencetest", []string{"verify/reference"}},
	{"verify/reference", []string{"verify/metric", "internal"}},
	{"verify/parity", []string{"verify/metric", "internal"}},
	{"verify/tasks", []string{"verify/metric", "verify/reference", "internal"}},
	{"verify/diff", []string{"verify/metric", "internal"}},
	{"verify/reproduce", []string{"verify/diff", "internal"}},
	{"verify/curve", []string{"verify", "internal"}},
	{"verify/standard", []string{"verify", "internal"}},
	{"verify/selftest", []string{"verify", "internal"}},
	{"verify/render", []string{"verify", "internal"}},
	{"verify", []string{"verify/metric", "verify/noise", "verify/reference", "verify/parity", "verify/tasks", "internal"}},
	{"fixtures/torture", []string{"format", "internal"}},
	{"fixtures", []string{}},
	// What runs in an app holds only readers and the forward pass: a library of the whole
	// module would be larger.
	{"mobile", []string{"format", "internal"}},
	{"cmd/libthimble", []string{"mobile"}},
	{"cmd/thimble/internal/manual", []string{"internal/textwrap"}},
	{"cmd/thimble/internal/terminal", []string{"."}},
	{"cmd/thimble/internal/text", []string{".", "cmd/thimble/internal/terminal", "internal/defect", "internal/device", "internal/model", "internal/textwrap", "internal/units"}},
	{"cmd", []string{".", "cmd/thimble/internal", "verify", "fixtures", "internal/atomicfile", "internal/defect", "internal/device", "internal/hub", "internal/label", "internal/memory", "internal/model", "internal/server", "internal/session", "internal/shard", "internal/spell", "internal/strictjson", "internal/sweep", "internal/textwrap", "internal/units"}},
	{".", nil}, // the root package combines all of them
}

// owners gives for each external module the only files that may import it, as a prefix
// of their paths.
var owners = map[string]string{
	"github.com/urfave/cli/v2":          "cmd/thimble/",
	"github.com/nlpodyssey/safetensors": "internal/checkpoint/safetensors.go",
	"github.com/x448/float16":           "internal/",
	"github.com/fxamacker/cbor/v2":      "",
	"github.com/goccy/go-yaml":          "internal/strictyaml/",
	"golang.org/x/crypto":               "internal/signature/",
	"golang.org/x/sys":                  "internal/",
	"golang.org/x/text":                 "internal/tokenizer/",
	"github.com/rivo/uniseg":            "internal/tokenizer/",
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
			checkImport(t, filepath.ToSlash(rel), imported)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if files < 50 {
		t.Errorf("found only %d files; is %s the root of the project?", files, root)
	}
}

func checkImport(t *testing.T, file, imported string) {
	t.Helper()
	switch local, ours := strings.CutPrefix(imported, "thimble/"); {
	case ours:
		checkLocal(t, file, local)
	case imported == "thimble":
		checkLocal(t, file, ".")
	case strings.Contains(strings.Split(imported, "/")[0], "."): // not the standard library
		checkExternal(t, file, imported)
	}
}

func checkExternal(t *testing.T, file, imported string) {
	t.Helper()
	for module, owner := range owners {
		if below(imported, module) {
			if !strings.HasPrefix(file, owner) {
				t.Errorf("%s imports %s, which only files below %s may import", file, imported, owner)
			}
			return
		}
	}
	t.Errorf("%s imports %s, which is not in the table owners; see docs/DEPENDENCIES.md", file, imported)
}

func checkLocal(t *testing.T, file, local string) {
	t.Helper()
	for _, r := range rules {
		if !below(path.Dir(file), r.folder) {
			continue
		}
		if r.allowed != nil && !slices.ContainsFunc(r.allowed, func(folder string) bool { return below(local, folder) }) {
			t.Errorf("%s imports %s; packages below %s may import only %v", file, local, r.folder, r.allowed)
		}
		return
	}
	t.Errorf("%s: no rule covers its folder", file)
}

// below reports whether name is folder or inside it.
func below(name, folder string) bool { return name == folder || strings.HasPrefix(name, folder+"/") }
