package verify

import (
	"fmt"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// docs/REPORT.md has a row for every field and no other rows.
func TestSchemaIsDocumented(t *testing.T) {
	doc, err := os.ReadFile("../docs/REPORT.md")
	if err != nil {
		t.Fatal(err)
	}
	var listed []string
	for _, m := range regexp.MustCompile("(?m)^\\| `([^`]+)` \\|").FindAllSubmatch(doc, -1) {
		listed = append(listed, string(m[1]))
	}
	var want []string
	var walk func(prefix string, t reflect.Type)
	walk = func(prefix string, t reflect.Type) {
		for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice {
			if t.Kind() == reflect.Slice {
				prefix += "[]"
			}
			t = t.Elem()
		}
		if prefix != "" {
			want = append(want, prefix)
			prefix += "."
		}
		if t.Kind() != reflect.Struct {
			return
		}
		if key := t.Name(); key == "Token" || key == "Choice" { // has rows of its own
			if slices.Contains(want, key) {
				return
			}
			want = append(want, key)
			prefix = key + "."
		}
		for i := range t.NumField() {
			f := t.Field(i)
			name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			switch {
			case name == "-" || !f.IsExported():
			case f.Anonymous:
				for j := range f.Type.NumField() {
					walk(prefix+f.Type.Field(j).Tag.Get("json"), f.Type.Field(j).Type)
				}
			case name == "":
				panic(t.Name() + "." + f.Name + " has no name in JSON")
			default:
				walk(prefix+name, f.Type)
			}
		}
	}
	walk("", reflect.TypeFor[Report]())
	slices.Sort(want)
	slices.Sort(listed)
	if d := cmp.Diff(want, listed); d != "" {
		t.Error(d)
	}
	if !strings.Contains(string(doc), fmt.Sprintf("`schema` is %d", Schema)) {
		t.Errorf("the version is not said to be %d", Schema)
	}
}
