package main

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"

	"thimble"
	"thimble/cmd/thimble/internal/manual"
	"thimble/internal/strictyaml"
)

// Each visible command has a manual page that names all its options, and groff finds
// nothing wrong with it, where there is groff.
func TestManPages(t *testing.T) {
	groff, _ := exec.LookPath("groff")
	hyphens := strings.NewReplacer("-", `\-`)
	app := newApp(nil, nil)
	pages := []string{""}
	for _, cmd := range app.VisibleCommands() {
		pages = append(pages, cmd.Name)
	}
	if len(pages) < 12 {
		t.Fatalf("pages %q", pages)
	}
	for _, name := range pages {
		args := strings.Fields("man " + name)
		page := mustRun(t, args...)
		if page != mustRun(t, args...) {
			t.Errorf("%s: two pages differ", name)
		}
		title := strings.TrimSuffix("THIMBLE-"+strings.ToUpper(name), "-")
		if want := ".TH " + hyphens.Replace(title) + ` 1 "" "thimble ` + thimble.Version + `"`; !strings.HasPrefix(page, want) {
			t.Errorf("%s begins with %.60q, want %q", name, page, want)
		}
		if cmd := app.Command(name); cmd != nil {
			for _, f := range cmd.VisibleFlags() {
				if want := `\fB` + hyphens.Replace(manual.Dashed(f.Names()[0])) + `\fR`; !strings.Contains(page, want) {
					t.Errorf("the page of %s lacks %s", name, want)
				}
			}
		}
		checkRoff(t, groff, name, page)
	}
}

// checkRoff reports lines that roff would take for requests, and what groff, if its path
// is known, says about the page.
func checkRoff(t *testing.T, groff, name, page string) {
	t.Helper()
	for line := range strings.Lines(page) {
		if strings.HasPrefix(line, "'") || strings.HasPrefix(line, ".") && !regexp.MustCompile(`^\.(TH|SH|TP|PP|EX|EE)\b`).MatchString(line) {
			t.Errorf("%s: roff would take this line for a request: %q", name, line)
		}
	}
	if groff == "" {
		return
	}
	c := exec.Command(groff, "-man", "-Tascii", "-ww", "-z")
	c.Stdin = strings.NewReader(page)
	if out, err := c.CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("%s: %v: %s", name, err, out)
	}
}

// The completion scripts parse, each in its own shell where that is installed.
func TestCompletionScriptsParse(t *testing.T) {
	check := map[string][]string{
		"bash":       {"bash", "-n"},
		"zsh":        {"zsh", "-n"},
		"fish":       {"fish", "--no-execute"},
		"powershell": {"pwsh", "-NoProfile", "-File"},
	}
	if len(check) != len(manual.Shells) {
		t.Fatalf("shells %q, checks %d", manual.Shells, len(check))
	}
	for _, shell := range manual.Shells {
		script := mustRun(t, "completion", shell)
		if !strings.Contains(script, "__complete") {
			t.Errorf("%s: the script does not ask thimble", shell)
		}
		program, err := exec.LookPath(check[shell][0])
		if err != nil {
			continue
		}
		path := filepath.Join(t.TempDir(), "thimble.ps1") // PowerShell wants the extension
		if err := os.WriteFile(path, []byte(script), 0o644); err != nil {
			t.Fatal(err)
		}
		if out, err := exec.Command(program, append(check[shell][1:], path)...).CombinedOutput(); err != nil || len(out) > 0 {
			t.Errorf("%s: %v: %s", shell, err, out)
		}
	}
}

// CHANGELOG.md has a section for the present version, and the links that it uses.
func TestChangelog(t *testing.T) {
	text, err := os.ReadFile("../../CHANGELOG.md")
	if err != nil {
		t.Fatal(err)
	}
	if want := regexp.MustCompile(`(?m)^## \[` + regexp.QuoteMeta(thimble.Version) + `\] - (\d{4}-\d\d-\d\d|unreleased)$`); !want.Match(text) {
		t.Errorf("no line matches %v", want)
	}
	if !bytes.Contains(text, []byte("\n## [Unreleased]\n")) {
		t.Error("no section [Unreleased]")
	}
}

// An action is what these tests need of action.yml.
type action struct {
	Name        string
	Description string
	Inputs      map[string]struct {
		Description, Default string
		Required             bool
	}
	Outputs map[string]struct{ Description, Value string }
	Runs    struct {
		Using string
		Steps []struct {
			Name, ID, If, Shell, Run string
			Env                      map[string]string
		}
	}
	Branding map[string]string
}

// readAction returns action.yml and the scripts of its two steps.
func readAction(t *testing.T) (a action, install, verify string) {
	t.Helper()
	text, err := os.ReadFile("../../action.yml")
	if err != nil {
		t.Fatal(err)
	}
	if err := strictyaml.Decode(text, &a); err != nil {
		t.Fatal(err)
	}
	if a.Runs.Using != "composite" || len(a.Runs.Steps) != 2 {
		t.Fatalf("using %q, %d steps", a.Runs.Using, len(a.Runs.Steps))
	}
	return a, a.Runs.Steps[0].Run, a.Runs.Steps[1].Run
}

