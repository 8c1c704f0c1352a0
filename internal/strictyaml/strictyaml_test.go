package strictyaml

import (
	"strings"
	"testing"
)

type Inner struct {
	Scheme string   `yaml:"scheme"`
	Steps  []string `yaml:"steps"`
}

type entry struct {
	Name  string `yaml:"name"`
	Inner `yaml:",inline"`
}

func TestDecode(t *testing.T) {
	var list []entry
	if err := Decode([]byte("# "+strings.Repeat("-", 100)+"\n- name: x\n  scheme: int4/g32\n  steps: [a, b]\n- name: y\n"), &list); err != nil {
		t.Fatal(err)
	}
	if len(list) != 2 || list[0].Scheme != "int4/g32" || len(list[0].Steps) != 2 || list[1].Name != "y" {
		t.Errorf("%+v", list)
	}
}

func TestErrorTexts(t *testing.T) {
	for text, want := range map[string]string{
		"":                                      "is empty",
		"- name: x\n  shceme: int4\n":           `unknown field "shceme" (did you mean "scheme"?)`,
		"- name: x\n  name: y\n":                `"name" already defined`,
		"- name: x\n---\n- name: y\n":           "has more than one document",
		"name: x\n":                             "[1:",
		"!000 0000000000":                       "cannot be decoded: the YAML parser panicked",
		"- [":                                   "[1:",
		strings.Repeat(" ", Limit+1):            "is 1048577 bytes long, the limit is 1048576",
		"- name: x\n  steps: a\n":               "[2:",
		strings.Repeat("- ", 10000) + "x":       "is nested deeper than 64",
		strings.Repeat("[\n", 100000):           "is nested deeper than 64",
		strings.Repeat("{a: ", 20000):           "is nested deeper than 64",
		strings.Repeat("? ", 20000):             "is nested deeper than 64",
		"- &a [x]\n- *a\n- name: *b\n":          "",
		"- name: \"\\x00\"\n  steps: [1e999]\n": "-",
	} {
		var list []entry
		err := Decode([]byte(text), &list)
		if want == "-" {
			continue // any result will do, except a panic
		}
		if err == nil || !strings.Contains(err.Error(), want) || strings.ContainsAny(err.Error(), "\n") {
			t.Errorf("%.30q: %v, want %q", text, err, want)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte("- name: x\n  scheme: int4/g32\n  steps: [a, b]\n"))
	f.Add([]byte("- &a {name: *a}\n"))
	f.Add([]byte("? x\n: - |\n  y\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		var list []entry
		if err := Decode(text, &list); err != nil && strings.Contains(err.Error(), "\n") {
			t.Errorf("error has more than one line: %q", err)
		}
	})
}
