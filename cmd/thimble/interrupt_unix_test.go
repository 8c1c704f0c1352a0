//go:build unix

package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// wideCheckpoint writes a checkpoint whose large head and embedding keep every command
// busy, and returns its path.
func wideCheckpoint(t *testing.T) string {
	const rows, cols = 200_000, 64
	h := goodCheckpoint(t)
	h.config["vocab_size"] = rows
	data := make([]byte, 2*rows*cols)
	for i := range data {
		data[i] = byte(i * i >> 3)
		if i%2 == 1 {
			data[i] = 0x3c | data[i]&0x80 // bfloat16 of about 0.01
		}
	}
	h.tensors["model.embed_tokens.weight"] = tensor{DType: "BF16", Shape: []int{rows, cols}, data: data}
	return h.write(t)
}

// When a command is interrupted.
const (
	afterStart  = iota // when it handles signals: it would take minutes, or wait forever
	afterFile          // as soon as there is a temporary file
	afterOutput        // as soon as it prints something
)

// An interrupt ends any command with at most a second of work, with one line, and leaves no files.
func TestInterrupt(t *testing.T) {
	model := wideCheckpoint(t)
	text, err := filepath.Abs("../../fixtures/trained/heldout.txt")
	if err != nil {
		t.Fatal(err)
	}
	rows := filepath.Join(t.TempDir(), "rows.yaml")
	if err := os.WriteFile(rows, []byte("[{scheme: int4/g32/asym, calib: false}]"), 0o644); err != nil {
		t.Fatal(err)
	}
	fifo := filepath.Join(t.TempDir(), "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		when int
		args string
	}{
		{afterFile, "quantize MODEL -o out --scheme int4/g32/asym"},
		{afterFile, "logits MODEL -o out --context 256 --text " + text},
		{afterFile, "demo"},
		{afterFile, "curve MODEL -o out --keep --context 64 --chunks 1 --text " + text + " --rows " + rows},
		{afterStart, "curve MODEL -o out --context 64 --chunks 1 --text " + text},
		{afterOutput, "run MODEL -p x -n 200 --temperature 100"},
		{afterStart, "verify MODEL --context 256 --text " + text},
		{afterStart, "verify MODEL --context 256 --against MODEL --text " + text},
		{afterStart, "bench MODEL --runs 10000000"},
		{afterStart, "verify MODEL --context 64 --text " + fifo},
		{afterStart, "run MODEL -p -"},
		{afterStart, "tokenize MODEL --jsonl"},
		{afterStart, "quantize MODEL -o out --recipe -"},
	} {
		t.Run(strings.ReplaceAll(c.args, "/", " "), func(t *testing.T) {
			args := strings.Fields(strings.ReplaceAll(c.args, "MODEL", model))
			wait := 500 * time.Millisecond
			err := interrupt(t, c.when, wait, args)
			for wait < time.Minute && beforeHandled(err) {
				wait *= 2
				err = interrupt(t, c.when, wait, args)
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
}

// An endError is another end of an interrupted command than the one that it should have.
type endError struct {
	err    error
	stderr string
}

func (e *endError) Error() string { return fmt.Sprintf("%v, %q", e.err, e.stderr) }

// beforeHandled reports whether the signal itself ended a command, which did not handle it yet.
func beforeHandled(err error) bool {
	var exit *exec.ExitError
	if e := new(endError); !errors.As(err, &e) || !errors.As(e.err, &exit) {
		return false
	}
	return exit.Sys().(syscall.WaitStatus).Signaled()
}

// interrupt runs thimble with args and interrupts it, afterStart when it has run for wait.
func interrupt(t *testing.T, when int, wait time.Duration, args []string) error {
	dir := t.TempDir()
	cmd := exec.Command("thimble", args...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "TMPDIR="+dir, "GOMAXPROCS=1")
	var stderr strings.Builder
	cmd.Stderr = &stderr
	stdin, err := cmd.StdinPipe() // stays open: reading it waits
	if err != nil {
		t.Fatal(err)
	}
	defer stdin.Close()
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	started := time.Now()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	switch when {
	case afterFile:
		waitForFile(t, dir)
	case afterOutput:
		if _, err := stdout.Read(make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
	default:
		time.Sleep(wait)
	}
	go io.Copy(io.Discard, stdout)
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	before := time.Since(started)
	err = cmd.Wait()
	// On a busy machine a second of work takes longer. A command worked for at most the time
	// until the interrupt, so what is beyond that came after it.
	worked, after := cmd.ProcessState.UserTime()+cmd.ProcessState.SystemTime(), time.Since(started)-before
	if worked > before+time.Second || after > 5*time.Minute {
		t.Errorf("interrupted after %v, ended %v later with %v of work", before, after, worked)
	}
	t.Logf("interrupted after %v, ended %v later", before, after)
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != exitFailed || stderr.String() != "thimble: interrupted, no output was written\n" {
		return &endError{err, stderr.String()}
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) > 0 {
		return fmt.Errorf("leftover files: %v, %v", left, err)
	}
	return nil
}

// waitForFile waits until dir contains a file.
func waitForFile(t *testing.T, dir string) {
	for begun := time.Now(); time.Since(begun) < 5*time.Minute; time.Sleep(time.Millisecond) {
		if found, err := os.ReadDir(dir); err != nil || len(found) > 0 {
			return
		}
	}
	t.Fatal("the command has written no file in 5 minutes")
}

// Commands refuse a fifo as a model, because opening it would block until something
// writes to it.
func TestFifo(t *testing.T) {
	dir := t.TempDir()
	fifo := filepath.Join(dir, "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"inspect", fifo}, {"tokenize", fifo, "-p", "x"}, {"convert", fifo, "-o", filepath.Join(dir, "out")}} {
		code, _, stderr := thimbleRun(args...)
		refused(t, code, stderr, []string{"not a regular file"})
	}
	if err := os.Rename(fifo, filepath.Join(dir, "tokenizer.json")); err != nil {
		t.Fatal(err)
	}
	code, _, stderr := thimbleRun("tokenize", filepath.Join(dir, "tokenizer.json"), "-p", "x")
	refused(t, code, stderr, []string{"not a regular file"})
}
