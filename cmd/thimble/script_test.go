package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"thimble/internal/memory"
	"thimble/internal/units"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"thimble": calm, "thimble-on-terminal": main})
}

// calm is main without progress, which depends on the speed of the machine.
func calm() {
	memory.LimitGarbage()
	code := run(os.Args, os.Stdout, struct{ io.Writer }{os.Stderr})
	os.Exit(code)
}

// TestScripts runs testdata/script. It adds the commands fails, json and flip to
// testscript's own.
func TestScripts(t *testing.T) {
	fixtures, err := filepath.Abs("../../fixtures")
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		Setup: func(e *testscript.Env) error {
			e.Setenv("FIXTURES", fixtures)
			return nil
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"fails": fails, "json": jsonDocument, "flip": flip, "least": least, "within": within,
		},
	})
}

// least FILE sets $LEAST to the bound on memory that an error in FILE recommends.
func least(ts *testscript.TestScript, _ bool, args []string) {
	found := regexp.MustCompile(`use --max-mem (\S+) or more`).FindStringSubmatch(ts.ReadFile(args[0]))
	if found == nil {
		ts.Fatalf("%s recommends no bound", args[0])
	}
	ts.Setenv("LEAST", found[1])
}

// within SIZE requires that the peak of memory in the JSON on standard output, if the system
// tells it, is at most SIZE.
func within(ts *testscript.TestScript, _ bool, args []string) {
	var report struct {
		Peak int64 `json:"peak_resident_bytes"`
	}
	ts.Check(json.Unmarshal([]byte(ts.ReadFile("stdout")), &report))
	bound, err := units.ParseSize(args[0])
	ts.Check(err)
	if report.Peak > bound || report.Peak == 0 && runtime.GOOS == "linux" {
		ts.Fatalf("the peak is %d bytes, the bound %d", report.Peak, bound)
	}
}

// fails N PROGRAM ARG... requires exit status N, and for N = 2 a one-line error.
func fails(ts *testscript.TestScript, _ bool, args []string) {
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != want {
		ts.Fatalf("%v, want exit status %d", err, want)
	}
	if want == exitFailed {
		if err := oneComplaint(ts.ReadFile("stderr")); err != nil {
			ts.Fatalf("%v", err)
		}
	}
}

// oneComplaint returns an error unless stderr is one line without control characters
// that begins with the name of the program.
func oneComplaint(stderr string) error {
	line, ended := strings.CutSuffix(stderr, "\n")
	switch {
	case !ended || strings.Contains(line, "\n"):
		return fmt.Errorf("not one line of error: %q", stderr)
	case !strings.HasPrefix(line, "thimble: "):
		return fmt.Errorf("the error does not name the program: %q", line)
	case strings.ContainsFunc(line, func(r rune) bool { return r < ' ' }):
		return fmt.Errorf("control characters in %q", line)
	case strings.Contains(line, "panic") || strings.Contains(line, "goroutine"):
		return fmt.Errorf("a panic: %q", line)
	}
	return nil
}

// json FILE KEY VALUE ... requires FILE, which may be stdout, to be one JSON document
// with the given values. KEY is a path such as model.bytes or rows.0.name, VALUE is
// JSON.
func jsonDocument(ts *testscript.TestScript, _ bool, args []string) {
	d := json.NewDecoder(strings.NewReader(ts.ReadFile(args[0])))
	d.UseNumber()
	var doc any
	ts.Check(d.Decode(&doc))
	if _, err := d.Token(); err != io.EOF {
		ts.Fatalf("%s has something after its JSON document", args[0])
	}
	for i := 1; i+1 < len(args); i += 2 {
		value := doc
		for key := range strings.SplitSeq(args[i], ".") {
			switch v := value.(type) {
			case map[string]any:
				value = v[key]
			case []any:
				n, err := strconv.Atoi(key)
				ts.Check(err)
				value = v[n]
			default:
				ts.Fatalf("%s: there is no %s", args[i], key)
			}
		}
		var got bytes.Buffer
		e := json.NewEncoder(&got)
		e.SetEscapeHTML(false)
		ts.Check(e.Encode(value))
		if text := strings.TrimSpace(got.String()); text != args[i+1] {
			ts.Fatalf("%s is %s, want %s", args[i], text, args[i+1])
		}
	}
}

// flip FILE OFFSET flips one bit; a negative offset counts from the end.
func flip(ts *testscript.TestScript, _ bool, args []string) {
	path := ts.MkAbs(args[0])
	at, err := strconv.Atoi(args[1])
	ts.Check(err)
	data, err := os.ReadFile(path)
	ts.Check(err)
	if at < 0 {
		at += len(data)
	}
	data[at] ^= 1
	ts.Check(os.WriteFile(path, data, 0o644))
}