// Each input of the action reaches a step through its environment, where a shell does not
// execute it, and each flag that the steps use exists.
func TestActionInputs(t *testing.T) {
	a, install, verify := readAction(t)
	used := map[string]bool{}
	for _, step := range a.Runs.Steps {
		for name, value := range step.Env {
			if m := regexp.MustCompile(`^\$\{\{ inputs\.([a-z]+) \}\}$`).FindStringSubmatch(value); m != nil {
				used[m[1]] = true
			}
			if !regexp.MustCompile(`\$\{?` + name + `\b`).MatchString(step.Run) {
				t.Errorf("step %q does not use %s", step.Name, name)
			}
		}
	}
	for name := range a.Inputs {
		if !used[name] {
			t.Errorf("no step uses the input %s", name)
		}
	}
	if len(used) != len(a.Inputs) || len(used) < 8 {
		t.Errorf("%d inputs, the steps use %d", len(a.Inputs), len(used))
	}
	doc, err := os.ReadFile("../../docs/CI.md")
	if err != nil {
		t.Fatal(err)
	}
	example := regexp.MustCompile(`(?s)thimble@v[^\n]*\n +with:\n(.*?)\x60{3}`).FindSubmatch(doc)
	if example == nil {
		t.Fatal("docs/CI.md does not use the action")
	}
	for _, key := range regexp.MustCompile(`(?m)^ +([a-z]+):`).FindAllSubmatch(example[1], -1) {
		if _, ok := a.Inputs[string(key[1])]; !ok {
			t.Errorf("docs/CI.md sets %s, which is no input of the action", key[1])
		}
	}
	if strings.Contains(install+verify, "${{") {
		t.Error("a script contains an expression: a value of an input could be a command")
	}
	known := manual.LongNames(newApp(nil, nil).Command("verify").Flags)
	flags := regexp.MustCompile(`--([a-z-]+)`).FindAllStringSubmatch(verify, -1)
	for _, f := range flags {
		if !slices.Contains(known, f[1]) {
			t.Errorf("thimble verify has no --%s", f[1])
		}
	}
	if len(flags) < 8 {
		t.Errorf("%d flags", len(flags))
	}
}

