package layout

import (
	"go/ast"
	"go/constant"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var limitRow = regexp.MustCompile("(?m)^\\| .* \\| ([0-9,]+) \\| `([a-z/]+)\\.(\\w+)` \\|$")

// Each row of the table of limits in docs/SECURITY.md has the value of its constant, and a test of
// the package uses the constant.
func TestLimitsDocumented(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(root, "docs", "SECURITY.md"))
	if err != nil {
		t.Fatal(err)
	}
	rows := limitRow.FindAllStringSubmatch(string(text), -1)
	if len(rows) < 40 {
		t.Errorf("found only %d rows", len(rows))
	}
	values := map[string]map[string]string{}
	for _, row := range rows {
		want, folder, name := strings.ReplaceAll(row[1], ",", ""), row[2], row[3]
		if values[folder] == nil {
			values[folder] = constantsOf(t, folder)
		}
		if got := values[folder][name]; got != want {
			t.Errorf("%s.%s is %s, documented as %s", folder, name, got, want)
		}
		if !testUses(t, folder, name) {
			t.Errorf("no test of %s uses %s", folder, name)
		}
	}
}

// constantsOf returns the values of a package's constants that are numbers and shifts of numbers.
func constantsOf(t *testing.T, folder string) map[string]string {
	t.Helper()
	values := map[string]string{}
	names, err := filepath.Glob(filepath.Join(root, folder, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(f, func(n ast.Node) bool {
			if spec, ok := n.(*ast.ValueSpec); ok && len(spec.Names) == len(spec.Values) {
				for i, x := range spec.Values {
					if v := number(x); v != nil {
						values[spec.Names[i].Name] = v.ExactString()
					}
				}
			}
			return true
		})
	}
	return values
}

func number(x ast.Expr) constant.Value {
	switch x := x.(type) {
	case *ast.BasicLit:
		if x.Kind == token.INT {
			return constant.MakeFromLiteral(x.Value, x.Kind, 0)
		}
	case *ast.BinaryExpr:
		a, b := number(x.X), number(x.Y)
		if a != nil && b != nil && x.Op == token.SHL {
			n, _ := constant.Uint64Val(b)
			return constant.Shift(a, token.SHL, uint(n))
		}
	}
	return nil
}

func testUses(t *testing.T, folder, name string) bool {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(root, folder, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range names {
		text, err := os.ReadFile(test)
		if err != nil {
			t.Fatal(err)
		}
		if regexp.MustCompile(`\b` + name + `\b`).Match(text) {
			return true
		}
	}
	return false
}
