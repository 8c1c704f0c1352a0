package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/urfave/cli/v2"

	"thimble/cmd/thimble/internal/manual"
	container "thimble/format/thimble"
	"thimble/internal/textwrap"
)

// thimbleRun runs a command line in this process.
func thimbleRun(args ...string) (code int, stdout, stderr string) {
	os.Unsetenv("GITHUB_ACTIONS") // these tests may run there, and must not annotate
	var out, errs bytes.Buffer
	code = run(append([]string{"thimble"}, args...), &out, &errs)
	return code, out.String(), errs.String()
}

func mustRun(t *testing.T, args ...string) string {
	t.Helper()
	code, stdout, stderr := thimbleRun(args...)
	if code != exitDone || stderr != "" {
		t.Fatalf("thimble %s: exit %d\n%s%s", strings.Join(args, " "), code, stdout, stderr)
	}
	return stdout
}

// Quantizing a converted container gives the same tensors as quantizing the
// checkpoint.
func TestRequantize(t *testing.T) {
	src, dir := "../../fixtures/llama-tied", t.TempDir()
	floats, first, again := filepath.Join(dir, "floats"), filepath.Join(dir, "first"), filepath.Join(dir, "again")
	mustRun(t, "convert", src, "-o", floats)
	mustRun(t, "quantize", src, "-o", first, "--scheme", "int4/g32", "--embedding", "int8/g32")
	mustRun(t, "quantize", floats, "-o", again, "--scheme", "int4/g32", "--embedding", "int8/g32")
	want, err := container.Inspect(first)
	if err != nil {
		t.Fatal(err)
	}
	got, err := container.Inspect(again)
	if err != nil {
		t.Fatal(err)
	}
	digests := func(info *container.Info) (all []string) {
		for _, x := range info.Tensors {
			all = append(all, x.Name+" "+x.Scheme+" "+string(x.SHA256[:]))
		}
		return all
	}
	if diff := cmp.Diff(digests(want), digests(got)); diff != "" {
		t.Error(diff)
	}
	// Its provenance lists the checkpoint's files and the container.
	var names []string
	for _, s := range got.Provenance.Sources {
		names = append(names, s.Name)
	}
	if want := []string{"model.safetensors", "config.json", "tokenizer.json", "tokenizer_config.json", "floats"}; !slices.Equal(names, want) {
		t.Errorf("sources %q, want %q", names, want)
	}
}

// convert and inspect print the SHA-256 of the header, as sections 2 and 3 of
// docs/FORMAT.md define it.
func TestHeaderDigest(t *testing.T) {
	out := filepath.Join(t.TempDir(), "o")
	converted := mustRun(t, "convert", "../../fixtures/llama-tied", "-o", out)
	raw, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	header := raw[72:][:binary.LittleEndian.Uint32(raw[12:])]
	want := fmt.Sprintf("%x\n", sha256.Sum256(header))
	if inspected := mustRun(t, "inspect", out); !strings.Contains(converted, "header sha256 "+want) || !strings.Contains(inspected, "  header sha256 "+want) {
		t.Errorf("want %q in each of\n%s\n%s", want, converted, inspected)
	}
}

// Help fits in 80 columns, and the page of a command explains each of its flags.
func TestHelp(t *testing.T) {
	pages := []string{mustRun(t, "--help")}
	app := newApp(nil, nil)
	for _, cmd := range app.Commands {
		if cmd.Hidden {
			continue
		}
		page := mustRun(t, "help", cmd.Name)
		pages = append(pages, page)
		if first, _, _ := strings.Cut(page, "\noptions:\n"); strings.Count(first, "\n\n") > 2 || strings.Contains(first, "\nExamples:\n") {
			t.Errorf("%s: more than a paragraph comes before the options", cmd.Name)
		}
		for _, f := range cmd.Flags {
			doc := f.(cli.DocGenerationFlag)
			if !strings.Contains(page, "--"+f.Names()[0]) || doc.GetUsage() == "" {
				t.Errorf("%s: --%s is not explained", cmd.Name, f.Names()[0])
			}
			if doc.TakesValue() != strings.Contains(doc.GetUsage(), "`") {
				t.Errorf("%s: --%s does not name its value", cmd.Name, f.Names()[0])
			}
		}
	}
	for _, page := range pages {
		for line := range strings.Lines(page) {
			if len(line)-1 > textwrap.TerminalWidth || strings.TrimRight(line, " \n") != line[:len(line)-1] {
				t.Errorf("%d columns: %q", len(line)-1, line)
			}
		}
	}
}

