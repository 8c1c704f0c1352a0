//go:build unix

package main

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"thimble"

	"github.com/fxamacker/cbor/v2"

	"thimble/internal/journal"
)

const longText = "../../fixtures/trained/calibration.txt"

// longRun returns the arguments, except -o, of a calibrated run with a budget, which
// takes a second or more.
func longRun(more ...string) []string {
	return append([]string{"quantize", "../../fixtures/trained", "--calib", longText, "--calib-tokens", "512", "--calib-context", "128",
		"--target-bpw", "5", "--schemes", "int4/g32,int5/g32,int8/g32"}, more...)
}

// interruptedRun starts a run and sends it a signal once its journal has the given
// number of bytes. It returns the run's standard error.
func interruptedRun(t *testing.T, out string, bytes int64, signal syscall.Signal, args []string) string {
	t.Helper()
	for range 5 { // the run may finish before the signal
		cmd := exec.Command("thimble", append(args, "-o", out)...)
		var stderr strings.Builder
		cmd.Stderr = &stderr
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() { ended <- cmd.Wait() }()
		for {
			if info, err := os.Stat(out + thimble.UnfinishedSuffix); err == nil && info.Size() >= bytes {
				break
			}
			if len(ended) > 0 {
				break
			}
			time.Sleep(time.Millisecond)
		}
		cmd.Process.Signal(signal)
		if err := <-ended; err != nil {
			if _, err := os.Stat(out + thimble.UnfinishedSuffix); err != nil {
				t.Fatalf("the interrupted run kept no journal: %v, %s", err, stderr.String())
			}
			return stderr.String()
		}
		os.Remove(out)
	}
	t.Fatal("the run always finished before the signal")
	return ""
}

func sameFile(t *testing.T, a, b string) {
	t.Helper()
	x, err := os.ReadFile(a)
	if err != nil {
		t.Fatal(err)
	}
	if y, err := os.ReadFile(b); err != nil || !bytes.Equal(x, y) {
		t.Errorf("%s differs from %s, %v", b, a, err)
	}
}

// A run interrupted by Ctrl-C and then by SIGKILL resumes to the same bytes, without
// another survey.
func TestResume(t *testing.T) {
	dir := t.TempDir()
	whole, out := filepath.Join(dir, "whole"), filepath.Join(dir, "parts")
	mustRun(t, longRun("-o", whole)...)
	if _, err := os.Stat(whole + thimble.UnfinishedSuffix); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a finished run has left a journal, %v", err)
	}

	stderr := interruptedRun(t, out, 200_000, syscall.SIGINT, longRun())
	if want := "thimble: interrupted, no output was written; finished blocks are kept in " + out + ".unfinished, and the same command with --resume continues from there\n"; stderr != want {
		t.Errorf("stderr %q, want %q", stderr, want)
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 2 || left[0].Name() != "parts.unfinished" {
		t.Errorf("leftover files: %v, %v", left, err)
	}
	interruptedRun(t, out, 500_000, syscall.SIGKILL, longRun("--resume"))
	kept, err := os.ReadFile(out + thimble.UnfinishedSuffix)
	if err != nil {
		t.Fatal(err)
	}

	// A run continues the journal only with --resume and the same settings.
	refusedRuns(t, out)
	if again, err := os.ReadFile(out + thimble.UnfinishedSuffix); err != nil || !bytes.Equal(again, kept) {
		t.Errorf("a refused run has changed the journal, %v", err)
	}

	// A run does not trust a truncated or damaged last entry.
	for name, damaged := range map[string][]byte{"torn": kept[:len(kept)-5], "flipped": bitFlipped(kept, len(kept)-50)} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path+thimble.UnfinishedSuffix, damaged, 0o600); err != nil {
			t.Fatal(err)
		}
		text := mustRun(t, longRun("--resume", "-o", path)...)
		if !regexp.MustCompile(`note: resuming from block \d+ of 12: earlier blocks are in \w+.unfinished\nnote: [\d.]+ k?B at the end of \w+.unfinished are damaged or incomplete and were ignored\n`).MatchString(text) {
			t.Errorf("%s: stdout %s", name, text)
		}
		sameFile(t, whole, path)
	}

	text := mustRun(t, longRun("--resume", "-o", out)...)
	if !regexp.MustCompile(`note: resuming from block ([5-9]|1\d) of 12: earlier blocks are in parts.unfinished\n`).MatchString(text) {
		t.Errorf("stdout %s", text)
	}
	sameFile(t, whole, out)
	if _, err := os.Stat(out + thimble.UnfinishedSuffix); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the journal is still there, %v", err)
	}

	// --force starts over, with any recipe.
	if err := os.WriteFile(out+thimble.UnfinishedSuffix, kept, 0o600); err != nil {
		t.Fatal(err)
	}
	args := []string{"quantize", "../../fixtures/trained", "--calib", longText, "--calib-tokens", "512", "--calib-context", "128", "--scheme", "int4/g32"}
	mustRun(t, append(args, "-o", whole, "--force")...)
	if text := mustRun(t, append(args, "-o", out, "--force")...); strings.Contains(text, "resum") {
		t.Errorf("stdout %s", text)
	}
	sameFile(t, whole, out)
	if _, err := os.Stat(out + thimble.UnfinishedSuffix); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the journal is still there, %v", err)
	}
}

