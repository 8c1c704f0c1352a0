package thimble_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// The program of README.md compiles and runs in a separate module, which refers to
// this one with a replace directive.
func TestOutsideModule(t *testing.T) {
	if testing.Short() {
		t.Skip("the test compiles a second module")
	}
	project, err := filepath.Abs(".")
	if err != nil {
		t.Fatal(err)
	}
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	program := regexp.MustCompile("(?ms)^```go\n(package main.*?)^```").FindSubmatch(readme)
	if program == nil {
		t.Fatal("README.md has no program")
	}
	dir := t.TempDir()
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	ours, err := os.ReadFile("go.mod")
	if err != nil {
		t.Fatal(err)
	}
	_, requires, _ := strings.Cut(string(ours), "\nrequire ")
	sums, err := os.ReadFile("go.sum")
	if err != nil {
		t.Fatal(err)
	}
	write("go.mod", "module outside\n\ngo 1.26\n\nrequire thimble v0.0.0\n\nreplace thimble => "+project+"\n\nrequire "+requires)
	write("go.sum", string(sums))
	write("main.go", string(program[1]))
	for name, target := range map[string]string{"SmolLM2-135M": "fixtures/trained", "test.txt": "fixtures/trained/heldout.txt"} {
		if err := os.Symlink(filepath.Join(project, filepath.FromSlash(target)), filepath.Join(dir, name)); err != nil {
			t.Skip("this system does not support symbolic links")
		}
	}
	cmd := exec.Command("go", "run", ".")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOFLAGS=-mod=mod", "GOPROXY=off", "GOWORK=off")
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "bits per weight, KL 0.") {
		t.Errorf("%v\n%s", err, out)
	}
}