// runStep runs the script of a step of the action as a runner does. It returns the exit
// status and what was printed.
func runStep(t *testing.T, script string, env ...string) (code int, out string) {
	t.Helper()
	c := exec.Command("bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script)
	c.Env = append(os.Environ(), env...)
	text, err := c.CombinedOutput()
	if c.ProcessState == nil {
		t.Fatal(err)
	}
	return c.ProcessState.ExitCode(), string(text)
}

// The action installs an archive with the right digest and no other.
func TestActionInstalls(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("needs a Unix shell and tar")
	}
	_, install, _ := readAction(t)
	releases, bin := t.TempDir(), t.TempDir()
	release := filepath.Join(releases, "v1.2.3")
	write := func(path, text string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	write(filepath.Join(bin, "curl"), "#!/bin/sh\nwhile [ $# -gt 1 ]; do [ \"$1\" = --output ] && out=$2; shift; done\ncp \"$1\" \"$out\"\n")
	write(filepath.Join(release, "thimble"), "#!/bin/sh\necho thimble version 1.2.3\n")
	const name = "thimble_1.2.3_linux_arm64.tar.gz"
	if out, err := exec.Command("tar", "-C", release, "-czf", filepath.Join(release, name), "thimble").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	archive, err := os.ReadFile(filepath.Join(release, name))
	if err != nil {
		t.Fatal(err)
	}
	sums := fmt.Sprintf("%064d  other.tar.gz\n%x  %s\n", 0, sha256.Sum256(archive), name)
	right := fmt.Sprintf("%x", sha256.Sum256([]byte(sums)))
	for _, c := range []struct {
		sums, version, checksum, arch string
		code                          int
		says                          string
	}{
		{sums, "1.2.3", "", "ARM64", 0, "thimble version 1.2.3"},
		{sums, "v1.2.3", right, "ARM64", 0, "thimble version 1.2.3"},
		{sums, "1.2.3", strings.Repeat("0", 64), "ARM64", 2, "::error::SHA256SUMS of thimble 1.2.3 has the digest " + right},
		{strings.ReplaceAll(sums, "  "+name, "  another"), "1.2.3", "", "ARM64", 2, "SHA256SUMS says nothing"},
		{fmt.Sprintf("%064d  %s\n", 0, name), "1.2.3", "", "ARM64", 2, "SHA256SUMS says 0000"},
		{sums, "1.2.3", "", "RISCV64", 2, "::error::there is no release of thimble for RISCV64"},
		{sums, "1.2.4", "", "ARM64", 1, "No such file"},
	} {
		write(filepath.Join(release, "SHA256SUMS"), c.sums)
		temp := t.TempDir()
		output, path := filepath.Join(temp, "output"), filepath.Join(temp, "path")
		code, out := runStep(t, install, "PATH="+bin+":"+os.Getenv("PATH"), "VERSION="+c.version, "CHECKSUM="+c.checksum, "RELEASES="+releases,
			"RUNNER_OS=Linux", "RUNNER_ARCH="+c.arch, "RUNNER_TEMP="+temp, "GITHUB_OUTPUT="+output, "GITHUB_PATH="+path)
		if code != c.code || !strings.Contains(out, c.says) {
			t.Errorf("%+v: exit %d: %s", c, code, out)
		}
		if got, _ := os.ReadFile(path); (len(got) > 0) != (c.code == 0) {
			t.Errorf("%+v: the path has %q", c, got)
		}
	}
}

// The action's verdict is that of verify: the project's own model passes the project's
// policy, and a coarser one does not.
func TestActionVerifies(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("needs a Unix shell")
	}
	program, err := exec.LookPath("thimble")
	if err != nil {
		t.Fatal(err)
	}
	_, _, verify := readAction(t)
	dir := t.TempDir()
	fixture := "../../fixtures/trained"
	for scheme, want := range map[string]int{"int4/g32": exitDone, "int3/g32": exitRefused} {
		model, summary, report := filepath.Join(dir, "my model"), filepath.Join(dir, "summary"), filepath.Join(dir, "report.json")
		mustRun(t, "quantize", fixture, "-o", model, "--force", "--scheme", scheme, "--embedding", "int8/g32")
		code, out := runStep(t, verify, "THIMBLE="+program, "MODEL="+model, "POLICY=../../.ci/policy.yaml", "REFERENCE=", "AGAINST="+fixture,
			"TEXT="+fixture+"/heldout.txt", "CONTEXT=64", "CHUNKS=16", "BASELINE=../../.ci/baseline.json", "REPORT="+report, "GITHUB_STEP_SUMMARY="+summary)
		text, _ := os.ReadFile(summary)
		if code != want || !bytes.Contains(text, []byte("kl_mean")) {
			t.Errorf("%s: exit %d: %s%s", scheme, code, out, text)
		}
		if _, err := os.Stat(report); err != nil {
			t.Error(err)
		}
		os.Remove(summary)
	}
}

// The release has static binaries for three systems on two processors, and its tools have
// one version wherever they are named.
func TestReleaseConfig(t *testing.T) {
	read := func(path string) string {
		t.Helper()
		text, err := os.ReadFile("../../" + path)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	config := read(".goreleaser.yaml")
	var c map[string]any
	if err := strictyaml.Decode([]byte(config), &c); err != nil {
		t.Fatal(err)
	}
	build := c["builds"].([]any)[0].(map[string]any)
	for key, want := range map[string]string{
		"goos": "[linux darwin windows]", "goarch": "[amd64 arm64]", "env": "[CGO_ENABLED=0]", "mod_timestamp": "{{ .CommitTimestamp }}", "main": "./cmd/thimble",
	} {
		if got := fmt.Sprint(build[key]); got != want {
			t.Errorf("%s: %s, want %s", key, got, want)
		}
	}
	for tool, files := range map[string][]string{
		"goreleaser":      {"CONTRIBUTING.md", "docs/DEPENDENCIES.md"},
		"cyclonedx-gomod": {".goreleaser.yaml", "docs/DEPENDENCIES.md"},
	} {
		versions := map[string]bool{}
		for _, file := range files {
			found := regexp.MustCompile(tool+"(?:/v2)?`?[@ ](v[0-9.]+[0-9])").FindAllStringSubmatch(read(file), -1)
			if len(found) == 0 {
				t.Errorf("%s names no version of %s", file, tool)
			}
			for _, m := range found {
				versions[m[1]] = true
			}
		}
		if len(versions) != 1 {
			t.Errorf("%s has the versions %v", tool, versions)
		}
	}
	// The image runs the program that is copied into it.
	image := read("cmd/thimble/Dockerfile")
	copied := regexp.MustCompile(`(?m)^COPY \$\{TARGETPLATFORM\}/thimble (\S+)$`).FindStringSubmatch(image)
	if copied == nil || !strings.Contains(image, "\nFROM scratch\nARG TARGETPLATFORM\n") || !strings.Contains(image, fmt.Sprintf("\nENTRYPOINT [%q]\n", copied[1])) {
		t.Errorf("the image:\n%s", image)
	}
	if !strings.Contains(config, "dockerfile: cmd/thimble/Dockerfile") {
		t.Error(".goreleaser.yaml does not use cmd/thimble/Dockerfile")
	}
}