func bitFlipped(text []byte, at int) []byte {
	text = slices.Clone(text)
	text[at] ^= 4
	return text
}

// refusedRuns tries runs that cannot continue the journal of out.
func refusedRuns(t *testing.T, out string) {
	other := filepath.Join(t.TempDir(), "other.txt")
	text, err := os.ReadFile(longText)
	if err == nil {
		err = os.WriteFile(other, text[:len(text)/2], 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	with := func(from, to string, more ...string) []string {
		args := longRun(more...)
		args[slices.Index(args, from)] = to
		return args
	}
	for _, c := range []struct {
		args []string
		want string
	}{
		{longRun(), "parts.unfinished: an interrupted run left its finished blocks here; --resume continues it, --force starts over"},
		{with("5", "6", "--resume"), "cannot continue (--target-bpw: was 5, is 6); --force without --resume starts over"},
		{with("int4/g32,int5/g32,int8/g32", "int4/g32,int8/g32", "--resume"), "(--schemes: was int4/g32/sym,int5/g32/sym,int8/g32/sym, is int4/g32/sym,int8/g32/sym)"},
		{with(longText, other, "--resume"), "(calibration text 1: was "},
		{with("512", "640", "--resume"), "(--calib-tokens: was 512, is 640)"},
		{with("128", "64", "--resume"), "(--calib-context: was 128, is 64)"},
		{longRun("--resume", "--set", "blocks.0.q=int8/g32"), "(recipe: was "},
		{with("../../fixtures/trained", "../../fixtures/llama-tied", "--resume"), "(model.safetensors: was "},
		{longRun("--resume", "--dry-run"), "--resume has no effect with --dry-run; leave one out"},
	} {
		code, _, stderr := thimbleRun(append(c.args, "-o", out)...)
		refused(t, code, stderr, []string{c.want})
	}
}

// A journal is hostile input.
func TestResumeHostile(t *testing.T) {
	out := filepath.Join(t.TempDir(), "out")
	kept := out + thimble.UnfinishedSuffix
	head := func(v any) {
		os.Remove(kept)
		j := journal.New(kept, false, func() ([]byte, error) { return cbor.Marshal(v) })
		defer j.Close()
		if err := j.Append([]byte("no part")); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		make func()
		want string
	}{
		{func() { os.WriteFile(kept, []byte("a text"), 0o600) }, "out.unfinished: exists and is not a journal, so the run cannot store its progress there"},
		{func() { os.WriteFile(kept, []byte(journal.Magic), 0o600) }, "out.unfinished: byte 21: head: is damaged, so no run can resume from this file; remove it"},
		{func() { os.Remove(kept); os.Mkdir(kept, 0o700) }, "out.unfinished: not a regular file"},
		{func() { head(5) }, "out.unfinished: head: "},
		{func() { head(map[string]any{"facts": []any{}, "recipe": "", "predicted": 0.0, "x": 1}) }, "out.unfinished: head: "},
		{func() { head(map[string]any{"facts": nil, "recipe": "", "predicted": 0.0}) }, "(program: was absent, is thimble "},
	} {
		c.make()
		code, _, stderr := thimbleRun(longRun("--resume", "-o", out)...)
		refused(t, code, stderr, []string{c.want})
	}
	// Not even --force replaces a file that is not a journal.
	os.Remove(kept)
	if err := os.WriteFile(kept, []byte("a text"), 0o600); err != nil {
		t.Fatal(err)
	}
	code, _, stderr := thimbleRun(longRun("--force", "-o", out)...)
	refused(t, code, stderr, []string{"is not a journal"})
	if text, err := os.ReadFile(kept); err != nil || string(text) != "a text" {
		t.Errorf("the file became %q, %v", text, err)
	}
}

func TestKeptError(t *testing.T) {
	err := error(&thimble.KeptError{Err: context.Canceled, Path: "x.unfinished"})
	if !errors.Is(err, context.Canceled) || interrupted(context.Canceled).Error() != "interrupted, no output was written" {
		t.Error("a KeptError of context.Canceled is not an interrupt")
	}
	full := &thimble.KeptError{Err: syscall.ENOSPC, Path: "x.unfinished"}
	if want := syscall.ENOSPC.Error() + "; finished blocks are kept in x.unfinished, and the same command with --resume continues from there"; full.Error() != want {
		t.Errorf("%q, want %q", full, want)
	}
}
