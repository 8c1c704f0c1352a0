package jinja

import (
	"encoding/json"
	"flag"
	"os"
	"strings"
	"testing"

	"thimble/internal/chat/python"
)

// more is another file of fixtures/gen/jinja_golden.py, as of another seed.
var more = flag.String("golden", "testdata/golden.json", "compare with the templates in this `file`")

// value reads JSON, with the order of its keys.
func value(t testing.TB, text []byte) python.Value {
	t.Helper()
	d := json.NewDecoder(strings.NewReader(string(text)))
	d.UseNumber()
	v, err := decode(d)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func decode(d *json.Decoder) (python.Value, error) {
	token, err := d.Token()
	if err != nil {
		return nil, err
	}
	switch token := token.(type) {
	case json.Number:
		return python.ParseNumber(string(token))
	case json.Delim:
		list, dict := &python.List{}, python.NewDict()
		for d.More() {
			key := ""
			if token == '{' {
				k, err := d.Token()
				if err != nil {
					return nil, err
				}
				key = k.(string)
			}
			v, err := decode(d)
			if err != nil {
				return nil, err
			}
			list.Items = append(list.Items, v)
			dict.Set(key, v)
		}
		_, err := d.Token()
		if token == '{' {
			return dict, err
		}
		return list, err
	}
	return token, nil
}

type golden struct {
	Variables map[string]json.RawMessage `json:"variables"`
	Templates [][2]*string               `json:"templates"` // a template and its text, nil if it raises
}

func readGolden(t testing.TB, name string) (variables map[string]python.Value, templates [][2]*string) {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	var g golden
	if err := json.Unmarshal(text, &g); err != nil {
		t.Fatal(err)
	}
	variables = map[string]python.Value{"strftime_now": &python.Func{Name: "strftime_now", Call: func([]python.Value) (python.Value, error) { return "today", nil }}}
	for name, v := range g.Variables {
		variables[name] = value(t, v)
	}
	return variables, g.Templates
}

func render(source string, variables map[string]python.Value) (string, error) {
	c, err := Compile(source)
	if err != nil {
		return "", err
	}
	return c.Render(variables)
}

// Every template gives the text of Jinja2, or an error where Jinja2 raises one. What is not
// supported says so, and is rare.
func TestGolden(t *testing.T) {
	variables, templates := readGolden(t, *more)
	equal, raised, refused := 0, 0, map[string]int{}
	for _, pair := range templates {
		source, want := *pair[0], pair[1]
		got, err := render(source, variables)
		switch {
		case want == nil && err != nil:
			raised++
		case want == nil:
			t.Errorf("%q: %q, want an error", source, got)
		case err != nil && strings.Contains(err.Error(), "not supported"), err != nil && strings.Contains(err.Error(), "cannot be printed"):
			refused[err.Error()]++
		case err != nil:
			t.Errorf("%q: %v, want %q", source, err, *want)
		case got != *want:
			t.Errorf("%q: %q, want %q", source, got, *want)
		default:
			equal++
		}
	}
	t.Logf("%d equal, %d raised, %v", equal, raised, refused)
	if equal < 590 || raised < 690 || len(refused) > (equal+raised)/100 {
		t.Errorf("%d equal, %d raised, refused: %v", equal, raised, refused)
	}
}
