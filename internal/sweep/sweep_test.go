package sweep

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"thimble/internal/atomicfile/faulty"
	"thimble/internal/facts"
	"thimble/internal/strictyaml"
	"thimble/verify/curve"
)

// result returns a result whose inputs are these names.
func result(model, recipe, text string) *Result {
	f := func(name string) facts.Facts { return facts.Facts{{"name", name}} }
	return &Result{
		Schema: Schema, Model: model, Recipe: recipe, Text: text, Inputs: Inputs{Program: "p", Model: f(model), Recipe: f(recipe), Text: f(text)},
		Weights: 10, File: File{Bytes: int64(len(recipe)), BitsPerWeight: 4}, Tokens: 5, PPL: 7,
		Measured: curve.Point{KLMean: 0.1, KLMeanSE: curve.NoPoint.KLMean, Top1: 0.9, PPL: 8, PPLRatio: 8. / 7},
	}
}

func TestFolder(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "results")
	f, err := Create(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Create(dir); err != nil {
		t.Errorf("a second process: %v", err)
	}
	if HasResults(dir) {
		t.Error("an empty folder has results")
	}
	want := result("m", "r", "t")
	var name string
	var all sync.WaitGroup
	for range 4 { // processes that do the same job
		all.Go(func() {
			if _, err := f.Write(want); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if name, err = f.Write(want); err != nil {
		t.Fatal(err)
	}
	if err := faulty.Only(dir, name+".json"); err != nil || !HasResults(dir) {
		t.Errorf("%v, has results: %t", err, HasResults(dir))
	}
	got, err := f.Read(name)
	if err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
		t.Fatalf("%+v, %v, want %+v", got, err, want)
	}
	if err := f.Label(got, "new", "r", "t"); err != nil {
		t.Fatal(err)
	}
	if got, err = f.Read(name); err != nil || got.Model != "new" || got.Measured.KLMean != 0.1 {
		t.Errorf("%+v, %v", got, err)
	}
	if missing, err := f.Read(strings.Repeat("0", 64)); missing != nil || err != nil {
		t.Errorf("a missing result: %v, %v", missing, err)
	}
	if _, err := Create(filepath.Join(dir, name+".json")); err == nil {
		t.Error("a file is a folder")
	}
}

// Whatever is wrong with a file is an error that names it.
func TestDamaged(t *testing.T) {
	f := Folder(t.TempDir())
	name, err := f.Write(result("m", "r", "t"))
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(f.file(name))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ from, to, want string }{
		{`"m"`, `"n"`, "is not the result that its name stands for"}, // also in the inputs
		{`"weights": 10`, `"weights": 0`, "is not the result"},
		{`"bytes": 1`, `"bytes": -1`, "is not the result"},
		{`"kl_mean": 0.1`, `"kl_mean": 0.3`, "is not the result"},
		{`"digest": "`, `"digest": "0`, "is not the result"},
		{`"schema": 1`, `"schema": 2`, "schema 2"},
		{`"tokens"`, `"tokenz"`, "tokenz"},
		{`"tokens": 5`, `"tokens": "5"`, "cannot unmarshal"},
		{`"tool": ""`, `"tool": "", "tool": ""`, "tool"},
		{"}\n", "", "byte"},
		{`"tool": ""`, `"tool": "` + strings.Repeat("x", MaxResult) + `"`, "larger than 1048576"},
	} {
		damaged := strings.Replace(strings.Replace(string(text), c.from, c.to, 2), c.from, c.to, 1)
		if err := os.WriteFile(f.file(name), []byte(damaged), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := f.All()
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), name) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v, want %s", c.to, err, c.want)
		}
	}
	at := strings.LastIndex(string(text), `,`+"\n  \"digest\"")
	if err := os.WriteFile(f.file(name), []byte(string(text)[:at]+"\n}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Read(name); err != nil {
		t.Errorf("a result of an early version: %v", err)
	}
	if err := os.WriteFile(f.file(name), append(text, strings.Repeat(" ", MaxResult-len(text))...), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Read(name); err != nil {
		t.Errorf("a result of MaxResult bytes: %v", err)
	}
}

// Results of one model are one curve, whose holes are noted; one name of two things is told apart.
func TestCurves(t *testing.T) {
	again := result("b", "small", "x")
	again.Inputs.Text = facts.Facts{{"name", "another x"}}
	c := CurvesOf("f", []*Result{result("b", "small", "x"), result("b", "larger", "x"), again, result("a", "small", "x")}, nil)
	if len(c.Models) != 2 || c.Models[0].Model != "a" || c.Models[0].Prefix != "a-" || len(c.Models[0].Notes) != 0 {
		t.Fatalf("%+v", c.Models)
	}
	b := c.Models[1]
	if len(b.Texts) != 2 || !strings.HasPrefix(b.Texts[0].Name, "x ") || b.Texts[0].Name == b.Texts[1].Name || b.Rows[0].Name != "small" || b.Rows[1].Name != "larger" {
		t.Errorf("%+v", b)
	}
	if want := "1 of 4 combinations of recipe and text have no result yet"; len(b.Notes) != 1 || b.Notes[0] != want {
		t.Errorf("notes %q, want %s", b.Notes, want)
	}
	files, err := c.files()
	if err != nil || len(files) != 3+4 || files[0].Name != "a-curve.svg" {
		t.Errorf("%d files, %v", len(files), err)
	}
	for _, file := range files {
		if strings.Contains(string(file.Text), "NaN") {
			t.Errorf("%s has NaN", file.Name)
		}
	}
	if text := c.String(); strings.Contains(text, "NaN") || !strings.Contains(text, "larger") {
		t.Error(text)
	}
}

func TestPlan(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"models: [dir/a, {model: b.gguf, set: [x=1], drop: [y], lora: [z], recipes: [r]}]\ntexts: [t]", ""},
		{"texts: [t]", "models: name at least one"},
		{"models: [a]", "texts: name at least one"},
		{"models: [a]\ntexts: [-]", "must be a file"},
		{"models: [a, b/a]\ntexts: [t]", "two are called a"},
		{"models: [{name: a}]\ntexts: [t]", "its key is model"},
		{"models: [{model: a, recipes: [x]}]\ntexts: [t]", "no recipe called x"},
		{"models: [{model: a, nome: x}]\ntexts: [t]", "nome"},
		{"models: [{model: a, name: \"\\n\"}]\ntexts: [t]", "printable"},
		{"models: [a]\ntexts: [t]\nchunks: -1", "positive"},
		{"models: [a]\ntexts: [t.txt, u/t.md]", "two are called t"},
		{"models: [a]\ntexts: [" + strings.Repeat("t, ", MaxJobs) + "t]", "more than 4096 jobs"},
	} {
		var p Plan
		err := strictyaml.Decode([]byte(c.text), &p)
		if err == nil {
			err = p.Complete([]string{"r"})
		}
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%.60s: %v, want %s", c.text, err, c.want)
		}
		if err == nil && (p.Models[0].Name != "a" || strings.Join(p.Models[1].Overrides(), " ") != "x=1 --drop=y --lora=z" || p.Models[1].Wants("s") || !p.Models[0].Wants("s")) {
			t.Errorf("%+v", p.Models)
		}
	}
}

// A result is what its name stands for, or an error in one line.
func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"schema": 1, "inputs": {"model": [["a", "b"]]}}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		if r, err := parse("f", "0", text); r != nil || err == nil || strings.Contains(err.Error(), "\n") {
			t.Errorf("%v, %v", r, err)
		}
	})
}
