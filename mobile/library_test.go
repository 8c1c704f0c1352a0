package mobile_test

import (
	"bytes"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"thimble"
	"thimble/mobile"
)

var library = flag.Bool("library", false, "also build and run the C library")

// model writes a container of the trained fixture in 4 bits, with a chat template.
func model(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	const fixture = "../fixtures/trained"
	entries, err := os.ReadDir(fixture)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		data, err := os.ReadFile(filepath.Join(fixture, e.Name()))
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, e.Name()), data, 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	const template = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}{% if add_generation_prompt %}assistant: {% endif %}"
	if err := os.WriteFile(filepath.Join(dir, "chat_template.jinja"), []byte(template), 0o644); err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(dir, "trained.thimble")
	if _, err := thimble.Quantize(t.Context(), thimble.QuantizeOptions{Model: dir, Output: out, Recipe: thimble.Recipe{Scheme: "int4/g32"}}); err != nil {
		t.Fatal(err)
	}
	return out
}

// answer returns all of an answer.
func answer(t *testing.T, c *mobile.Chat) string {
	t.Helper()
	var b strings.Builder
	for {
		text, err := c.Next()
		if err != nil {
			t.Fatal(err)
		}
		if text == "" {
			return b.String()
		}
		b.WriteString(text)
	}
}

const (
	prompt   = "A goroutine is"
	question = "What is a goroutine, Zoë?"
)

// answers returns a continuation of prompt and an answer to question, in Go.
func answers(t *testing.T, path string) (continued, said string) {
	t.Helper()
	m, err := mobile.Open(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	s := m.DefaultSettings()
	s.MaxTokens = 40
	c, err := m.NewChat(s)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Continue(prompt); err != nil {
		t.Fatal(err)
	}
	continued = answer(t, c)
	if err := c.Say(question); err != nil {
		t.Fatal(err)
	}
	return continued, answer(t, c)
}

// A continuation is that of thimble run.
func TestContinue(t *testing.T) {
	path := model(t)
	continued, said := answers(t, path)
	want, err := thimble.Generate(t.Context(), thimble.GenerateOptions{Model: path, Prompt: prompt, Tokens: 40, Integers: true})
	if err != nil || continued != want.Text {
		t.Errorf("%q, want %q, %v", continued, want.Text, err)
	}
	templated := "user: " + question + "\nassistant: "
	want, err = thimble.Generate(t.Context(), thimble.GenerateOptions{Model: path, Prompt: templated, Tokens: 40, Integers: true})
	if err != nil || said != want.Text {
		t.Errorf("%q, want %q, %v", said, want.Text, err)
	}
}

// A C program gets the same texts from the library, on each processor for which there is a
// compiler and, if it is another one's, an emulator.
func TestLibrary(t *testing.T) {
	if !*library {
		t.Skip("builds C libraries, which takes a minute: go test ./mobile -library")
	}
	path := model(t)
	continued, said := answers(t, path)
	for _, target := range []struct {
		arch, mode string
		cc, run    []string
	}{
		{runtime.GOARCH, "c-shared", []string{"gcc"}, nil},
		{"arm64", "c-archive", []string{"aarch64-linux-gnu-gcc", "-static"}, []string{"qemu-aarch64"}},
	} {
		t.Run(target.arch+" "+target.mode, func(t *testing.T) {
			if runtime.GOOS != "linux" {
				t.Skip("the commands are those of Linux")
			}
			for _, program := range append(target.run, target.cc[0]) {
				if _, err := exec.LookPath(program); err != nil {
					t.Skipf("%s is not installed", program)
				}
			}
			dir := t.TempDir()
			file := filepath.Join(dir, map[string]string{"c-shared": "libthimble.so", "c-archive": "libthimble.a"}[target.mode])
			build := exec.Command("go", "build", "-buildmode="+target.mode, "-ldflags=-s -w", "-o", file, "../cmd/libthimble")
			build.Env = append(os.Environ(), "CGO_ENABLED=1", "GOARCH="+target.arch, "CC="+target.cc[0])
			output(t, build)
			program := filepath.Join(dir, "answer")
			output(t, exec.Command(target.cc[0], append(target.cc[1:], "-Wall", "-Wextra", "-Werror", "-I../cmd/libthimble", "-o", program,
				"testdata/answer.c", file, "-lpthread", "-Wl,-rpath,"+dir)...))
			run := append(append([]string{}, target.run...), program, path)
			for _, tt := range []struct{ verb, text, want string }{{"continue", prompt, continued}, {"say", question, said}} {
				for _, size := range []string{"8", "4096"} {
					args := append(append([]string{}, run[1:]...), tt.verb, tt.text, "40", size)
					if got := output(t, exec.Command(run[0], args...)); got != tt.want {
						t.Errorf("%s with %s bytes: %q, want %q", tt.verb, size, got, tt.want)
					}
				}
			}
		})
	}
}

// output returns what a command that must succeed writes.
func output(t *testing.T, cmd *exec.Cmd) string {
	t.Helper()
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v: %v\n%s", cmd.Args, err, stderr.String())
	}
	return stdout.String()
}
