package arch

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"thimble/convert/names"
	"thimble/internal/model"
)

// Every slot has its own name, which no other pattern matches.
func TestNames(t *testing.T) {
	specs := map[string]model.Spec{} // with all that a fixture of the architecture has
	var fixtures []string
	for _, pattern := range []string{"*", "architectures/*"} {
		more, err := filepath.Glob(filepath.Join("..", "..", "fixtures", pattern, "config.json"))
		if err != nil {
			t.Fatal(err)
		}
		fixtures = append(fixtures, more...)
	}
	families, err := filepath.Glob(filepath.Join("..", "..", "fixtures", "families", "*", "config.json"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range append(fixtures, families...) {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		c, s, err := read(string(text))
		if err != nil {
			t.Fatal(err)
		}
		of := s.Attention
		s.Blocks, s.Attention, s.FFNs, s.Experts.Dense = 12, nil, nil, nil
		for b := 0; len(of) > 0 && b < s.Blocks; b++ {
			s.Attention = append(s.Attention, of[b%len(of)])
		}
		modelType := c.String("model_type")
		if most := specs[modelType]; len(s.Slots()) > len(most.Slots()) {
			specs[modelType] = s
		}
	}
	for modelType, a := range architectures {
		spec, ok := specs[modelType]
		if !ok {
			t.Errorf("%s has no fixture", modelType)
		}
		seen := map[string]bool{}
		for _, s := range spec.Slots() {
			name := a.Names.Of(s.Name)
			if pattern, _ := names.Generalize(s.Name); name == "" && slices.Contains(a.Names.Ones, pattern) {
				continue
			}
			if name == "" || seen[name] && !a.Names.Shares(s.Name) || strings.Contains(name, "*") {
				t.Errorf("%s: %s is stored as %q", modelType, s.Name, name)
			}
			seen[name] = true
			patterns := slices.Concat(slices.Collect(maps.Values(a.Names.Stored)), a.Names.Ignored)
			slices.Sort(patterns)
			patterns = slices.Compact(patterns)
			if n := len(slices.DeleteFunc(patterns, func(p string) bool { return !names.Matches(p, name) })); n != 1 {
				t.Errorf("%s: %s matches %d patterns", modelType, name, n)
			}
		}
	}
	for _, name := range []string{"a..b", "a.01.b", "a.-1.b", "a.+1.b", "a.1.b.c", "x.a.1.b", "a.1", "a.b", "a.99999999999999999999.b"} {
		if names.Matches("a.*.b", name) {
			t.Errorf("a.*.b matches %s", name)
		}
	}
}