// Each example in a help page is a command line that the flags accept.
func TestExamples(t *testing.T) {
	app := newApp(nil, nil)
	for _, cmd := range append(app.Commands, &cli.Command{Description: app.Description}) {
		text := strings.ReplaceAll(cmd.Description, "\\\n", "")
		for line := range strings.Lines(text) {
			line, found := strings.CutPrefix(strings.TrimSpace(line), "thimble ")
			if !found {
				continue
			}
			name, _, _ := strings.Cut(line, " ")
			target := app.Command(name)
			if target == nil {
				t.Errorf("there is no command in %q", line)
				continue
			}
			line, _, _ = strings.Cut(line, " | ")
			for word := range strings.FieldsSeq(line) {
				if flag := strings.TrimLeft(word, "-"); flag != word && flag != "" && manual.FlagNamed(target, flag) == nil {
					t.Errorf("there is no %s in %q", word, line)
				}
			}
		}
	}
}

func TestFlagsFirst(t *testing.T) {
	app := newApp(nil, nil)
	for _, c := range []struct{ args, want string }{
		{"", ""},
		{"inspect m --check", "inspect --check -- m"},
		{"run m -p x -n 5", "run -p x -n 5 -- m"},
		{"run -p x m -n=5", "run -p x -n=5 -- m"},
		{"run m -p - -n -5", "run -p - -n -5 -- m"},
		{"run m -p", "run -p -- m"},
		{"inspect -- --check", "inspect -- --check"},
		{"inspect m -- --check", "inspect -- m --check"},
		{"nope m --check", "nope m --check"},
		{"nope inspect", "nope inspect"},
		{"--json inspect m", "inspect --json -- m"},
		{"--scheme int8/g32 quantize m", "quantize --scheme int8/g32 -- m"},
		{"--help quantize", "quantize --help"},
		{"--version", "--version"},
		{"inspect m -h --check", "inspect --help"},
		{"run m -p -h", "run -p -h -- m"},
		{"__complete inspect --ch", "__complete inspect --ch"},
	} {
		args := append([]string{"thimble"}, strings.Fields(c.args)...)
		got := flagsFirst(app, args)
		if diff := cmp.Diff(args, append([]string{"thimble"}, strings.Fields(c.args)...)); diff != "" {
			t.Error("flagsFirst changed its arguments: ", diff)
		}
		if text := strings.Join(got[1:], " "); text != c.want {
			t.Errorf("%q became %q, want %q", c.args, text, c.want)
		}
	}
}

// A comma is part of a prompt; it does not separate two.
func TestCommas(t *testing.T) {
	out := filepath.Join(t.TempDir(), "ref")
	text := mustRun(t, "logits", "../../fixtures/llama-tied", "-o", out, "-p", "Hello, world")
	if !strings.Contains(text, "prompts 1,") {
		t.Error(text)
	}
}

// JSON output is not escaped for HTML.
func TestNoEscapes(t *testing.T) {
	_, stdout, _ := thimbleRun("verify", "../../fixtures/llama-tied", "--reference", "../../fixtures/llama-tied/reference.safetensors", "--json")
	if !strings.Contains(stdout, `"op": "<="`) {
		t.Error(stdout)
	}
}

// A fullDisk is a standard output redirected to a full disk.
type fullDisk struct{}

func (fullDisk) Write([]byte) (int, error) { return 0, syscall.ENOSPC }

func TestFullDisk(t *testing.T) {
	out := filepath.Join(t.TempDir(), "out")
	var errs bytes.Buffer
	if code := run([]string{"thimble", "convert", "../../fixtures/llama-tied", "-o", out}, fullDisk{}, &errs); code != exitFailed {
		t.Errorf("exit %d", code)
	}
	if err := oneComplaint(errs.String()); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(out); err == nil {
		t.Error("the failed run left an output")
	}
}

// An error of the system is without the name of its call, and says what to do.
func TestSystemErrors(t *testing.T) {
	for err, want := range map[error]string{
		syscall.EACCES: "x: a: permission denied; ask its owner",
		syscall.ENOSPC: "x: a: no space left on device; delete something on that disk",
		syscall.EISDIR: "x: a: is a directory",
	} {
		if got := withoutCall(fmt.Errorf("x: %w", &fs.PathError{Op: "open", Path: "a", Err: err})); !strings.HasPrefix(got, want) {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
